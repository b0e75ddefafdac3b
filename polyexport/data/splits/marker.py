"""Split ``marker`` of the generated drawings."""

from dataclasses import replace

from polyexport.data.splits.split import PLAIN_SKETCHES, DrawingSplit

__all__ = ["SPLIT"]

SPLIT = DrawingSplit(
    name="marker",
    description="Translucent or colored ink, some of it light.",
    drawings=replace(PLAIN_SKETCHES, marker=0.4, colored_ink=1),
)
