"""polyexport export: a network -> a proven model file."""

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from polyexport.cli.console import build, console
from polyexport.cli.options import JsonFlag, Quiet, Verbose
from polyexport.cli.sources import is_network, load, read_images
from polyexport.errors import UsageError
from polyexport.model.conditions import CONDITION_MODULES

__all__ = ["export"]

_NETWORK = "A network of your own"


class Precision(StrEnum):
    """Values of --precision."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


class ColorInput(StrEnum):
    """Values of --color-input."""

    COLOR = "color"
    EMBEDDING = "embedding"


if TYPE_CHECKING:
    _Conditioning = str
else:
    _Conditioning = Literal[tuple(CONDITION_MODULES)]


def export(
    source: Annotated[
        str,
        typer.Argument(
            help="What `polyexport train` wrote; or a network of your own, as package.module:Class with --weights and "
            "the options about it, or as a .toml file that gives them. Importing the module runs its code.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Model file.", show_default="SOURCE with .onnx", metavar="FILE"),
    ] = None,
    precision: Annotated[
        Precision, typer.Option(help="fp16 is for GPUs, int8 for CPUs; each must keep the images and be faster.")
    ] = Precision.FP32,
    color_input: Annotated[
        ColorInput, typer.Option(help="Second input: a color, or its embedding, whose table goes into the metadata.")
    ] = ColorInput.COLOR,
    palette: Annotated[
        bool, typer.Option("--palette", help="Several colors per image and run: color [N, K, 3] -> [N, K, H, W, 3].")
    ] = False,
    min_speedup: Annotated[
        float, typer.Option(min=0, help="Least speed of fp16 on CUDA or int8 on a CPU, in units of fp32's.")
    ] = 1.0,
    max_loss: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=20,
            help="Largest loss of PSNR by fp16 or int8 on any kind of drawing, dB. More lets more layers be int8.",
            show_default="0.25 for fp16, 0.75 for int8",
        ),
    ] = None,
    amx: Annotated[
        bool, typer.Option("--amx", help="int8 for CPUs with AMX alone: finer weights, faster kernels.")
    ] = False,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of images for the proof.", show_default="generated drawings", metavar="DIR"),
    ] = None,
    quality_data: Annotated[
        Path | None, typer.Option(help="Data set whose scores go into the model's metadata.", metavar="DIR")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="State dict, .safetensors or .pth.", rich_help_panel=_NETWORK, metavar="FILE"),
    ] = None,
    argument: Annotated[
        list[str] | None,
        typer.Option(help="Of the constructor; repeat it.", rich_help_panel=_NETWORK, metavar="NAME=VALUE"),
    ] = None,
    value_range: Annotated[
        str | None,
        typer.Option(help="What 0 and 255 are.", rich_help_panel=_NETWORK, metavar="LOW..HIGH", show_default="-1..1"),
    ] = None,
    output_range: Annotated[
        str | None,
        typer.Option(
            help="The same for the output.", rich_help_panel=_NETWORK, metavar="LOW..HIGH", show_default="value range"
        ),
    ] = None,
    conditioning: Annotated[
        _Conditioning | None, typer.Option(help="What forward(image, ...) takes.", rich_help_panel=_NETWORK)
    ] = None,
    color: Annotated[
        list[str] | None,
        typer.Option(
            "--color",
            help="Color that the network knows; repeat it, in index order. Names beside the weights are found.",
            rich_help_panel=_NETWORK,
            metavar="NAME[=VALUE]",
        ),
    ] = None,
    embedding: Annotated[
        str | None,
        typer.Option(
            help="Submodule that embeds the color, for --color-input embedding.",
            rich_help_panel=_NETWORK,
            metavar="NAME",
        ),
    ] = None,
    embedding_dim: Annotated[
        int | None, typer.Option(min=1, help="For embedding conditioning.", rich_help_panel=_NETWORK)
    ] = None,
    embedding_table: Annotated[
        str | None,
        typer.Option(help="Its [colors, D] tensor in the weights.", rich_help_panel=_NETWORK, metavar="KEY"),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(min=1, help="Training size, pixels.", rich_help_panel=_NETWORK, show_default="128"),
    ] = None,
    size_multiple: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="It takes any multiple of this.",
            rich_help_panel=_NETWORK,
            show_default="the training size alone",
        ),
    ] = None,
    json_report: JsonFlag = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Export a network to ONNX, and prove the file equal to the PyTorch model before it gets its name."""
    console.set(verbose=verbose, quiet=quiet)

    given: dict[str, Any] = {
        "weights": weights,
        "conditioning": conditioning,
        "embedding": embedding,
        "embedding_dim": embedding_dim,
        "embedding_table": embedding_table,
        "size": size,
        "size_multiple": size_multiple,
    }
    if argument or color or value_range is not None or output_range is not None:
        from polyexport.export.source.spec import parse_argument, parse_colors, parse_range

        given |= {
            "arguments": dict(map(parse_argument, argument)) if argument else None,
            "colors": parse_colors(color) if color else None,
            "value_range": None if value_range is None else parse_range(value_range),
            "output_range": None if output_range is None else parse_range(output_range),
        }
    given = {name: value for name, value in given.items() if value is not None}

    from polyexport.export.export import ExportOptions, export_source

    kinds = [precision.value] * (precision is not Precision.FP32)
    kinds += ["embedding"] * (color_input is ColorInput.EMBEDDING) + ["palette"] * palette
    file = weights if is_network(source) and weights is not None else Path(source)
    target = output or file.with_name("-".join([file.stem, *kinds]) + ".onnx")
    for taken in (Path(source), *([weights] if weights else [])):
        if target.exists() and taken.exists() and target.samefile(taken):
            raise UsageError(f"the output {target} is the source", remedy="name another file with -o")
    options = build(
        ExportOptions,
        precision=precision.value,
        color_input=color_input.value,
        many_colors=palette,
        min_speedup=min_speedup,
        max_loss_db=max_loss,
        amx=amx,
    )
    result = export_source(
        load(source, **given),
        target,
        options,
        images=read_images(images),
        quality_data=quality_data,
        report=console.info,
    )
    if json_report:
        console.json(asdict(result))
    elif not quiet:
        console.data(f"{result.output}: {result.size_bytes} bytes, SHA-256 {result.sha256}")
