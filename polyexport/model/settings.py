"""Settings: the values of all conditions that text gives, for one output of an image.

A model that takes a color gets one setting for each ``--color``; one that takes a number and a label gets one for each
pair of values that are asked for.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from polyexport.errors import ColorError, UsageError
from polyexport.model.conditions.color_condition import ColorCondition, ColorLike
from polyexport.model.conditions.condition import Condition

__all__ = [
    "MAX_SETTINGS",
    "NOTHING",
    "NO_SETTING",
    "Setting",
    "describe_conditions",
    "parse_settings",
    "setting_from",
    "setting_of",
]

MAX_SETTINGS = 4096
"""Largest number of settings of one run."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Values of the conditions of a model, for one output."""

    folder: str
    """Folder of the output inside of the output folder, such as ``red`` or ``ukiyo-e,sigma=25``; empty for a model
    without conditions."""

    values: tuple[Any, ...] = ()
    """One value for each condition that text gives, in the model's order, as ``Condition.parse`` returned it."""

    def __str__(self) -> str:
        return self.folder or "no condition"


NO_SETTING = Setting("")
"""The setting of a model without conditions."""

NOTHING: Mapping[str, Sequence[Any]] = MappingProxyType({})
"""Values of no condition."""


def setting_of(conditions: Sequence[Condition[Any]], values: Sequence[Any]) -> Setting:
    """Make a setting of parsed values, one for each condition that text gives."""
    textual = [condition for condition in conditions if condition.textual]
    parts = [condition.folder(value) for condition, value in zip(textual, values, strict=True)]
    return Setting(",".join(parts), tuple(values))


def parse_settings(
    conditions: Sequence[Condition[Any]],
    *,
    colors: Sequence[ColorLike] = (),
    assignments: Sequence[str] = (),
    values: Mapping[str, Sequence[Any]] = NOTHING,
) -> list[Setting]:
    """Parse what a user gives, as every combination of the values of all conditions.

    Args:
        conditions: Conditions of a model.
        colors: Values of its color condition.
        assignments: ``NAME=VALUE`` each; a name that stands several times has several values.
        values: Values of further conditions, by their names, as text or as ``Model.apply`` takes them.

    Returns:
        One setting for each combination, in the order of the model's conditions, each once.

    Raises:
        UsageError: A condition that the model does not have, that is given twice in two ways, or that has no value and
            no default; or too many combinations. The message lists the model's conditions.
        ColorError: A text that is not a color.
    """
    given: dict[str, list[Any]] = {name: list(several) for name, several in values.items() if several}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"{text[:60]!r} is not NAME=VALUE", remedy=_example(conditions))
        given.setdefault(name.strip(), []).append(value.strip())
    if colors:
        names = [condition.name for condition in conditions if isinstance(condition, ColorCondition)]
        if not names:
            raise UsageError(
                f"the model takes no color, got {str(colors[0])[:60]!r}; it takes {describe_conditions(conditions)}",
                remedy=_example(conditions),
            )
        if names[0] in given:
            raise UsageError(f"{names[0]} is given by --color and by --set", remedy="give it in one of these ways")
        given[names[0]] = list(colors)
    return _combined(conditions, given)


def setting_from(conditions: Sequence[Condition[Any]], values: Mapping[str, Any]) -> Setting:
    """Make the setting of one value for each condition, by name.

    Raises:
        UsageError: As ``parse_settings`` does.
        ColorError: A text that is not a color.
    """
    return _combined(conditions, {name: [value] for name, value in values.items()})[0]


def _combined(conditions: Sequence[Condition[Any]], given: Mapping[str, list[Any]]) -> list[Setting]:
    textual = {condition.name: condition for condition in conditions if condition.textual}
    for name, values in given.items():
        if name not in textual:
            pictures = [condition for condition in conditions if condition.name == name]
            for picture in pictures:
                picture.parse(values[0])
            raise UsageError(
                f"the model has no condition {name[:60]!r}; it takes {describe_conditions(conditions)}",
                remedy=_example(conditions),
            )
    choices: list[list[Any]] = []
    for name, condition in textual.items():
        if name in given:
            choices.append([_parsed(condition, conditions, value) for value in given[name]])
        elif condition.default is not None:
            choices.append([condition.default])
        else:
            what = "no color was given" if isinstance(condition, ColorCondition) else f"no {name} was given"
            raise UsageError(f"{what}; the model takes {describe_conditions(conditions)}", remedy=_example(conditions))
    count = 1
    for values in choices:
        count *= len(values)
    if count > MAX_SETTINGS:
        raise UsageError(f"{count} combinations of conditions, more than {MAX_SETTINGS}", remedy="give fewer values")
    every = (setting_of(conditions, values) for values in itertools.product(*choices))
    return list(dict.fromkeys(every))


def _parsed(condition: Condition[Any], conditions: Sequence[Condition[Any]], value: Any) -> Any:
    try:
        return condition.parse(value)
    except ColorError:
        raise
    except UsageError as error:
        raise UsageError(
            f"{error.message}; the model takes {describe_conditions(conditions)}", remedy=error.remedy
        ) from error


def describe_conditions(conditions: Iterable[Condition[Any]]) -> str:
    """Describe the conditions of a model in one line, such as ``sigma (a number, 0 to 75)``."""
    return ", ".join(f"{condition.name} ({condition.describe()})" for condition in conditions) or "an image alone"


def _example(conditions: Sequence[Condition[Any]]) -> str:
    """Return advice that shows how the conditions of a model are given."""
    words = []
    for condition in conditions:
        if isinstance(condition, ColorCondition):
            words.append(f"--color '{condition.example()}'")
        elif condition.textual:
            words.append(f"--set {condition.name}={condition.example()}")
        else:
            words.append(f"--with {condition.name}=DIR")
    return f"give {' '.join(words)}" if words else "leave conditions out"
