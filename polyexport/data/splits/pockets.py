"""Split ``pockets`` of the generated drawings."""

from dataclasses import replace

from polyexport.data.shapes import POCKET_SHAPES
from polyexport.data.splits.split import PLAIN_DRAWINGS, DrawingSplit

__all__ = ["SPLIT"]

SPLIT = DrawingSplit(
    name="pockets",
    description="Shapes with a deep pocket that lies outside, such as crescents and letters like U and E.",
    drawings=replace(PLAIN_DRAWINGS, shapes=POCKET_SHAPES),
)
