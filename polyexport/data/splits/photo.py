"""Split ``photo`` of the generated drawings."""

from dataclasses import replace

from polyexport.data.splits.split import PLAIN_SKETCHES, DrawingSplit

__all__ = ["SPLIT"]

SPLIT = DrawingSplit(
    name="photo",
    description="Photos and scans of drawings: uneven light, shadows, folds, noise, blur, JPEG and WebP.",
    drawings=replace(PLAIN_SKETCHES, paper=1, camera=1),
)
