"""Split ``inverted`` of the generated drawings."""

from dataclasses import replace

from polyexport.data.splits.split import PLAIN_SKETCHES, DrawingSplit

__all__ = ["SPLIT"]

SPLIT = DrawingSplit(
    name="inverted",
    description="Light lines on a dark page.",
    drawings=replace(PLAIN_SKETCHES, inverted=1),
)
