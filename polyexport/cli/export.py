"""polyexport export: a checkpoint -> a proven model file."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyexport.cli.console import console
from polyexport.cli.options import JsonFlag, Quiet, Verbose
from polyexport.errors import ImageError, UsageError

if TYPE_CHECKING:
    from polyexport.image import Pixels

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
    from polyexport.pipeline.plan import find_images

    target = output or checkpoint.with_suffix(".onnx")
    if target.exists() and checkpoint.exists() and target.samefile(checkpoint):
        raise UsageError(f"the output {target} is the checkpoint", remedy="name another file with -o")
    result = export_checkpoint(
        checkpoint,
        target,
        images=[_read(path) for path in find_images(images)] if images else (),
        quality_data=quality_data,
        report=console.info,
    )
    if json_report:
        console.json(asdict(result))
    elif not quiet:
        console.data(f"{result.output}: {result.size_bytes} bytes, SHA-256 {result.sha256}")


def _read(path: Path) -> "Pixels":
    from polyexport.image import read_image

    try:
        return read_image(path).pixels
    except ImageError as error:
        raise UsageError(f"{path}: {error.message}", remedy="give a folder of good images to --images") from error
