"""Split ``curved`` of the generated drawings."""

from dataclasses import replace

from polyexport.data.splits.split import PLAIN_DRAWINGS, DrawingSplit

__all__ = ["SPLIT"]

SPLIT = DrawingSplit(
    name="curved",
    description="Outlines without corners: circles, ellipses, blobs and rounded shapes.",
    drawings=replace(PLAIN_DRAWINGS, shapes=("circle", "ellipse", "rounded", "blob")),
)
