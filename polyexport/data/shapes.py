"""Names of the shapes that can be drawn. Imports nothing, so that the command line can list them quickly."""

__all__ = ["POCKET_SHAPES", "SHAPES", "SIMPLE_SHAPES"]

SIMPLE_SHAPES = (
    "circle",
    "diamond",
    "hexagon",
    "octagon",
    "pentagon",
    "square",
    "star",
    "triangle",
    "irregular",
    "concave",
    "rounded",
    "blob",
    "ellipse",
)
"""Shapes whose inside and outside are easy to tell apart."""

POCKET_SHAPES = ("crescent", "notched", "slotted")
"""Shapes with a deep pocket: a region that lies outside, though the outline nearly surrounds it."""

SHAPES = (*SIMPLE_SHAPES, *POCKET_SHAPES)
"""All shapes. Their order is part of the generator: a seed picks a shape by its index."""
