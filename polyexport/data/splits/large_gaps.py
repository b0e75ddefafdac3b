"""Split ``large_gaps`` of the generated drawings."""

from dataclasses import replace

from polyexport.data.splits.split import PLAIN_SKETCHES, DrawingSplit

__all__ = ["SPLIT"]

SPLIT = DrawingSplit(
    name="large_gaps",
    description="Outlines of which one piece is missing, 6 to 16 % of the page's side long.",
    drawings=replace(PLAIN_SKETCHES, gapped=1, cut_gaps=0, bitten_gaps=0, large_gaps=1, dashes=0),
)
