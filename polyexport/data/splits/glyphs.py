"""Split ``glyphs`` of the generated drawings."""

from dataclasses import replace

from polyexport.data.splits.split import PLAIN_SKETCHES, DrawingSplit

__all__ = ["SPLIT"]

SPLIT = DrawingSplit(
    name="glyphs",
    description="Outlines of symbols and letters from fonts.",
    drawings=replace(PLAIN_SKETCHES, icons=0, symbols=0.7, letters=0.3),
)
