"""The registry of conditions: one row for each kind, from its name in a contract to the module that holds it.

A condition is what the network takes beside the image, such as the color to fill with. To add a kind, write a module
like ``rgb.py`` in this folder, with a subclass of ``condition.Condition`` under the name ``CONDITION``, and add its row
to ``CONDITION_MODULES``. Inference, the package, the proof of an export and the error messages follow. This module
imports nothing heavy, so that ``polyexport export --help`` can list the names without loading numpy.
"""

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polyexport.model.conditions.condition import Condition
    from polyexport.model.conditions.fields import ConditionFields

__all__ = ["CONDITION_MODULES", "condition_of"]

CONDITION_MODULES: Mapping[str, str] = {
    "rgb": "polyexport.model.conditions.rgb",
    "vocabulary": "polyexport.model.conditions.vocabulary",
    "embedding": "polyexport.model.conditions.embedding",
}
"""Name of each kind, as it stands in a contract, and the module that defines its ``CONDITION``."""


def condition_of(fields: "ConditionFields") -> "Condition":
    """Build the condition that the entries of a contract describe.

    A network that was trained on one kind of condition may take the embedding of it as its input. So ``color_input``
    decides where it names a kind itself, and ``conditioning`` everywhere else.

    Raises:
        ValueError: a kind that is not in the registry, or entries that this kind does not allow.
    """
    if fields.conditioning not in CONDITION_MODULES:
        raise ValueError(f"conditioning must be {', '.join(CONDITION_MODULES)}, got {fields.conditioning!r}")
    name = fields.color_input if fields.color_input in CONDITION_MODULES else fields.conditioning
    condition: Condition = importlib.import_module(CONDITION_MODULES[name]).CONDITION(fields)
    return condition
