"""A model over a data set, one pair at a time."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from polyexport.data.pairs import Pair, PairPixels, read_pair
from polyexport.imaging.pixels import Pixels
from polyexport.model.canvas import Size
from polyexport.model.model import Model
from polyexport.model.settings import setting_from

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
        UsageError: the model takes no color.
    """
    canvas_rule, name = model.contract.canvas_rule(size), model.color_condition.name
    for pair in pairs:
        pixels = read_pair(pair)
        canvas = canvas_rule.place(pixels.image)
        setting = setting_from(model.conditions, {name: pair.color})
        colored = model.finish(canvas, model.run_canvases([canvas], [setting])[0], setting)
        yield Prediction(pair=pair, pixels=pixels, colored=colored)
