"""One image through a pipe, for `polyexport infer`: from stdin or a file to stdout."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from polyexport.cli.console import console
from polyexport.errors import ImageError, OutputError, UsageError
from polyexport.imaging.pixels import MAX_FILE_BYTES
from polyexport.model.canvas import Size
from polyexport.model.settings import Setting, parse_settings
from polyexport.model.tile_wish import TileWish
from polyexport.pipeline.decoding.pool import DecodingPool
from polyexport.pipeline.finishing import Finishing
from polyexport.pipeline.inputs.pairing import parse_pairing
from polyexport.pipeline.interface import Interface
from polyexport.pipeline.job import LoadModel
from polyexport.pipeline.pipe import run_one
from polyexport.pipeline.request import STDIO, Request
from polyexport.runtime.cores import granted_cores
from polyexport.storage.files import read_stream

__all__ = ["Pipe", "plan_pipe", "run_pipe"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pipe:
    """One image, and what is to be made of it."""

    path: str
    """Path of the image, or ``-`` for stdin."""

    setting: Setting
    pictures: tuple[str, ...]
    """Path of each second picture."""


def plan_pipe(request: Request, interface: Interface, *, others: Sequence[str]) -> Pipe:
    """Make the plan of a pipe.

    Args:
        request: what the user named.
        interface: conditions and result of the model.
        others: options that were given and do not go with a pipe.

    Raises:
        UsageError: more or fewer than one image or one output, or an option that a pipe does not take.
        ColorError: a text that is not a color.
    """
    if others:
        raise UsageError(f"{others[0]} does not go with an image on stdin or stdout", remedy="leave it out")
    if request.output not in (None, STDIO):
        raise UsageError("an image on stdin goes to stdout", remedy="leave out -o, and redirect stdout")
    settings = parse_settings(interface.conditions, colors=request.colors, assignments=request.assignments)
    if len(request.paths) != 1 or len(settings) != 1:
        what = "one color" if request.colors else "one value of each condition"
        raise UsageError(
            f"a pipe takes one image and {what}, got {len(request.paths)} and {len(settings)}",
            remedy="name a folder with -o",
        )
    [path] = request.paths
    pairing = parse_pairing(interface.conditions, request.pictures)
    for name, pictures in pairing.by_name:
        if pictures is not None and pictures.is_folder and path == STDIO:
            raise UsageError(
                f"{pictures.path}, the pictures of {name}, is a folder, and an image on stdin has no name",
                remedy=f"give one file: --with {name}=FILE",
            )
    return Pipe(path=path, setting=settings[0], pictures=pairing.pictures(path.rpartition("/")[2]))


def run_pipe(pipe: Pipe, load: LoadModel, *, size: Size, tiles: TileWish, finishing: Finishing) -> None:
    """Read one image, and write its result to stdout.

    Raises:
        UsageError: stdout is a terminal, or the network cannot take this size.
        ImageError: an image that cannot be read.
        OutputError: stdout cannot be written.
    """
    if sys.stdout is None or sys.stdout.isatty():
        raise UsageError(
            "stdout is a terminal, which cannot show a picture", remedy="redirect it to a file or a program"
        )
    with DecodingPool(jobs=1) as decoding_pool:
        decoding_pool.start()
        try:
            source = read_stream(sys.stdin.buffer, MAX_FILE_BYTES) if pipe.path == STDIO else pipe.path
        except OSError as error:
            raise ImageError(f"stdin cannot be read ({error.strerror})", remedy="give a smaller file") from error
        model = load(threads=granted_cores(), streams=1, images=1)
        made = run_one(
            source,
            pipe.setting,
            model,
            decoding_pool,
            pictures=pipe.pictures,
            size=size,
            tiles=tiles,
            finishing=finishing,
        )
    for warning in made.warnings:
        console.info(f"warning: {pipe.path}: {warning}")
    try:
        sys.stdout.buffer.write(made.data)
        sys.stdout.buffer.flush()
    except OSError as error:
        raise OutputError(f"cannot write to stdout ({error.strerror})", remedy="free space there") from error
