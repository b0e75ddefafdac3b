"""Search for reasons why a right graph cannot equal a network, by experiments with the network itself.

It may be random, change itself, mix the images of a batch, branch on what tracing froze, or jump where values are
nearly equal. Each reason has a remedy of its own.
"""

import contextlib
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from polyexport.errors import reason_of
from polyexport.export.graph.foreign import PREFIX
from polyexport.export.graph.trace import Traced, example_shape, float_output
from polyexport.export.proof.cause import Cause, program_values
from polyexport.export.proof.examples import Example, stacked
from polyexport.export.proof.local_cause import layer_of
from polyexport.export.proof.parity import Candidate
from polyexport.export.source.source import Source
from polyexport.imaging.pixels import Pixels
from polyexport.model.conditions.condition import Condition

__all__ = ["Diagnosis", "diagnose_network", "diagnose_sensitivity", "diagnose_tracing", "remedy_of"]

_NOTHING = "nothing was written"
_TOLERANCE = 1e-4  # largest difference of two outputs that counts as rounding, in units of half the output range
_CHANGE = 5e-7  # relative change of an input that float32 can hardly tell from none

_STEPS = (
    "argmax",
    "argmin",
    "topk",
    "sort",
    "gt",
    "lt",
    "ge",
    "le",
    "eq",
    "ne",
    "round",
    "floor",
    "ceil",
    "sign",
    "trunc",
)

_REMEDIES = {
    "GridSample": "take another mode, padding_mode or align_corners of grid_sample, which ONNX Runtime computes "
    "differently here, or F.interpolate where the grid is regular",
    "Resize": "take F.interpolate with mode bilinear or nearest, without antialias and with align_corners=False; ONNX "
    "Runtime computes this one differently",
    "ReduceMean": "take means over height and width as two axes, not over one flattened axis, and subtract a mean "
    "before differences are squared",
    "Sin": "bring the argument into a small range; float32 has no digits left at large arguments",
    "TopK": "sort with stable=True, and take topk of values that differ; otherwise the order of equal values is open",
    "RandomUniformLike": "leave randomness out of forward in evaluation mode",
}
_ALIKE = {
    "ReduceSum": "ReduceMean", "GlobalAveragePool": "ReduceMean", "LayerNormalization": "ReduceMean", "Cos": "Sin",
    "GroupNormalization": "ReduceMean", "InstanceNormalization": "ReduceMean", "RandomNormalLike": "RandomUniformLike",
    "RandomUniform": "RandomUniformLike", "RandomNormal": "RandomUniformLike", "Dropout": "RandomUniformLike",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis:
    """Cause of a failed proof, and what to do about it."""

    text: str
    remedy: str

    frozen_size: bool = False
    """The traced program is the network at the size that it was traced at, and not at others."""


def remedy_of(cause: Cause, stage: str) -> str:
    """Return what to do about a wrong node of a stage, such as ``raw``."""
    known = _REMEDIES.get(_ALIKE.get(cause.operator, cause.operator))
    if known:
        return f"{_NOTHING}; {known}"
    maker = "onnx" if cause.tensor.startswith(PREFIX) else "torch"
    tool = {"raw": f"export with another version of {maker}", "palette": "export without --palette"}
    return f"{_NOTHING}; {tool.get(stage, 'export with another version of onnxsim')}"


def diagnose_network(source: Source, examples: Sequence[Example]) -> Diagnosis | None:
    """Run a copy of the network twice on the same image, and on the image beside another one.

    Args:
        source: The network.
        examples: Two examples of one size.

    Returns:
        A diagnosis if the network is random, changes itself, or mixes the images of a batch.
    """
    try:
        run = _Run(source, source.module)
        changed = run.changed_buffers(examples[:1])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            first = run(examples[:1])
            second = run(examples[:1])
            torch.manual_seed(0)
            first_again = run(examples[:1])
    except Exception:  # noqa: BLE001 - a network that takes no single image, or cannot be copied
        return None
    if (difference := run.difference(first, second)) > 0:
        again = f"the network gives another output for the same input: two runs differ by {difference:.3g}"
        if run.difference(first, first_again) == 0:
            return Diagnosis(
                text=f"{again}, because it draws random numbers",
                remedy=f"{_NOTHING}; leave randomness out of forward in evaluation mode: F.dropout with "
                "training=self.training, noise only while self.training",
            )
        what = f"its buffer {changed[0]}" if changed else "its own state"
        return Diagnosis(
            text=f"{again}, because forward changes {what}",
            remedy=f"{_NOTHING}; change nothing of self in forward unless self.training",
        )
    with contextlib.suppress(Exception):
        beside = run(examples[:2])[:1]
        if (difference := run.difference(first, beside)) > _TOLERANCE:
            return Diagnosis(
                text="the output for an image depends on the other images of its batch: it differs by "
                f"{difference:.3g}",
                remedy=f"{_NOTHING}; give F.batch_norm training=self.training, and take means over height and width "
                "without the batch",
            )
    return None


def diagnose_tracing(
    source: Source, traced: Traced, conditions: Sequence[Condition[Any]], examples: Sequence[Example]
) -> Diagnosis | None:
    """Compare the traced program with the network, in batches of one and two, at an image's size and the traced size.

    Args:
        source: The network.
        traced: Its program.
        conditions: The conditions as the program takes them.
        examples: Two examples of a size that the network takes.

    Returns:
        A diagnosis if the program fails or is another function; None if it is the network.
    """
    height, width = examples[0].image.shape[:2]
    example = example_shape(source)
    own = _Traced(source, traced, conditions)
    counts = (1,) if source.batch_one else (1, 2)
    faults = {
        (count, place): own.fault(_repeated(examples[:count], *place))
        for count in counts
        for place in dict.fromkeys(((height, width), example))
    }
    here = [count for count in counts if faults[count, (height, width)]]
    if not here:
        return None
    fault = faults[here[0], (height, width)]
    where = f"on batch {here[0]} of {width}x{height} pixels"
    if faults[counts[-1], example]:
        return Diagnosis(
            text=f"{fault} {where}, and so it is at the size and batch that it was traced with",
            remedy=f"{_NOTHING}; let forward compute the same while it is traced: no torch.compiler.is_exporting, and "
            "no branch on values",
        )
    if not faults[counts[-1], (height, width)]:
        return Diagnosis(
            text=f"{fault} {where}, and not with the two images that it was traced with: its batch is frozen",
            remedy=f"{_NOTHING}; take the batch from image.shape[0], without a loop over the images of a batch, len() "
            "or list(x.shape)",
        )
    return Diagnosis(
        text=f"{fault} {where}, and not at {example[1]}x{example[0]}, the size that it was traced at: a branch or a "
        "number of forward depends on the size and was frozen",
        remedy=f"{_NOTHING}; compute with image.shape as it is, without int(), float() or `if` on it, or export for "
        "one size, without --size-multiple",
        frozen_size=True,
    )


def diagnose_sensitivity(source: Source, traced: Traced, examples: Sequence[Example]) -> Diagnosis | None:
    """Run the network in float64, and on an image with changes that float32 can hardly tell.

    Returns:
        A diagnosis if either moves the output by more than rounding, so that no other program can give the same output.
    """
    run = _Run(source, source.module)
    first = run(examples[:1])
    generator = torch.Generator().manual_seed(0)
    moved = [run.difference(first, run(examples[:1], noise=generator))]
    with contextlib.suppress(Exception):  # a network that names float32 does not run in float64
        moved.append(run.difference(first, _Run(source, source.module, torch.float64)(examples[:1])))
    if (difference := max(moved)) <= _TOLERANCE / 2:
        return None
    text = f"the network turns rounding into differences of {difference:.3g}"
    for node in traced.program.graph.nodes:
        operator = str(node.target).removeprefix("aten.").split(".")[0]
        if node.op == "call_function" and operator in _STEPS:
            layer = layer_of(traced.program, node.name)
            place = f"tensor {node.name}, submodule {layer}" if layer else f"tensor {node.name}"
            return Diagnosis(
                text=f"{text}; its {operator} ({place}) jumps where values are nearly equal",
                remedy=f"{_NOTHING}; make it smooth, such as a sigmoid instead of a comparison or softmax instead of "
                "argmax",
            )
    return Diagnosis(
        text=f"{text}, already in PyTorch",
        remedy=f"{_NOTHING}; look in forward for a division by a small number, a large factor or a function of a large "
        "argument",
    )


class _Run:
    """A copy of the network, so that experiments leave the network as it is."""

    def __init__(self, source: Source, module: nn.Module, dtype: torch.dtype = torch.float32) -> None:
        self._source, self._dtype = source, dtype
        self._module = copy.deepcopy(module).to(dtype)

    def __call__(self, examples: Sequence[Example], noise: torch.Generator | None = None) -> Tensor:
        images, rows = stacked(examples)
        planes = self._source.scaled(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous())
        if noise is not None:
            planes = planes * (1 + _CHANGE * (2 * torch.rand(planes.shape, generator=noise) - 1))
        conditions = self._source.condition_tensors(rows)
        with torch.inference_mode():
            exact = (each.to(self._dtype) if each.is_floating_point() else each for each in conditions)
            result: Tensor = self._module(planes.to(self._dtype), *exact)
        return result.double()

    def difference(self, one: Tensor, other: Tensor) -> float:
        """Largest difference of two outputs, in units of half the output range."""
        low, high = self._source.output_range
        return float((one - other).abs().max()) * 2 / (high - low)

    def changed_buffers(self, examples: Sequence[Example]) -> list[str]:
        """Names of the buffers and parameters that a run changes."""
        before = {name: value.clone() for name, value in self._tensors()}
        self(examples)
        return [name for name, value in self._tensors() if name in before and not torch.equal(value, before[name])]

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        yield from self._module.named_buffers()
        yield from self._module.named_parameters()


class _Traced:
    """A program beside the network that it was traced from."""

    def __init__(self, source: Source, traced: Traced, conditions: Sequence[Condition[Any]]) -> None:
        self._run, self._traced = _Run(source, source.module), traced
        self._candidate = Candidate(
            name="raw",
            model=traced.model,
            float_output=float_output(traced.model, source),
            output=source.output_name,
            conditions=tuple(conditions),
        )

    def fault(self, examples: Sequence[Example]) -> str:
        """Describe how the program differs from the network on a batch; empty if it does not, or the network fails."""
        try:
            true = self._run(examples)
        except Exception:  # noqa: BLE001 - not a size that the network takes
            return ""
        try:
            feeds = self._candidate.feeds(*stacked(examples))
            values = program_values(self._traced.program, self._candidate.output, *feeds.values())
        except Exception as error:  # noqa: BLE001 - a guard that the tracer wrote, or an operator's own error
            return f"the traced program itself fails ({reason_of(error)})"
        found = torch.from_numpy(values[self._candidate.float_output]).double()
        difference = self._run.difference(true, found) if found.shape == true.shape else np.inf
        return f"the traced program differs from the network by {difference:.3g}" if difference > _TOLERANCE else ""


def _repeated(examples: Sequence[Example], height: int, width: int) -> list[Example]:
    """Return examples of a size, cut from the first one, whose pictures are repeated; the second is turned."""
    return [
        Example(
            _cut(examples[0].image, number, height, width),
            tuple(_cut(row, number, height, width) if row.ndim == 3 else row for row in example.rows),
        )
        for number, example in enumerate(examples)
    ]


def _cut(image: Pixels, number: int, height: int, width: int) -> Pixels:
    rows, columns = -(-height // image.shape[0]), -(-width // image.shape[1])
    tiled = np.tile(image, (rows, columns, 1))[:height, :width]
    return np.ascontiguousarray(tiled[:: -1 if number % 2 else 1])
