"""Split ``border`` of the generated drawings."""

from dataclasses import replace

from polyexport.data.splits.split import PLAIN_SKETCHES, DrawingSplit

__all__ = ["SPLIT"]

SPLIT = DrawingSplit(
    name="border",
    description="Shapes that the edge of the page cuts, and closes.",
    drawings=replace(PLAIN_SKETCHES, cut_by_page=1),
)
