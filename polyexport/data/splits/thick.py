"""Split ``thick`` of the generated drawings."""

from dataclasses import replace

from polyexport.data.shapes import SIMPLE_SHAPES
from polyexport.data.splits.split import PLAIN_DRAWINGS, DrawingSplit

__all__ = ["SPLIT"]

SPLIT = DrawingSplit(
    name="thick",
    description="Smooth outlines with a stroke of 4 to 10 % of the image size.",
    drawings=replace(PLAIN_DRAWINGS, antialiased=1, min_stroke=0.04, max_stroke=0.1, shapes=SIMPLE_SHAPES),
)
