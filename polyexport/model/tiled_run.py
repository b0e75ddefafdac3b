"""The run of a model on large canvases, in tiles."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from polyexport.imaging.pixels import Pixels
from polyexport.model.canvas import Canvas
from polyexport.model.conditions.condition import Condition, ConditionRow
from polyexport.model.contract import Contract
from polyexport.model.settings import Setting
from polyexport.model.tiles import TileRule, rows_of, tiled_rows
from polyexport.runtime.session import Session

__all__ = ["RunsRows", "run_in_tiles", "tiled_output"]


class RunsRows(Protocol):
    """A model that runs batches of images of one size; see ``polyexport.model.model.Model``."""

    contract: Contract
    """Contract of the model."""

    conditions: tuple[Condition[Any], ...]
    """Conditions of the model, in the order of the contract."""

    session: Session
    """Session that runs the graph."""

    def rows_of(self, setting: Setting, pictures: Sequence[Pixels] = ()) -> tuple[ConditionRow, ...]:
        """Return the rows of a setting and of second pictures."""
        ...

    def run_rows(self, canvases: Sequence[Pixels], rows: Sequence[tuple[ConditionRow, ...]]) -> Sequence[Pixels]:
        """Run images of one shape, each with the rows of its conditions."""
        ...


def run_in_tiles(model: RunsRows, canvas: Canvas, rows: Sequence[ConditionRow]) -> Pixels:
    """Run one canvas that is cut into tiles.

    Args:
        model: the model.
        canvas: an image on its canvas.
        rows: rows of its conditions, with second pictures on the same canvas, uint8 [H, W, channels] each.

    Returns:
        uint8 [s H, s W, C].
    """
    assert canvas.tiles is not None
    height, width = canvas.pixels.shape[:2]
    second = [number for number, condition in enumerate(model.conditions) if not condition.textual]

    def conditions_of(pictures: Sequence[Pixels]) -> tuple[ConditionRow, ...]:
        own = dict(zip(second, pictures, strict=True))
        return tuple(own.get(number, row) for number, row in enumerate(rows))

    planes = rows_of([canvas.pixels, *(rows[number] for number in second)])
    return np.concatenate(list(_tiled(model, planes, height, width, canvas.tiles, conditions_of)))


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
    return _tiled(model, rows, height, width, rule, lambda pictures: model.rows_of(setting, pictures))


def _tiled(
    model: RunsRows,
    rows: Callable[[int, int], Sequence[Pixels]],
    height: int,
    width: int,
    rule: TileRule,
    conditions_of: Callable[[Sequence[Pixels]], tuple[ConditionRow, ...]],
) -> Iterator[Pixels]:
    def run(tiles: list[tuple[Pixels, ...]]) -> list[Pixels]:
        outputs: list[Pixels] = []
        for start in range(0, len(tiles), rule.per_call):
            some = tiles[start : start + rule.per_call]
            conditions = [conditions_of(pictures) for _, *pictures in some]
            outputs.extend(model.run_rows([tile[0] for tile in some], conditions))
        return outputs

    return tiled_rows(rows, height, width, rule, run, model.contract.result.ratio)
