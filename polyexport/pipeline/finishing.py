"""Finishing: treatment of a result on its way into a file, and the models that have such results."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from polyexport.errors import UsageError
from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.matte import transparent
from polyexport.imaging.pixels import Pixels
from polyexport.imaging.traits import KEEP_NOTHING, Keep
from polyexport.model.canvas import Canvas
from polyexport.model.conditions.color_condition import ColorCondition
from polyexport.model.conditions.condition import Condition
from polyexport.model.model import Model
from polyexport.model.result import ResultFields
from polyexport.model.settings import Setting

__all__ = ["PLAIN", "Background", "Finishing", "ResultAs"]

Background = Literal["white", "transparent"]
"""Treatment of the paper around a drawing."""

ResultAs = Literal["result", "alpha"]
"""Use of a result: as it is, or as the alpha of its image."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finishing:
    """Treatment of the results of a run on their way into files."""

    background: Background = "white"
    result_as: ResultAs = "result"

    @property
    def as_alpha(self) -> bool:
        """Whether a mask becomes the alpha of its image."""
        return self.result_as == "alpha"

    @property
    def keep(self) -> Keep:
        """Traits of the inputs' files that the outputs need."""
        return KEEP_NOTHING

    def check(self, result: ResultFields, conditions: Sequence[Condition[Any]]) -> None:
        """Check that a model has results that can be finished in this way.

        Args:
            result: the model's result.
            conditions: the model's conditions.

        Raises:
            UsageError: it has not.
        """
        if self.as_alpha and not result.can_be_alpha:
            raise UsageError(
                f"the model's result is a {_described(result)}, which cannot be an alpha",
                remedy="leave out --result-as alpha, which is for masks of the image's size",
            )
        drawn = result.kind in ("picture", "fill") and result.channels == 3
        colored = any(isinstance(condition, ColorCondition) for condition in conditions)
        if self.background == "transparent" and not (drawn and colored):
            raise UsageError(
                f"the model's result is a {_described(result)}{'' if colored else ' without a color'}, which has no "
                "paper around a drawing",
                remedy="leave out --background transparent, which is for models that take a color",
            )

    def encode(self, model: Model, canvas: Canvas, output: Pixels, setting: Setting) -> bytes:
        """Turn the network's output on a canvas into a PNG file.

        Args:
            model: made the output.
            canvas: the image on its canvas.
            output: uint8 [s H, s W, C], the network's output.
            setting: values of the model's conditions.
        """
        result = model.finish(canvas, output, setting, as_alpha=self.as_alpha)
        return encode_png(transparent(result) if self.background == "transparent" else result)

    def recipe(self) -> dict[str, Any]:
        """Return what stands for this in the recipe of an output."""
        return {"background": self.background} | ({"result_as": self.result_as} if self.as_alpha else {})


PLAIN = Finishing()
"""Results as they are."""


def _described(result: ResultFields) -> str:
    return {1: "gray ", 3: "", 4: "RGBA "}[result.channels] * (result.kind == "picture") + result.kind
