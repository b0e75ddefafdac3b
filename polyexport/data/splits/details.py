"""Split ``details`` of the generated drawings."""

from dataclasses import replace

from polyexport.data.splits.split import PLAIN_SKETCHES, DrawingSplit

__all__ = ["SPLIT"]

SPLIT = DrawingSplit(
    name="details",
    description="Outlines and icons with lines, dots, letters or pictures inside, which take the color too.",
    drawings=replace(PLAIN_SKETCHES, details=1, icons=0.5, symbols=0, letters=0),
)
