"""Split ``clean`` of the generated drawings."""

from dataclasses import replace

from polyexport.data.shapes import SIMPLE_SHAPES
from polyexport.data.splits.split import PLAIN_DRAWINGS, DrawingSplit

__all__ = ["SPLIT"]

SPLIT = DrawingSplit(
    name="clean",
    description="Thin, unbroken outlines of simple shapes on white paper.",
    drawings=replace(PLAIN_DRAWINGS, max_stroke=0.03, shapes=SIMPLE_SHAPES),
)
