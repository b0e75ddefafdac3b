"""An image that the models of ``LOCAL_KINDS`` are given in tiles, its mask, and the result of a run without tiles."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.pixels import decode
from polyexport.model.model import Model
from polyexport.model.settings import setting_from
from polyexport.model.tile_wish import TileWish

__all__ = ["SIGMA", "image_and_mask", "record_shapes", "whole_png"]

SIGMA = 12.5
"""Value of the condition ``sigma``."""


def image_and_mask(folder: Path, *, height: int = 150, width: int = 203) -> tuple[Path, Path]:
    """Write an image that is several tiles high and wide, no multiple of what the network takes, and its mask."""
    random = np.random.default_rng(5)
    paths = folder / "large.png", folder / "mask.png"
    for path, channels in zip(paths, (3, 1), strict=True):
        path.write_bytes(encode_png(random.integers(0, 256, (height, width, channels), dtype=np.uint8)))
    return paths


def whole_png(model: Model, image: Path, mask: Path, *, tiles: TileWish | None = None) -> bytes:
    """The file of the result, without tiles unless some are wished for."""
    rule = model.contract.canvas_rule(tiles=tiles or TileWish(tile="off"))
    canvas = rule.place(decode(image.read_bytes()).pixels)
    second = rule.for_picture(1).place(decode(mask.read_bytes(), channels=1).pixels)
    setting = setting_from(model.conditions, {"sigma": SIGMA})
    [output] = model.run_canvases([canvas], [setting], [[second.pixels]])
    return encode_png(model.finish(canvas, output, setting))


def record_shapes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """A list of the heights and widths that networks are called with from now on, but for those of golden samples."""
    shapes: list[tuple[int, ...]] = []
    real = Model.run_rows

    def run_rows(self: Model, canvases: Any, rows: Any) -> Any:
        given: list[NDArray[np.uint8]] = list(canvases)
        shapes.extend(each.shape[:2] for each in given if each.shape[:2] != (16, 16))
        return real(self, given, rows)

    monkeypatch.setattr(Model, "run_rows", run_rows)
    return shapes
