"""The difference that tiles make where they do not give the result of the whole image."""

import base64
from dataclasses import dataclass, replace

import numpy as np

from polyexport.errors import UsageError
from polyexport.imaging.pixels import Pixels, decode, to_channels
from polyexport.imaging.psnr import psnr_db
from polyexport.model.canvas import MAX_NATIVE_PIXELS, CanvasRule
from polyexport.model.model import Model
from polyexport.model.settings import Setting
from polyexport.model.tiles import TileRule
from polyexport.runtime.memory import granted_memory

__all__ = ["TileDifference", "measure_tiles"]

_BYTES_PER_PIXEL = 2048  # of a network whose graph was not measured
_MEMORY_SHARE = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class TileDifference:
    """The result of an image in tiles, compared with that of the whole image."""

    rule: TileRule
    """Tiles of the comparison: those of the run, or smaller ones where the whole image would not fit the memory."""

    height: int
    """Height of the image, pixels."""

    width: int
    """Width of the image, pixels."""

    mean: float
    """Mean absolute difference, levels."""

    largest: int
    """Largest absolute difference, levels."""

    psnr_db: float
    """PSNR against the result of the whole image, decibels, at most 100."""

    def describe(self) -> str:
        """Describe the difference in one line."""
        return (
            f"tiles of {self.rule.side} pixels that overlap by {self.rule.overlap} differ from the whole image by "
            f"{self.mean:.2f} levels on average and {self.largest} at most, PSNR {self.psnr_db:.1f} dB, on the golden "
            f"sample repeated to {self.width}x{self.height} pixels"
        )


def measure_tiles(model: Model, canvas_rule: CanvasRule, setting: Setting) -> TileDifference:
    """Run the image of the model's golden sample, continued by its mirror images, as a whole and in tiles.

    Args:
        model: the model.
        canvas_rule: places images, and has a rule for tiles.
        setting: values of the conditions that text gives.

    Raises:
        UsageError: two tiles together are larger than the network takes.
    """
    assert canvas_rule.tiles is not None
    rule = _smaller(canvas_rule.tiles, model)
    side = 2 * rule.side - rule.overlap
    if side * side > MAX_NATIVE_PIXELS:
        raise UsageError(
            f"tiles of {rule.side} pixels cannot be compared with whole images: two of them are more than the "
            f"{MAX_NATIVE_PIXELS} pixels that the network takes",
            remedy="give a smaller --tile, or a larger --overlap",
        )
    sample = decode(base64.b64decode(model.contract.golden.image_png), channels=model.contract.image_channels).pixels
    image = _continued(sample, side)
    results = []
    for tiles in (None, rule):
        own = replace(canvas_rule, tiles=tiles)
        canvas = own.place(image)
        pictures = [
            picture.place(_continued(to_channels(sample, picture.channels), side)).pixels
            for picture in model.picture_rules(own).values()
        ]
        results.append(model.run_canvases([canvas], [setting], [pictures])[0])
    whole, tiled = results
    difference = np.abs(whole.astype(np.int16) - tiled)
    return TileDifference(
        rule=rule,
        height=side,
        width=side,
        mean=float(difference.mean()),
        largest=int(difference.max()),
        psnr_db=psnr_db(whole, tiled),
    )


def _smaller(rule: TileRule, model: Model) -> TileRule:
    """Return a rule whose tiles and overlaps are smaller in one proportion, if four tiles do not fit the memory."""
    locality = model.contract.locality
    per_pixel = (locality.bytes_per_pixel if locality is not None else 0) or _BYTES_PER_PIXEL
    most = min(MAX_NATIVE_PIXELS, granted_memory() // _MEMORY_SHARE // per_pixel)
    side = 2 * rule.side - rule.overlap
    if side * side <= most:
        return rule
    shrunk = (most**0.5) / side
    multiple = rule.multiple
    smaller = max(int(rule.side * shrunk), model.contract.smallest_size) // multiple * multiple
    overlap = int(rule.overlap * shrunk) // multiple * multiple
    least = -(-max(model.contract.smallest_size, multiple) // multiple) * multiple
    return replace(rule, side=max(smaller, overlap + multiple, least), overlap=overlap)


def _continued(image: Pixels, side: int) -> Pixels:
    pad = tuple((0, max(0, side - extent)) for extent in image.shape[:2])
    return np.ascontiguousarray(np.pad(image, (*pad, (0, 0)), mode="symmetric")[:side, :side])
