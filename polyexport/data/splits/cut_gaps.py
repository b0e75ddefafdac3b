"""Split ``cut_gaps`` of the generated drawings."""

from dataclasses import replace

from polyexport.data.splits.split import PLAIN_SKETCHES, DrawingSplit

__all__ = ["SPLIT"]

SPLIT = DrawingSplit(
    name="cut_gaps",
    description="Outlines with one to four gaps with cut ends, each up to 6 % of the page's side long.",
    drawings=replace(PLAIN_SKETCHES, gapped=1, cut_gaps=1, bitten_gaps=0, large_gaps=0, dashes=0),
)
