"""The network and the images that the commands `export` and `verify` take."""

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyexport.cli.console import console
from polyexport.errors import ImageError, UsageError

if TYPE_CHECKING:
    from polyexport.export.source.source import Source
    from polyexport.imaging.pixels import Pixels

__all__ = ["load", "read_images"]


def load(source: str, **given: Any) -> "Source":
    """Load a source with ``load_source``, and print to stderr what the user's module prints to stdout.

    Raises:
        UsageError: Fields are given for a checkpoint, or a field is missing or impossible.
        ModelError: The network or its weights are refused.
    """
    from polyexport.export.source.load import load_source

    with contextlib.redirect_stdout(sys.stderr):  # stdout is for the result of the command
        return load_source(source, **given)


def read_images(folder: Path | None) -> "list[Pixels]":
    """Read the first ``MAX_IMAGES`` images of a folder, uint8 [H, W, 3] each; none without a folder.

    A remark says how many are left out.

    Raises:
        UsageError: The folder holds no image, or one that cannot be read.
    """
    from polyexport.export.proof.parity import MAX_IMAGES
    from polyexport.imaging.pixels import read_image
    from polyexport.pipeline.inputs.discover import find_images

    found = find_images(folder) if folder else ()
    if len(found) > MAX_IMAGES:
        console.info(f"compares on the first {MAX_IMAGES} of the {len(found)} images in {folder}")
    images = []
    for path in found[:MAX_IMAGES]:
        try:
            images.append(read_image(path).pixels)
        except ImageError as error:
            raise UsageError(f"{path}: {error.message}", remedy="give a folder of good images to --images") from error
    return images
