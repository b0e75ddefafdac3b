"""The registry of conditions: one row for each kind, from its name in a contract to the module that holds it.

A condition is what the network takes beside the image, such as the color to fill with. To add a kind, write a dataclass
of its entries in ``fields.py`` and a module like ``number.py`` in this folder, with a subclass of
``condition.Condition`` under the name ``CONDITION``, and add its row to ``CONDITION_MODULES``. A further way to give a
color is a module like ``rgb.py`` with a row in ``COLOR_MODULES``. Inference, the package, the proof of an export and
the error messages follow. This module imports nothing heavy, so that ``polyexport export --help`` can list the names
without loading numpy.
"""

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from polyexport.model.conditions.condition import Condition
    from polyexport.model.conditions.fields import ConditionFields

__all__ = ["COLOR_MODULES", "CONDITION_MODULES", "condition_of"]

CONDITION_MODULES: Mapping[str, str] = {
    "label": "polyexport.model.conditions.label",
    "number": "polyexport.model.conditions.number",
    "vector": "polyexport.model.conditions.vector",
    "image": "polyexport.model.conditions.image",
}
"""Name of each kind but ``color``, as it stands in a contract, and the module that defines its ``CONDITION``."""

COLOR_MODULES: Mapping[str, str] = {
    "rgb": "polyexport.model.conditions.rgb",
    "vocabulary": "polyexport.model.conditions.vocabulary",
    "embedding": "polyexport.model.conditions.embedding",
}
"""Name of each ``conditioning`` of the kind ``color``, and the module that defines its ``CONDITION``."""


def condition_of(fields: "ConditionFields") -> "Condition[Any]":
    """Build the condition that the entries of a contract describe.

    A network that was trained on one kind of color may take the embedding of it as its input. So ``color_input``
    decides where it names a kind itself, and ``conditioning`` everywhere else.

    Raises:
        ValueError: a conditioning that is not in the registry, or entries that this kind does not allow.
    """
    if fields.kind == "color":
        if fields.conditioning not in COLOR_MODULES:
            raise ValueError(f"conditioning must be {', '.join(COLOR_MODULES)}, got {fields.conditioning!r}")
        name = fields.color_input if fields.color_input in COLOR_MODULES else fields.conditioning
        module = COLOR_MODULES[name]
    else:
        module = CONDITION_MODULES[fields.kind]
    condition: Condition[Any] = importlib.import_module(module).CONDITION(fields)
    return condition
