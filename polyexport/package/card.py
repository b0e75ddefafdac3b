"""The model card of a package, in Markdown: inputs, output, measurements and golden sample, from the contract."""

import base64
import hashlib
import math
from collections.abc import Iterable, Sequence
from fractions import Fraction

from polyexport.model.conditions.color_condition import ColorCondition
from polyexport.model.contract import IMAGE_INPUT, Contract

__all__ = ["inputs_table", "model_card", "purpose", "table"]

_CHANNELS = {1: "gray", 3: "RGB", 4: "RGBA"}

_RESULTS = {
    "mask": "a mask, 0 to 255",
    "alpha": "alpha of the image, 0 to 255",
    "labels": "labels, which are never mixed",
}
"""Meaning of the output of each kind of result that is no picture."""


def model_card(contract: Contract, *, name: str, sha256: str, size_bytes: int) -> str:
    """Return the model card of a model file, as Markdown.

    Args:
        contract: Contract of the model file.
        name: Name of the model.
        sha256: SHA-256 of the model file, lowercase hex.
        size_bytes: Size of the model file, bytes.
    """
    parts = [
        f"# {_cell(name)}",
        table(
            ("", ""),
            (
                ("file size", f"{size_bytes} bytes"),
                ("SHA-256", f"`{sha256}`"),
                ("SHA-256 of the graph", f"`{contract.graph_sha256}`"),
                ("network", contract.network),
                ("SHA-256 of its checkpoint", f"`{contract.checkpoint_sha256}`"),
                *_condition_rows(contract),
                ("precision", contract.precision),
                ("sizes", _sizes(contract)),
                ("opset", str(contract.opset)),
                ("made with", ", ".join(f"{tool} {version}" for tool, version in sorted(contract.versions.items()))),
            ),
        ),
        "## Inputs and output",
        inputs_table(contract),
        *_palette(contract),
        *_labels(contract),
        *_parity(contract),
        *_fidelity(contract),
        *_image_fidelity(contract),
        *_quality(contract),
        *_golden(contract),
    ]
    return "\n\n".join(parts) + "\n"


def purpose(contract: Contract) -> str:
    """Return what the model takes and gives, in a sentence."""
    if contract.version == 2:
        return "A network that colors outline drawings"
    takes = [f"a{'n' if contract.image_channels != 1 else ''} {_CHANNELS[contract.image_channels]} image"]
    takes += [f"`{condition.name}` ({_cell(condition.describe())})" for condition in contract.built_conditions()]
    result = contract.result
    gives = {
        "mask": "a mask",
        "alpha": "the alpha of the image",
        "labels": "labels of its pixels",
        "fill": "the image, filled with a color",
    }.get(result.kind, f"a{'n' if result.channels != 1 else ''} {_CHANNELS[result.channels]} picture")
    size = "of the image's size" if result.scale == "1" else f"of {result.scale} times the image's height and width"
    return f"A network that takes {' and '.join(takes)}, and gives {gives} {size}"


def inputs_table(contract: Contract) -> str:
    """Return a Markdown table of the graph's inputs and its output, with the batch axis."""
    batch = 1 if contract.batch_one else "batch"
    sides = contract.fixed_shape or ("height", "width")
    ratio = contract.result.ratio
    made = [_scaled(side, ratio) for side in sides]
    many = ("colors",) if contract.many_colors else ()
    colors = _CHANNELS[contract.image_channels]
    rows = [
        (
            f"`{IMAGE_INPUT}`",
            "uint8",
            f"[{_listed((batch, *sides, contract.image_channels))}]",
            f"{colors if colors.isupper() else colors.title()}, 0 to 255; {_sizes(contract)}",
        )
    ]
    for condition in contract.built_conditions():
        axes = condition.axes if condition.textual else (*sides, condition.axes[-1])
        shape = f"[{_listed((batch, *axes))}]"
        rows.append((f"`{condition.name}`", condition.dtype.name, shape, condition.meaning))
    meaning = _RESULTS.get(contract.result.kind, f"{_CHANNELS[contract.result.channels]}, 0 to 255")
    shape = f"[{_listed((batch, *many, *made, contract.result.channels))}]"
    rows.append((f"`{contract.output_name}` (output)", "uint8", shape, meaning))
    return table(("tensor", "type", "shape", "meaning"), rows)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; special characters in the cells are escaped, so that they are shown as they are."""
    lines = [head, ["---"] * len(head), *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _scaled(side: int | str, ratio: Fraction) -> int | str:
    if isinstance(side, int):
        return math.ceil(side * ratio)
    if ratio == 1:
        return side
    return f"{ratio} x {side}" if ratio > 1 else f"{side} / {ratio.denominator}"


def _sizes(contract: Contract) -> str:
    if contract.fixed_shape:
        height, width = contract.fixed_shape
        return f"only {width}x{height} pixels"
    known = f"{contract.training_size}x{contract.training_size}"
    least = f" of at least {contract.smallest_size}" if contract.smallest_size > contract.size_multiple else ""
    return f"height and width multiples of {contract.size_multiple}{least}, trained at {known} pixels"


def _condition_rows(contract: Contract) -> Iterable[tuple[str, str]]:
    conditions = contract.built_conditions()
    for condition in conditions:
        if isinstance(condition, ColorCondition):
            yield "conditioning", f"{condition.trained.kind}: {condition.trained.summary}"
        else:
            yield f"condition `{condition.name}`", condition.describe()
    if not conditions:
        yield "conditions", "none: the model takes an image alone"


def _palette(contract: Contract) -> Iterable[str]:
    if contract.color is not None and contract.color.palette:
        rows = ((str(i), name, f"`#{bytes(rgb).hex()}`") for i, (name, rgb) in enumerate(contract.color.palette))
        yield "## Palette"
        yield table(("index", "name", "sRGB"), rows)


def _labels(contract: Contract) -> Iterable[str]:
    for fields in contract.conditions:
        if fields.kind == "label":
            yield f"## Labels of {fields.name}"
            yield table(("index", "name"), ((str(i), label) for i, label in enumerate(fields.labels)))


def _parity(contract: Contract) -> Iterable[str]:
    parity = contract.parity
    kind = "colors" if contract.version == 2 else "settings of the conditions"
    settings = f"{parity.colors} {kind}, " if contract.conditions else ""
    yield "## Parity"
    sizes = _listed([f"{width}x{height}" for height, width in parity.sizes])
    yield (
        f"{_cell(parity.candidate)} compared with {_cell(parity.reference)}: {parity.images} images, {settings}"
        f"batches of {_listed(parity.batches)}, sizes {sizes}. Each row is one stage of the "
        "export; the last is this file. Float outputs are compared in [-1, 1]; the PSNR is computed over all 8-bit "
        "values, at most 100 dB."
    )
    yield table(
        ("stage", "nodes", "max abs diff", "max 8-bit diff", "8-bit values equal", "PSNR, dB", "values"),
        (
            (
                stage.name,
                str(stage.nodes),
                f"{stage.max_abs_diff:.3g}",
                str(stage.uint8_max_diff),
                _percent(stage.uint8_equal, stage.values),
                f"{stage.psnr_db:.2f}",
                str(stage.values),
            )
            for stage in parity.stages
        ),
    )


def _fidelity(contract: Contract) -> Iterable[str]:
    if not contract.fidelity:
        return
    yield "## Fidelity"
    images = "in the network's pictures"
    if contract.result.kind == "fill":
        images = "in finished fills; the PSNR of fp32 and of this file is that of all pixels together"
    yield (
        f"Quality of the {contract.precision} graph compared with the fp32 graph of the same weights, {images}. "
        '"Within 8" is the share of pixels that differ from the true image by at most 8 levels in every channel.'
    )
    yield table(
        (
            "data",
            "images",
            "PSNR to fp32, mean, dB",
            "min",
            "PSNR of fp32, dB",
            "of this file",
            "fp32 within 8",
            "this file",
        ),
        (
            (
                row.data,
                str(row.images),
                f"{row.psnr_to_fp32_mean_db:.2f}",
                f"{row.psnr_to_fp32_min_db:.2f}",
                f"{row.fp32_psnr_mean_db:.2f}",
                f"{row.psnr_mean_db:.2f}",
                f"{row.fp32_within_8:.3%}",
                f"{row.within_8:.3%}",
            )
            for row in contract.fidelity
        ),
    )


def _image_fidelity(contract: Contract) -> Iterable[str]:
    measured = contract.image_fidelity
    if measured is None:
        return
    yield "## Fidelity on images of the user"
    layers = "" if not measured.float_layers else f", {len(measured.float_layers)} were left in float"
    yield (
        f"Pictures of the {contract.precision} graph compared with those of the fp32 graph of the same weights. "
        f"{measured.reduced_layers} layers compute in {contract.precision}{layers}."
    )
    yield table(
        ("images", "SHA-256 of the images", "PSNR, mean, dB", "PSNR, min, dB", "SSIM, mean", "SSIM, min"),
        (
            (
                str(measured.images),
                f"`{measured.sha256}`",
                f"{measured.psnr_mean_db:.2f}",
                f"{measured.psnr_min_db:.2f}",
                f"{measured.ssim_mean:.4f}",
                f"{measured.ssim_min:.4f}",
            ),
        ),
    )


def _quality(contract: Contract) -> Iterable[str]:
    yield "## Quality"
    quality = contract.quality
    if quality is None:
        yield "Not measured when it was exported."
        return
    yield table(
        ("data", "images", "PSNR, mean, dB", "PSNR, min, dB"),
        ((quality.data, str(quality.images), f"{quality.psnr_mean_db:.2f}", f"{quality.psnr_min_db:.2f}"),),
    )


def _golden(contract: Contract) -> Iterable[str]:
    golden = contract.golden
    yield "## Golden sample"
    yield (
        "The metadata holds one input and its output, so that a program that loads the file can test that it computes "
        "here what it computed at the export. Whoever changes the file can change them, too: this does not prove who "
        "made it."
    )
    yield table(
        ("", ""),
        (
            *(
                ("color" if isinstance(condition, ColorCondition) else condition.name, condition.describe_value(value))
                for condition, value in zip(contract.built_conditions(), golden.values, strict=True)
            ),
            ("SHA-256 of the input PNG", f"`{_sha256(golden.image_png)}`"),
            ("SHA-256 of the output PNG", f"`{_sha256(golden.result_png)}`"),
        ),
    )


def _sha256(encoded: str) -> str:
    return hashlib.sha256(base64.b64decode(encoded)).hexdigest()


def _percent(fraction: float, values: int) -> str:
    """Format a share in percent with enough digits that only 1 is shown as 100 %."""
    digits = 4
    while digits < 12 and fraction < 1 and f"{fraction:.{digits}%}" == f"{1:.{digits}%}":
        digits += 1
    return "100%" if fraction == 1 and values else f"{fraction:.{digits}%}"


def _listed(numbers: Sequence[object]) -> str:
    return ", ".join(map(str, numbers))


def _cell(text: str) -> str:
    """Escape untrusted text, so that it cannot end its table cell or become an HTML tag."""
    shown = "".join(c if c.isprintable() else " " for c in text)
    return shown.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
