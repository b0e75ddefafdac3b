"""Split ``bitten_gaps`` of the generated drawings."""

from dataclasses import replace

from polyexport.data.splits.split import PLAIN_SKETCHES, DrawingSplit

__all__ = ["SPLIT"]

SPLIT = DrawingSplit(
    name="bitten_gaps",
    description="Outlines with one to four gaps that a round eraser made, each up to 7 % of the page's side wide, and "
    "wider than the stroke.",
    drawings=replace(PLAIN_SKETCHES, gapped=1, cut_gaps=0, bitten_gaps=1, large_gaps=0, dashes=0),
)
