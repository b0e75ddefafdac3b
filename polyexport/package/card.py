"""The model card of a package, in Markdown: inputs, output, measurements and golden sample, from the contract."""

import base64
import hashlib
from collections.abc import Iterable, Sequence

from polyexport.model.contract import COLORED, IMAGE_INPUT, Contract

__all__ = ["inputs_table", "model_card", "table"]


def model_card(contract: Contract, *, name: str, sha256: str, size_bytes: int) -> str:
    """Return the model card of a model file, as Markdown.

    Args:
        contract: Contract of the model file.
        name: Name of the model.
        sha256: SHA-256 of the model file, lowercase hex.
        size_bytes: Size of the model file, bytes.
    """
    trained = contract.condition.trained
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
                ("conditioning", f"{trained.kind}: {trained.summary}"),
                ("precision", contract.precision),
                ("sizes", _sizes(contract)),
                ("opset", str(contract.opset)),
                ("made with", ", ".join(f"{tool} {version}" for tool, version in sorted(contract.versions.items()))),
            ),
        ),
        "## Inputs and output",
        inputs_table(contract),
        *_palette(contract),
        *_parity(contract),
        *_fidelity(contract),
        *_quality(contract),
        *_golden(contract),
    ]
    return "\n\n".join(parts) + "\n"


def inputs_table(contract: Contract) -> str:
    """Return a Markdown table of the graph's inputs and its output, with the batch axis."""
    side = str(contract.training_size) if contract.fixed_size else None
    pixels = f"{side or 'height'}, {side or 'width'}, 3"
    many = "colors, " if contract.many_colors else ""
    condition = contract.condition
    second = (condition.name, condition.dtype.name, f"[{_listed(('batch', *condition.axes))}]", condition.meaning)
    return table(
        ("tensor", "type", "shape", "meaning"),
        (
            (f"`{IMAGE_INPUT}`", "uint8", f"[batch, {pixels}]", f"RGB, 0 to 255; {_sizes(contract)}"),
            (f"`{second[0]}`", *second[1:]),
            (f"`{COLORED}` (output)", "uint8", f"[batch, {many}{pixels}]", "RGB, 0 to 255"),
        ),
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; special characters in the cells are escaped, so that they are shown as they are."""
    lines = [head, ["---"] * len(head), *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _sizes(contract: Contract) -> str:
    known = f"{contract.training_size}x{contract.training_size}"
    if contract.fixed_size:
        return f"only {known} pixels"
    return f"height and width multiples of {contract.size_multiple}, trained at {known} pixels"


def _palette(contract: Contract) -> Iterable[str]:
    if contract.palette:
        rows = ((str(i), name, f"`#{bytes(rgb).hex()}`") for i, (name, rgb) in enumerate(contract.palette))
        yield "## Palette"
        yield table(("index", "name", "sRGB"), rows)


def _parity(contract: Contract) -> Iterable[str]:
    parity = contract.parity
    yield "## Parity"
    sizes = _listed([f"{width}x{height}" for height, width in parity.sizes])
    yield (
        f"{_cell(parity.candidate)} compared with {_cell(parity.reference)}: {parity.images} images, "
        f"{parity.colors} colors, batches of {_listed(parity.batches)}, sizes {sizes}. Each row is one stage of the "
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
    if contract.result == "fill":
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
            ("color", contract.condition.describe_value(golden.color)),
            ("SHA-256 of the input PNG", f"`{_sha256(golden.image_png)}`"),
            ("SHA-256 of the output PNG", f"`{_sha256(golden.colored_png)}`"),
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
