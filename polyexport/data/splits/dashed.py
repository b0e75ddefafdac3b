"""Split ``dashed`` of the generated drawings."""

from dataclasses import replace

from polyexport.data.splits.split import PLAIN_SKETCHES, DrawingSplit

__all__ = ["SPLIT"]

SPLIT = DrawingSplit(
    name="dashed",
    description="Dashed outlines, and outlines of which many short pieces are missing.",
    drawings=replace(PLAIN_SKETCHES, gapped=1, cut_gaps=0, bitten_gaps=0, large_gaps=0, dashes=1),
)
