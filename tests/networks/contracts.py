"""Contracts of models that take a color, with the entries of the color beside the others, as in version 2."""

from dataclasses import replace
from typing import Any

from polyexport.model.conditions.fields import ColorFields
from polyexport.model.contract import COLORED, Contract
from polyexport.model.golden import GoldenSample

__all__ = ["color_contract", "color_golden", "with_color"]

_COLOR = ("conditioning", "palette", "color_input", "embedding", "many_colors")


def color_contract(**entries: Any) -> Contract:
    """A contract with one color, whose entries stand among the others; its output is ``colored``."""
    color = {name: entries.pop(name) for name in _COLOR if name in entries}
    return Contract(conditions=(ColorFields(**{"conditioning": "rgb"} | color),), **{"output_name": COLORED} | entries)


def with_color(contract: Contract, **changes: Any) -> Contract:
    """The contract with other entries, among them those of its color."""
    color = {name: changes.pop(name) for name in _COLOR if name in changes}
    assert contract.color is not None
    return replace(contract, **{"conditions": (replace(contract.color, **color),)} | changes)


def color_golden(*, image_png: str = "", color: Any = 0, colored_png: str = "") -> GoldenSample:
    """A golden sample of a model that takes one color."""
    return GoldenSample(image_png=image_png, values=(color,), result_png=colored_png)
