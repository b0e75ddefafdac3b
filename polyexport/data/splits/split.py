"""Description of one split of generated drawings."""

from dataclasses import dataclass

from polyexport.data.drawing_config import DrawingConfig

__all__ = ["PLAIN_DRAWINGS", "DrawingSplit"]

PLAIN_DRAWINGS = DrawingConfig(gapped=0, noisy=0, jpeg=0, tinted=0, multiple=0, max_stroke=0.05, random_color=1)
"""Whole, black outlines of one shape on white paper, filled with any color: a split changes what makes it difficult."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawingSplit:
    """Generated drawings that share one kind of difficulty, to measure a network on it."""

    name: str
    """Value of ``polyexport dataset --split`` and name of the split's folder."""

    description: str
    """One sentence about the drawings, for help texts and documentation."""

    drawings: DrawingConfig
    """Configuration that the split is drawn with."""
