"""Twenty CSS colours for models that know colours by name."""

from polyexport.imaging.color import NAMED_COLORS

__all__ = ["VOCABULARY"]

VOCABULARY: tuple[tuple[str, tuple[int, int, int]], ...] = NAMED_COLORS
"""Name and sRGB value, in index order."""
