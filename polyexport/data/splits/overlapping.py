"""Split ``overlapping`` of the generated drawings."""

from dataclasses import replace

from polyexport.data.splits.split import PLAIN_SKETCHES, DrawingSplit

__all__ = ["SPLIT"]

SPLIT = DrawingSplit(
    name="overlapping",
    description="Two to four subjects on one page: apart, nested or overlapping.",
    drawings=replace(PLAIN_SKETCHES, several=1),
)
