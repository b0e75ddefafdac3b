"""The run of a model on a canvas that is cut into tiles."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np

from polyexport.imaging.pixels import Pixels
from polyexport.model.canvas import Canvas
from polyexport.model.conditions.condition import ConditionRow
from polyexport.model.contract import Contract
from polyexport.model.settings import Setting
from polyexport.model.tiles import TileRule, rows_of, tiled_rows

__all__ = ["RunsRows", "run_in_tiles", "tiled_output"]


class RunsRows(Protocol):
    """A model that runs batches of images of one size; see ``polyexport.model.model.Model``."""

    contract: Contract
    """Contract of the model."""

    def rows_of(self, setting: Setting, pictures: Sequence[Pixels] = ()) -> tuple[ConditionRow, ...]:
        """Return the rows of a setting and of second pictures."""
        ...

    def run_rows(self, canvases: Sequence[Pixels], rows: Sequence[tuple[ConditionRow, ...]]) -> Sequence[Pixels]:
        """Run images of one shape, each with the rows of its conditions."""
        ...


def run_in_tiles(model: RunsRows, canvas: Canvas, setting: Setting, pictures: Sequence[Pixels]) -> Pixels:
    """Run a canvas that has a rule for tiles.

    Args:
        model: the model.
        canvas: an image on its canvas.
        setting: values of the conditions that text gives.
        pictures: second pictures on the same canvas, uint8 [H, W, channels] each.

    Returns:
        uint8 [s H, s W, C], the output on the whole canvas.
    """
    assert canvas.tiles is not None
    height, width = canvas.pixels.shape[:2]
    rows = rows_of([canvas.pixels, *pictures])
    return np.concatenate(list(tiled_output(model, rows, height, width, canvas.tiles, setting)))


def tiled_output(
    model: RunsRows,
    rows: Callable[[int, int], Sequence[Pixels]],
    height: int,
    width: int,
    rule: TileRule,
    setting: Setting,
) -> Iterator[Pixels]:
    """Yield the rows of the output on a canvas that is cut into tiles; see ``polyexport.model.tiles.tiled_rows``.

    Args:
        model: the model.
        rows: returns rows of the canvas and of its second pictures.
        height: height of the canvas, pixels.
        width: width of the canvas, pixels.
        rule: how the canvas is cut.
        setting: values of the conditions that text gives.
    """

    def run(tiles: list[tuple[Pixels, ...]]) -> list[Pixels]:
        outputs: list[Pixels] = []
        for start in range(0, len(tiles), rule.per_call):
            some = tiles[start : start + rule.per_call]
            conditions = [model.rows_of(setting, pictures) for _, *pictures in some]
            outputs.extend(model.run_rows([tile[0] for tile in some], conditions))
        return outputs

    return tiled_rows(rows, height, width, rule, run, model.contract.result.ratio)
