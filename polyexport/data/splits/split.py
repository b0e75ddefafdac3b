"""Description of one split of generated drawings."""

from dataclasses import dataclass

from polyexport.data.drawing_config import DrawingConfig
from polyexport.data.sketch_config import SketchConfig

__all__ = ["PLAIN_DRAWINGS", "PLAIN_SKETCHES", "DrawingSplit"]

PLAIN_DRAWINGS = DrawingConfig(gapped=0, noisy=0, jpeg=0, tinted=0, multiple=0, max_stroke=0.05, random_color=1)
"""Whole, black outlines of one shape on white paper, filled with any color: a split changes what makes it difficult."""

PLAIN_SKETCHES = SketchConfig(
    plain=0,
    icons=0.6,
    symbols=0.15,
    letters=0.05,
    several=0,
    open_lines=0,
    cut_by_page=0,
    gapped=0,
    wobbly=0,
    uneven_width=0,
    doubled=0,
    pencil=0,
    marker=0,
    colored_ink=0,
    aliased=0,
    paper=0,
    camera=0,
    inverted=0,
    empty=0,
    open_subjects=0,
    outlines=DrawingConfig(random_color=1),
)
"""Whole sketches of one subject in black or gray ink, mostly on white paper; a split changes what is difficult."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawingSplit:
    """Generated drawings that share one kind of difficulty, to measure a network on it."""

    name: str
    """Value of ``polyexport dataset --split`` and name of the split's folder."""

    description: str
    """One sentence about the drawings, for help texts and documentation."""

    drawings: DrawingConfig | SketchConfig
    """Configuration that the split is drawn with."""
