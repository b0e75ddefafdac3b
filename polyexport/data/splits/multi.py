"""Split ``multi`` of the generated drawings."""

from dataclasses import replace

from polyexport.data.shapes import SIMPLE_SHAPES
from polyexport.data.splits.split import PLAIN_DRAWINGS, DrawingSplit

__all__ = ["SPLIT"]

SPLIT = DrawingSplit(
    name="multi",
    description="Two to four shapes, apart from each other, in one drawing.",
    drawings=replace(PLAIN_DRAWINGS, multiple=1, shapes=SIMPLE_SHAPES),
)
