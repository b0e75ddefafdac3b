"""A model over a data set, one pair at a time."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from polyexport.data.pairs import Pair, PairPixels, read_pair
from polyexport.imaging.pixels import Pixels
from polyexport.model.canvas import Size
from polyexport.model.model import Model

__all__ = ["Prediction", "predict"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """Output of a model for a pair of a data set."""

    pair: Pair
    pixels: PairPixels
    colored: Pixels
    """Output of the model, uint8 [H, W, 3], the size of the target."""


def predict(model: Model, pairs: Iterable[Pair], *, size: Size = "fit") -> Iterator[Prediction]:
    """Color every pair's drawing, in order; one is in memory at a time.

    Raises:
        DatasetError: a pair that cannot be read.
        ColorError: a color that the model does not know.
    """
    canvas_rule = model.contract.canvas_rule(size)
    for pair in pairs:
        pixels = read_pair(pair)
        canvas = canvas_rule.place(pixels.image)
        output = model.run_canvases([canvas], [pair.color])[0]
        colored = canvas.restore(output, model.condition.fill_color(pair.color))
        yield Prediction(pair=pair, pixels=pixels, colored=colored)
