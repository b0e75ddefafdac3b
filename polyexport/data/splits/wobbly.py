"""Split ``wobbly`` of the generated drawings."""

from dataclasses import replace

from polyexport.data.splits.split import PLAIN_SKETCHES, DrawingSplit

__all__ = ["SPLIT"]

SPLIT = DrawingSplit(
    name="wobbly",
    description="Lines that are bent as by a hand, with strokes of varying width, some of them drawn twice.",
    drawings=replace(PLAIN_SKETCHES, wobbly=1, uneven_width=0.7, doubled=0.2),
)
