"""Recipes of outputs: hashes of everything but the input that decides an output's pixels."""

from typing import Any

from polyexport.model.canvas import CanvasRule
from polyexport.model.conditions.color_condition import ColorCondition
from polyexport.model.model import Model
from polyexport.model.settings import Setting
from polyexport.pipeline.finishing import Finishing
from polyexport.pipeline.outputs.journal import recipe_of
from polyexport.pipeline.plan import Plan

__all__ = ["recipes_of"]


def recipes_of(plan: Plan, model: Model, canvas_rule: CanvasRule, finishing: Finishing) -> dict[Setting, str]:
    """Compute the recipe of each setting of a plan.

    Args:
        plan: inputs and outputs of the run.
        model: the model that makes the outputs.
        canvas_rule: how this model places images on canvases.
        finishing: how the results are finished.

    Returns:
        SHA-256 of the model, the conditions' values and the options that decide an output's pixels, for each setting.

    Raises:
        ColorError: a color that the model does not know.
    """
    return {
        setting: recipe_of(
            model=model.sha256,
            **_conditions(model, setting),
            mode=canvas_rule.mode,
            size=canvas_rule.size if canvas_rule.mode == "fit" else 0,
            **_tiles(canvas_rule),
            **({"first_look": canvas_rule.first_look} if canvas_rule.first_look else {}),
            **finishing.recipe(),
        )
        for setting in plan.settings
    }


def _conditions(model: Model, setting: Setting) -> dict[str, Any]:
    recipes = model.recipe_of(setting)
    if len(model.conditions) == 1 and isinstance(model.conditions[0], ColorCondition):
        return {"color": recipes[model.conditions[0].name]}  # journals have had this entry since their first version
    return {"conditions": recipes}


def _tiles(canvas_rule: CanvasRule) -> dict[str, Any]:
    """Return what stands for tiles in a recipe: nothing, if they give the result of the whole image."""
    tiles = canvas_rule.tiles
    return {} if tiles is None or tiles.exact else {"tiles": [tiles.side, tiles.overlap]}
