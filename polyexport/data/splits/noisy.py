"""Split ``noisy`` of the generated drawings."""

from dataclasses import replace

from polyexport.data.shapes import SIMPLE_SHAPES
from polyexport.data.splits.split import PLAIN_DRAWINGS, DrawingSplit

__all__ = ["SPLIT"]

SPLIT = DrawingSplit(
    name="noisy",
    description="Outlines with Gaussian noise and dust, half of them on tinted paper and half compressed as JPEG.",
    drawings=replace(PLAIN_DRAWINGS, noisy=1, jpeg=0.5, tinted=0.5, shapes=SIMPLE_SHAPES),
)
