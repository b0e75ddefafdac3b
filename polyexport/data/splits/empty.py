"""Split ``empty`` of the generated drawings."""

from dataclasses import replace

from polyexport.data.splits.split import PLAIN_SKETCHES, DrawingSplit

__all__ = ["SPLIT"]

SPLIT = DrawingSplit(
    name="empty",
    description="Pages without a drawing: blank, written on, dark all over, or a photo of something else.",
    drawings=replace(PLAIN_SKETCHES, empty=1, paper=0.5),
)
