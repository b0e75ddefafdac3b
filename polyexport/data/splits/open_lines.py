"""Split ``open_lines`` of the generated drawings."""

from dataclasses import replace

from polyexport.data.splits.split import PLAIN_SKETCHES, DrawingSplit

__all__ = ["SPLIT"]

SPLIT = DrawingSplit(
    name="open_lines",
    description="Shapes with open lines beside and across them; the lines take the color, and nothing else does.",
    drawings=replace(PLAIN_SKETCHES, open_lines=1),
)
