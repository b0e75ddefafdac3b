"""Recipes of outputs: hashes of everything but the input that decides an output's pixels."""

from typing import Literal

from polyexport.imaging.color import Color
from polyexport.model.canvas import CanvasRule
from polyexport.model.model import Model
from polyexport.pipeline.outputs.journal import recipe_of
from polyexport.pipeline.plan import Plan

__all__ = ["Background", "recipes_of"]

Background = Literal["white", "transparent"]
"""Treatment of the paper around a drawing."""


def recipes_of(plan: Plan, model: Model, canvas_rule: CanvasRule, background: Background) -> dict[Color, str]:
    """Compute the recipe of each color of a plan.

    Args:
        plan: inputs and outputs of the run.
        model: the model that colors them.
        canvas_rule: how this model places images on canvases.
        background: treatment of the paper around a drawing.

    Returns:
        SHA-256 of the model, the color and the other settings that decide an output's pixels, for each color.

    Raises:
        ColorError: a color that the model does not know.
    """
    return {
        color: recipe_of(
            model=model.sha256,
            color=model.condition.recipe(color),
            mode=canvas_rule.mode,
            size=canvas_rule.size if canvas_rule.mode == "fit" else 0,
            background=background,
        )
        for color in plan.colors
    }
