"""polyexport dataset: generated drawings, in the layout that `train` and `evaluate` read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from polyexport.cli.console import console
from polyexport.cli.options import Quiet, Verbose
from polyexport.errors import UsageError

__all__ = ["dataset"]


def dataset(
    folder: Annotated[Path, typer.Argument(help="Folder to write.")],
    count: Annotated[int, typer.Option(min=1, max=1_000_000, help="Number of drawings.")] = 100,
    size: Annotated[int, typer.Option(min=16, max=4096, help="Height and width, pixels.")] = 128,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same files.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a data set that is there.")] = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Draw outlines and their filled counterparts: inputs/, outputs/ and data.json."""
    console.set(verbose=verbose, quiet=quiet)

    import numpy as np

    from polyexport.color import color_of
    from polyexport.dataset import INDEX, PairPixels, write_pairs
    from trainer.polygons import draw

    if (folder / INDEX).exists() and not overwrite:
        raise UsageError(f"{folder} already holds a data set", remedy="add --overwrite or name another folder")
    digits = len(str(count - 1))

    def pairs() -> Iterator[tuple[str, PairPixels]]:
        for number in range(count):
            drawing = draw(np.random.default_rng([seed, number]), size)
            pixels = PairPixels(image=drawing.image, color=color_of(drawing.color), colored=drawing.colored)
            yield f"{number:0{digits}}_{drawing.shape}", pixels

    write_pairs(folder, pairs())
    if not quiet:
        console.data(f"{count} drawings in {folder}")
