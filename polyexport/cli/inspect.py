"""The command ``polyexport inspect``: shows the contents of a model file."""

import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyexport.cli.console import console
from polyexport.cli.options import JsonFlag, LoadTimeout, MaxModelMemory, Quiet, Verbose
from polyexport.cli.passport_lines import describe_entry
from polyexport.model.loading.limits import LoadLimits

if TYPE_CHECKING:
    from polyexport.model.contract import Contract
    from polyexport.model.inspect import Inspection, Macs
    from polyexport.passport.document import Entry

__all__ = ["inspect"]

_LABEL_COLUMNS = 11
_TEXT_COLUMNS = 100

_RESULTS = {
    "picture": "a picture",
    "fill": "a fill of the drawing, with the edges of its ink",
    "mask": "a mask",
    "alpha": "the alpha of the image",
    "labels": "labels, one for each pixel",
}


def inspect(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Model file.")],
    load_timeout: LoadTimeout = 0.0,
    max_model_memory: MaxModelMemory = 0,
    json_report: JsonFlag = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Show the inputs and outputs of a model, its proof, and the contents of its graph."""
    console.set(verbose=verbose, quiet=quiet)

    from polyexport.model.inspect import inspect_model
    from polyexport.passport.document import read_passport

    inspection = inspect_model(model, limits=LoadLimits(seconds=load_timeout, memory_mib=max_model_memory))
    passport, reason = read_passport(model, inspection.sha256)
    entries = passport.entries if passport is not None else ()
    if json_report:
        contract = json.loads(inspection.contract.to_json())
        passports = {"passports": [asdict(entry) for entry in entries], "passports_fault": reason}
        console.json(asdict(inspection) | {"contract": contract, "num_nodes": inspection.num_nodes} | passports)
        return
    console.data(f"{'file':<{_LABEL_COLUMNS}}{inspection.path}, {_scaled(inspection.size_bytes, 'B')}")
    for label, text in (*_rows(inspection), *_passports(entries, reason)):
        for i, line in enumerate(textwrap.wrap(text, _TEXT_COLUMNS, break_long_words=False, break_on_hyphens=False)):
            console.data(f"{'' if i else label:<{_LABEL_COLUMNS}}{line}")


def _rows(inspection: "Inspection") -> Iterator[tuple[str, str]]:
    """Yield label and text of each row, in the order in which they are printed."""
    contract = inspection.contract
    yield "SHA-256", inspection.sha256
    yield "weights", f"{contract.network}, from a file with SHA-256 {contract.checkpoint_sha256}"
    for label, tensors in (("input", inspection.inputs), ("output", inspection.outputs)):
        widest = max(len(tensor.name) for tensor in tensors)
        for tensor in tensors:
            yield label, f"{tensor.name:<{widest}} {tensor}"
    yield "sizes", _sizes(contract)
    yield "result", _result(contract)
    several = "; several in one call" if contract.many_colors else ""
    for condition in contract.built_conditions():
        yield "colors" if contract.version == 2 else condition.name, condition.describe() + several
    yield "parameters", f"{inspection.parameters:,}; initializers {_scaled(inspection.initializer_bytes, 'B')}"
    yield "MACs", _macs(inspection.macs)
    counts = ", ".join(f"{operator} {count}" for operator, count in inspection.nodes.items())
    yield "nodes", f"{inspection.num_nodes}: {counts}"
    yield "precision", f"{contract.precision}, opset {contract.opset}"
    yield from _certificate(contract)
    yield "golden", f"repeated by this machine's CPU, {inspection.golden_difference:.2g} levels off on average"
    yield "versions", ", ".join(f"{tool} {version}" for tool, version in contract.versions.items()) or "unknown"


def _passports(entries: "Sequence[Entry]", reason: str) -> Iterator[tuple[str, str]]:
    """Yield the rows of the passport beside the file, which is as trusted as whoever wrote it."""
    if reason:
        yield "passport", f"none: {reason}"
    for entry in entries:
        yield "passport", "; ".join((*describe_entry(entry), f"on {entry.candidate.device}"))


def _result(contract: "Contract") -> str:
    result = contract.result
    return _RESULTS[result.kind] + (f", {result.scale} times the size of the image" if result.scale != "1" else "")


def _sizes(contract: "Contract") -> str:
    known = f"{contract.training_width or contract.training_size}x{contract.training_size}"
    one = "; one image in a call" if contract.batch_one else ""
    if contract.fixed_size:
        return f"{known} alone{one}"
    least = f" from {contract.smallest_size}" if contract.smallest_size > contract.size_multiple else ""
    return f"height and width multiples of {contract.size_multiple}{least}, trained at {known}{one}"


def _macs(macs: "Macs") -> str:
    if macs.total is None:
        return f"unknown: {macs.unknown}"
    parts = ", ".join(f"{operator} {_scaled(count)}" for operator, count in macs.by_type.items())
    further = "" if macs.further_color is None else f"; each further color {_scaled(macs.further_color)}"
    return f"{_scaled(macs.total)} for one {macs.size}x{macs.size} image ({parts or 'none'}){further}"


def _certificate(contract: "Contract") -> Iterator[tuple[str, str]]:
    parity = contract.parity
    batches = ", ".join(map(str, parity.batches))
    sizes = ", ".join(f"{width}x{height}" for height, width in parity.sizes)
    yield "parity", f"{parity.candidate} against {parity.reference}"
    settings = f" under {parity.colors} settings of their conditions" if parity.colors > 1 else ""
    yield "", f"{parity.images} images{settings}, in batches of {batches}, at {sizes}"
    widest = max(5, *(len(stage.name) for stage in parity.stages))
    yield "", f"{'stage':<{widest}}  nodes  max abs diff  8-bit equal  largest diff  PSNR dB"
    for stage in parity.stages:
        numbers = f"{stage.nodes:>5}  {stage.max_abs_diff:>12.3g}  {stage.uint8_equal:>11.4%}"
        yield "", f"{stage.name:<{widest}}  {numbers}  {stage.uint8_max_diff:>12}  {stage.psnr_db:>7.2f}"
    for one in contract.fidelity:
        to_fp32 = f"{one.psnr_to_fp32_mean_db:.2f} dB to fp32 (min {one.psnr_to_fp32_min_db:.2f})"
        to_truth = f"{one.psnr_mean_db:.2f} dB to the truth (fp32 {one.fp32_psnr_mean_db:.2f})"
        within = f"{one.within_8:.3%} of pixels within 8 (fp32 {one.fp32_within_8:.3%})"
        yield "fidelity", f"{one.data}, {one.images} images: {to_fp32}, {to_truth}, {within}"
    if (own := contract.image_fidelity) is not None:
        near = f"{own.psnr_mean_db:.2f} dB to fp32 (min {own.psnr_min_db:.2f})"
        alike = f"SSIM {own.ssim_mean:.4f} (min {own.ssim_min:.4f})"
        yield "fidelity", f"{own.images} images of the user's, SHA-256 {own.sha256[:12]}...: {near}, {alike}"
        yield (
            "",
            f"{own.reduced_layers} layers in {contract.precision}; in float: {', '.join(own.float_layers) or 'none'}",
        )
    if contract.quality is not None:
        one_set = contract.quality
        scores = f"PSNR {one_set.psnr_mean_db:.2f} dB (min {one_set.psnr_min_db:.2f})"
        yield "quality", f"{one_set.data}, {one_set.images} images: {scores}"


def _scaled(value: float, unit: str = "") -> str:
    """Write a number with four digits and a metric prefix."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.4g} {prefix}{unit}"
    return f"{value:.0f} {unit}".rstrip()
