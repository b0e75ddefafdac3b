"""polyexport dataset: write generated drawings in the layout that `train` and `evaluate` read."""

from pathlib import Path
from typing import Annotated

import typer

from polyexport.cli.console import console
from polyexport.cli.options import Quiet, Verbose
from polyexport.data.splits import SPLITS
from polyexport.errors import UsageError

__all__ = ["dataset"]

_ALL = "all"
_SPLIT_HELP = " ".join(
    [
        "Kind of drawings to write, each kind into a folder of its own. May be repeated.",
        *(f"{split.name}: {split.description}" for split in SPLITS.values()),
        f"{_ALL}: Every kind above.",
    ]
)


def dataset(
    folder: Annotated[Path, typer.Argument(help="Folder to write the data set into.")],
    count: Annotated[int, typer.Option(min=1, max=1_000_000, help="Number of drawings in each data set.")] = 100,
    size: Annotated[int, typer.Option(min=16, max=4096, help="Height and width of the drawings, pixels.")] = 128,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the random generator; the same seed gives the same files.")
    ] = 0,
    split: Annotated[
        list[str] | None,
        typer.Option(help=_SPLIT_HELP, show_default="the training mix", metavar="|".join([*SPLITS, _ALL])),
    ] = None,
    named_colors: Annotated[
        bool,
        typer.Option("--named-colors", help="Fill with the twenty named colors in turn, in place of random colors."),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace the data set that is already in the folder: the files that its data.json lists.",
        ),
    ] = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Draw outlines and sketches and their filled counterparts: inputs/, outputs/ and data.json."""
    console.set(verbose=verbose, quiet=quiet)

    from polyexport.data.generate import write_drawings
    from polyexport.data.sketch_config import SketchConfig

    names = list(SPLITS) if split and _ALL in split else list(dict.fromkeys(split or []))
    unknown = [name for name in names if name not in SPLITS]
    if unknown:
        raise UsageError(f"unknown split {unknown[0]!r}", remedy=f"known: {', '.join([*SPLITS, _ALL])}")
    sets = {name: SPLITS[name].drawings for name in names} if names else {"": SketchConfig()}
    write_drawings(folder, sets, count=count, size=size, seed=seed, named_colors=named_colors, overwrite=overwrite)
    if not quiet:
        for name in sets:
            console.data(f"{count} drawings in {folder / name}")
