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
    split: Annotated[
        list[str] | None,
        typer.Option(
            help="One kind of drawing: clean, thick, gapped, noisy, curved, multi or pockets; `all` writes each into "
            "its own folder. May be repeated.",
            show_default="the training mix",
        ),
    ] = None,
    named_colors: Annotated[
        bool, typer.Option("--named-colors", help="Fill with the twenty named colors, one after the other.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a data set that is there.")] = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Draw outlines and their filled counterparts: inputs/, outputs/ and data.json."""
    console.set(verbose=verbose, quiet=quiet)

    import numpy as np

    from polyexport.data.drawings import SPLITS, DrawingConfig, draw
    from polyexport.data.pairs import INDEX, PairPixels, write_pairs
    from polyexport.data.vocabulary import VOCABULARY
    from polyexport.imaging.color import color_of

    names = list(SPLITS) if split and "all" in split else list(dict.fromkeys(split or []))
    unknown = [name for name in names if name not in SPLITS]
    if unknown:
        raise UsageError(f"unknown split {unknown[0]!r}", remedy=f"known: {', '.join(SPLITS)}, all")
    sets = {folder / name: SPLITS[name] for name in names} if names else {folder: DrawingConfig()}
    present = [target for target in sets if (target / INDEX).exists()]
    if present and not overwrite:
        raise UsageError(f"{present[0]} already holds a data set", remedy="add --overwrite or name another folder")
    digits = len(str(count - 1))

    def pairs(config: DrawingConfig) -> Iterator[tuple[str, PairPixels]]:
        for number in range(count):
            color = VOCABULARY[number % len(VOCABULARY)][1] if named_colors else None
            drawing = draw(np.random.default_rng([seed, number]), size, config, color=color)
            pixels = PairPixels(
                image=drawing.image, color=color_of(drawing.color), colored=drawing.colored, shape=drawing.shape
            )
            yield f"{number:0{digits}}_{drawing.shape}", pixels

    for target, config in sets.items():
        write_pairs(target, pairs(config))
        if not quiet:
            console.data(f"{count} drawings in {target}")
