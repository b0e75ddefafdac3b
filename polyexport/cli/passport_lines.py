"""A comparison of two providers in lines, for `polyexport verify` and `polyexport inspect`."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polyexport.passport.document import Entry, NodeDifference

__all__ = ["describe_entry"]


def describe_entry(entry: "Entry") -> list[str]:
    """Return a comparison in lines: its result first."""
    ends = f"{entry.candidate.provider} ({entry.candidate.version}) and {entry.reference.provider}"
    results = f"results at most {entry.fused.max_levels:.0f} levels apart, {entry.fused.mean_levels:.3g} in the mean"
    said = "agree" if entry.agrees else "differ"
    lines = [f"{ends} {said}: {entry.tensors} tensors compared on {len(entry.examples)} inputs, {results}"]
    if entry.fused.agrees != entry.apart.agrees:
        wrong, right = ("the untouched graph", "the graph taken apart")[:: 1 if entry.apart.agrees else -1]
        lines.append(f"{wrong} gives other results, and {right} does not: it is how the nodes are fused")
    if entry.first is not None:
        lines.append(f"first difference: {_node(entry.first)}")
    if entry.cause is not None and entry.cause != entry.first:
        lines.append(f"first cause: {_node(entry.cause)}")
    if entry.first is None and entry.widest is not None:
        widest = entry.widest
        lines.append(f"widest difference within the tolerance: {widest.operator} {widest.node}, {widest.detail}")
    if entry.uncompared:
        lines.append(f"not compared, as a provider does not give them: {', '.join(entry.uncompared)}")
    return lines


_KINDS = {
    "cause": "by itself, on equal inputs, it differs too",
    "consequence": "by itself, on equal inputs, it agrees: the difference came with its inputs, or the provider "
    "computes it otherwise among its neighbors",
    "unknown": "by itself it could not be run",
    "none": "within the tolerance",
}


def _node(one: "NodeDifference") -> str:
    shape = "x".join(map(str, one.shape)) or "scalar"
    alone = f" ({one.alone.detail})" if one.alone is not None and one.kind == "cause" else ""
    failed = f" ({one.failure})" if one.failure else ""
    changed = f"; other weights in the second file: {', '.join(one.changed_weights)}" if one.changed_weights else ""
    inputs = f"where its inputs are off by up to {one.inputs_relative:.2%} of their range"
    return (
        f"{one.operator} {one.node}, tensor {one.tensor} {one.dtype} {shape}, {one.detail}, on the input "
        f"{one.example!r}, {inputs}; {_KINDS[one.kind]}{alone}{failed}{changed}"
    )
