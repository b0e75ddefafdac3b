"""Split ``pencil`` of the generated drawings."""

from dataclasses import replace

from polyexport.data.splits.split import PLAIN_SKETCHES, DrawingSplit

__all__ = ["SPLIT"]

SPLIT = DrawingSplit(
    name="pencil",
    description="Gray pencil of varying darkness, with grain.",
    drawings=replace(PLAIN_SKETCHES, pencil=1, camera=0.3),
)
