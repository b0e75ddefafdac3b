"""Split ``gapped`` of the generated drawings."""

from dataclasses import replace

from polyexport.data.shapes import SIMPLE_SHAPES
from polyexport.data.splits.split import PLAIN_DRAWINGS, DrawingSplit

__all__ = ["SPLIT"]

SPLIT = DrawingSplit(
    name="gapped",
    description="Outlines that are broken in one to three places.",
    drawings=replace(PLAIN_DRAWINGS, gapped=1, shapes=SIMPLE_SHAPES),
)
