"""The network and the images that the commands `export` and `verify` take."""

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyexport.cli.console import console
from polyexport.errors import ImageError, UsageError

if TYPE_CHECKING:
    from polyexport.export.proof.own_images import OwnImages
    from polyexport.export.source.source import Source
    from polyexport.imaging.pixels import Pixels
    from polyexport.model.conditions.condition import Condition

__all__ = ["load", "read_images"]


def load(source: str, *, trust_program: bool = False, **given: Any) -> "Source":
    """Load a source with ``load_source``, and print to stderr what the user's module prints to stdout.

    Raises:
        UsageError: Fields are given for a checkpoint, or a field is missing or impossible.
        ModelError: The network or its weights are refused.
    """
    from polyexport.export.source.load import load_source
    from polyexport.runtime.allocator import keep_freed_memory

    keep_freed_memory()  # a proof runs the network many times
    with contextlib.redirect_stdout(sys.stderr):  # stdout is for the result of the command
        return load_source(source, trust_program=trust_program, **given)


def read_images(
    source: "Source",
    folder: Path | None,
    *,
    assignments: Sequence[str] = (),
    pictures: Sequence[str] = (),
    limit: int | None = None,
) -> "OwnImages":
    """Read the first images of a folder, with their second pictures, and the settings of the conditions.

    A remark says how many are left out.

    Args:
        source: The network, whose channels the images get.
        folder: Folder of images; None for none.
        assignments: ``NAME=VALUE`` each, values of conditions that text gives.
        pictures: ``NAME=DIR`` each, folders of second pictures that have the names of the images.
        limit: Largest number of images; the number that a proof compares on if None.

    Raises:
        UsageError: The folder holds no image, or one that cannot be read; a condition that the network does not have,
            or a value that it does not take; a second picture that is missing or has another size than its image.
    """
    from polyexport.export.proof.own_images import OwnImages, bounded
    from polyexport.export.proof.parity import MAX_IMAGES
    from polyexport.model.settings import parse_settings
    from polyexport.pipeline.inputs.discover import find_images

    conditions = source.built_conditions()
    settings = tuple(parse_settings(conditions, assignments=assignments)) if assignments else ()
    folders = _picture_folders(conditions, pictures)
    if folders and folder is None:
        raise UsageError("--with was given without --images", remedy="give the folder of the images with --images DIR")
    found = find_images(folder) if folder else []
    count = MAX_IMAGES if limit is None else limit
    if len(found) > count:
        console.info(f"compares on the first {count} of the {len(found)} images in {folder}")
    images, second = [], {name: list["Pixels"]() for name in folders}
    for path in found[:count]:
        image = _read(path, source.image_channels, "--images")
        images.append(bounded(source, image))
        for name, (where, channels) in folders.items():
            beside = _beside(where, path.name)
            picture = _read(beside, channels, "--with")
            if picture.shape[:2] != image.shape[:2]:
                raise UsageError(
                    f"{beside}: {picture.shape[1]}x{picture.shape[0]} pixels, {path} has "
                    f"{image.shape[1]}x{image.shape[0]}",
                    remedy=f"give pictures of the size of their images with --with {name}=DIR",
                )
            second[name].append(bounded(source, picture))
    return OwnImages(images=tuple(images), pictures=second, settings=settings)


def _picture_folders(conditions: "Sequence[Condition[Any]]", pictures: Sequence[str]) -> dict[str, tuple[Path, int]]:
    """Return the folder and the channels of each condition that is a picture, by its name."""
    from polyexport.model.conditions.image import ImageCondition
    from polyexport.model.settings import describe_conditions

    known = {condition.name: condition for condition in conditions if isinstance(condition, ImageCondition)}
    folders: dict[str, tuple[Path, int]] = {}
    for text in pictures:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value:
            raise UsageError(f"{text[:60]!r} is not NAME=DIR", remedy="give --with NAME=DIR")
        if name.strip() not in known:
            raise UsageError(
                f"the network has no second picture {name.strip()[:60]!r}; it takes {describe_conditions(conditions)}",
                remedy="leave --with out, or name one of its pictures",
            )
        if not Path(value).is_dir():
            raise UsageError(f"{value} is not a folder", remedy=f"give a folder with --with {name.strip()}=DIR")
        folders[name.strip()] = Path(value), known[name.strip()].fields.channels
    return folders


def _beside(folder: Path, name: str) -> Path:
    """Return the file of a folder that has the name of an image, or that name with another suffix."""
    if (folder / name).is_file():
        return folder / name
    stem = Path(name).stem
    alike = sorted(path for path in folder.iterdir() if path.stem == stem and path.is_file())
    if not alike:
        raise UsageError(f"{folder} has no picture for {name}", remedy=f"add {folder / name}, or leave the image out")
    return alike[0]


def _read(path: Path, channels: int, option: str) -> "Pixels":
    from polyexport.imaging.pixels import read_image

    try:
        return read_image(path, channels=channels).pixels
    except ImageError as error:
        raise UsageError(f"{path}: {error.message}", remedy=f"give a folder of good images to {option}") from error
