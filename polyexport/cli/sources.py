"""What `export` and `verify` take for a network, and the images they prove it on."""

import contextlib
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyexport.errors import ImageError, UsageError

if TYPE_CHECKING:
    from polyexport.export.source.trainer_checkpoint import Source
    from polyexport.imaging.pixels import Pixels

__all__ = ["is_network", "load", "read_images"]


def is_network(source: str) -> bool:
    """Whether a source is ``package.module:Class`` rather than a file."""
    return ":" in source and not Path(source).exists()


def load(source: str, **given: Any) -> "Source":
    """Load a checkpoint of ``trainer``, a network that a TOML file describes, or ``package.module:Class``.

    Args:
        source: what the user typed.
        given: fields of ``NetworkSpec`` that the user typed; they override those of a TOML file.

    Raises:
        UsageError: fields with a checkpoint, or too few of them.
        ModelError: the network or its weights are refused.
    """
    from polyexport.export.source.network import load_network
    from polyexport.export.source.spec import NetworkSpec, read_spec
    from polyexport.export.source.trainer_checkpoint import load_source

    with contextlib.redirect_stdout(sys.stderr):  # what a user's module prints is not this command's result
        if source.endswith(".toml"):
            return load_network(dataclasses.replace(read_spec(Path(source)), **given))
        if is_network(source):
            if "weights" not in given:
                raise UsageError(f"{source} needs its weights", remedy="give --weights FILE.safetensors or FILE.pth")
            return load_network(NetworkSpec(network=source, **given))
    if given:
        raise UsageError(
            f"{next(iter(given))} does not go with a checkpoint of `polyexport train`",
            remedy="a checkpoint knows all of it by itself; for another network give package.module:Class",
        )
    return load_source(Path(source))


def read_images(folder: Path | None) -> "list[Pixels]":
    """The images of a folder, for a proof.

    Raises:
        UsageError: there are none, or one that cannot be read.
    """
    from polyexport.export.proof.parity import MAX_IMAGES
    from polyexport.imaging.pixels import read_image
    from polyexport.pipeline.inputs.discover import find_images

    images = []
    for path in find_images(folder)[:MAX_IMAGES] if folder else ():
        try:
            images.append(read_image(path).pixels)
        except ImageError as error:
            raise UsageError(f"{path}: {error.message}", remedy="give a folder of good images to --images") from error
    return images
