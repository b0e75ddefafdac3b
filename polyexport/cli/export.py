"""The command `polyexport export`: a network becomes a proven model file."""

import inspect
from collections.abc import Callable
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from polyexport.cli.console import build, console
from polyexport.cli.network_options import network_fields, with_network_options
from polyexport.cli.options import JsonFlag, Quiet, Verbose
from polyexport.cli.sources import load, read_images
from polyexport.errors import UsageError
from polyexport.export.precision import PRECISIONS, REFERENCE

__all__ = ["export"]

_REDUCED = [precision for precision in PRECISIONS.values() if precision is not REFERENCE]
_PRECISION_HELP = (
    f"Number format of the graph: {'; '.join(f'{each.name}: {each.description}' for each in PRECISIONS.values())}. "
    f"All but {REFERENCE.name} must keep the quality of the images and be faster than {REFERENCE.name}."
)
_MIN_SPEEDUP_HELP = (
    f"Smallest accepted speed relative to {REFERENCE.name}, on the provider that the precision is meant for "
    f"({', '.join(f'{each.name}: {each.provider}' for each in _REDUCED)}); 0 accepts any speed."
)
_MAX_LOSS_HELP = (
    f"Largest accepted loss of PSNR by a precision other than {REFERENCE.name} on any kind of drawing, dB. "
    "A larger loss lets a precision reduce more layers."
)
_MAX_LOSS_DEFAULT = ", ".join(f"{each.gate.psnr_loss_db:g} for {each.name}" for each in _REDUCED if each.gate)
_MIN_PSNR_HELP = (
    f"Smallest accepted PSNR to {REFERENCE.name} of a precision other than {REFERENCE.name} on your images, dB. "
    "A smaller one lets a precision reduce more layers."
)
_MIN_PSNR_DEFAULT = ", ".join(f"{each.image_gate.psnr_db:g} for {each.name}" for each in _REDUCED)

if TYPE_CHECKING:
    Precision = str
else:
    Precision = Literal[tuple(PRECISIONS)]


class ColorInput(StrEnum):
    """Values of --color-input."""

    COLOR = "color"
    EMBEDDING = "embedding"


def _with_precision_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Add the flags of every precision to the options of a command, after --max-loss.

    The command gets them as keyword arguments, through its ``**given``.
    """
    signature = inspect.signature(command)
    parameters = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    place = 1 + [each.name for each in parameters].index("max_loss")
    parameters[place:place] = [
        inspect.Parameter(
            flag.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=False,
            annotation=Annotated[bool, typer.Option(f"--{flag.name}", help=flag.help)],
        )
        for precision in PRECISIONS.values()
        for flag in precision.flags
    ]
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return command


@_with_precision_flags
@with_network_options
def export(
    source: Annotated[
        str,
        typer.Argument(
            help="Checkpoint of `polyexport train`; or a network of your own: package.module:Class with --weights and "
            "the other options about the network, or a .toml file that gives them (importing its module runs code); or "
            "an .onnx file of another exporter.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Model file to write.",
            show_default="SOURCE with .onnx, or -polyexport.onnx for an ONNX file",
            metavar="FILE",
        ),
    ] = None,
    precision: Annotated[Precision, typer.Option(help=_PRECISION_HELP)] = REFERENCE.name,
    color_input: Annotated[
        ColorInput,
        typer.Option(
            help="Second input of the graph: a color, or the embedding of a color; the metadata then hold what makes "
            "embeddings of colors."
        ),
    ] = ColorInput.COLOR,
    palette: Annotated[
        bool,
        typer.Option(
            "--palette", help="Make a graph that takes several colors per image: color [N, K, 3] -> [N, K, H, W, 3]."
        ),
    ] = False,
    result: Annotated[
        Literal["picture", "fill", "mask", "alpha", "labels"] | None,
        typer.Option(
            help="Kind of the network's output: fill is one color on white within the outline, whose edges are then "
            "those of the ink of the full drawing; mask and alpha are gray, and alpha becomes that of the image; "
            "labels are never mixed; picture is anything else.",
            show_default="found out; fill for a checkpoint that was trained on fills",
        ),
    ] = None,
    min_speedup: Annotated[float, typer.Option(min=0, help=_MIN_SPEEDUP_HELP)] = 1.0,
    max_loss: Annotated[
        float | None, typer.Option(min=0.01, max=20, help=_MAX_LOSS_HELP, show_default=_MAX_LOSS_DEFAULT)
    ] = None,
    min_psnr: Annotated[
        float | None, typer.Option(min=1, max=100, help=_MIN_PSNR_HELP, show_default=_MIN_PSNR_DEFAULT)
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder of images as the network gets them: the graph is compared with the PyTorch model on them, and "
            "a precision other than fp32 is calibrated and judged on them.",
            show_default="generated drawings",
            metavar="DIR",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Value of a condition that the images are run under, beside those of every proof. May be repeated.",
            metavar="NAME=VALUE",
        ),
    ] = None,
    with_: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            help="Folder of second pictures, such as masks, that have the names of the images. May be repeated.",
            show_default="made from the images",
            metavar="NAME=DIR",
        ),
    ] = None,
    sign: Annotated[
        Path | None,
        typer.Option(
            help="Private key, PEM: write a signature of the file beside it, as `polyexport sign` does.",
            metavar="PRIVATE_KEY",
        ),
    ] = None,
    quality_data: Annotated[
        Path | None, typer.Option(help="Data set whose scores go into the model's metadata.", metavar="DIR")
    ] = None,
    trust_program: Annotated[
        bool,
        typer.Option(
            "--trust-program",
            help="Read a .pt2 file of torch.export, which can run any code that its maker put there.",
        ),
    ] = False,
    json_report: JsonFlag = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    **given: Any,
) -> None:
    """Export a network to ONNX, and prove the file equal to the PyTorch model before it gets its name."""
    console.set(verbose=verbose, quiet=quiet)
    signing_key = None
    if sign is not None:
        from polyexport.cli.signing import read_signing_key

        signing_key = read_signing_key(sign)  # before minutes of work, not after

    fields = network_fields(given)
    from polyexport.export.export import ExportOptions, export_source
    from polyexport.export.proof.own_images import MAX_OWN_IMAGES
    from polyexport.export.source.load import is_import_path
    from polyexport.model.signature import signature_path

    if result is not None and (is_import_path(source) or source.endswith(".toml")):
        fields |= {"result": result}
    kinds = [precision] * (precision != REFERENCE.name)
    kinds += ["embedding"] * (color_input is ColorInput.EMBEDDING) + ["palette"] * palette
    weights: Path | None = given.get("weights")
    file = weights if is_import_path(source) and weights is not None else Path(source)
    kinds[:0] = ["polyexport"] * (file.suffix.lower() == ".onnx")  # the source keeps its name
    target = output or file.with_name("-".join([file.stem, *kinds]) + ".onnx")
    sources = [(Path(source), "the source"), (weights, "the source"), (sign, "the private key")]
    for taken, named in sources:
        for written in (target, *([signature_path(target)] if sign is not None else [])):
            if taken is not None and written.exists() and taken.exists() and written.samefile(taken):
                raise UsageError(f"the output {written} is {named}", remedy="name another file with -o")
    options = build(
        ExportOptions,
        precision=precision,
        color_input=color_input.value,
        many_colors=palette,
        result=result,
        min_speedup=min_speedup,
        max_loss_db=max_loss,
        min_psnr_db=min_psnr,
        flags=frozenset(flag.name for each in PRECISIONS.values() for flag in each.flags if given.get(flag.name)),
    )
    network = load(source, trust_program=trust_program, **fields)
    own = read_images(
        network,
        images,
        assignments=set_ or (),
        pictures=with_ or (),
        limit=None if precision == REFERENCE.name else MAX_OWN_IMAGES,
    )
    exported = export_source(
        network,
        target,
        options,
        images=own,
        quality_data=quality_data,
        signing_key=signing_key,
        report=console.info,
    )
    if json_report:
        console.json(asdict(exported))
    elif not quiet:
        chosen = "" if exported.weights_key == "." else f", weights {exported.weights_key}"
        console.data(f"{exported.output}: {exported.size_bytes} bytes, SHA-256 {exported.sha256}{chosen}")
        if exported.signature is not None:
            console.data(f"{exported.signature}: its signature")
