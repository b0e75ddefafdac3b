"""polyexport export: a checkpoint -> a proven model file."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from polyexport.cli.console import console
from polyexport.cli.options import JsonFlag, Quiet, Verbose

__all__ = ["export"]


def export(
    checkpoint: Annotated[Path, typer.Argument(help="What `polyexport train` wrote.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Model file.", show_default="CHECKPOINT with .onnx", metavar="FILE"),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of images for the parity check.", show_default="generated drawings", metavar="DIR"),
    ] = None,
    quality_data: Annotated[
        Path | None, typer.Option(help="Data set whose scores go into the model's metadata.", metavar="DIR")
    ] = None,
    json_report: JsonFlag = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Export a checkpoint to ONNX, and prove the file equal to the PyTorch model before it gets its name."""
    console.set(verbose=verbose, quiet=quiet)

    from polyexport.export.package import export_checkpoint
    from polyexport.image import read_image
    from polyexport.pipeline.plan import find_images

    result = export_checkpoint(
        checkpoint,
        output or checkpoint.with_suffix(".onnx"),
        images=[read_image(path).pixels for path in find_images(images)] if images else (),
        quality_data=quality_data,
        report=console.info,
    )
    if json_report:
        console.json(asdict(result))
    elif not quiet:
        console.data(f"{result.output}: {result.size_bytes} bytes, SHA-256 {result.sha256}")
