"""Split ``ruled`` of the generated drawings."""

from dataclasses import replace

from polyexport.data.splits.split import PLAIN_SKETCHES, DrawingSplit

__all__ = ["SPLIT"]

SPLIT = DrawingSplit(
    name="ruled",
    description="Drawings on ruled and squared paper.",
    drawings=replace(PLAIN_SKETCHES, paper=1, ruled=1),
)
