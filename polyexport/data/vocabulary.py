"""Twenty CSS colors for models that know colors by name."""

from polyexport.imaging.color import NAMED_COLORS

__all__ = ["VOCABULARY"]

VOCABULARY: tuple[tuple[str, tuple[int, int, int]], ...] = NAMED_COLORS
"""Name and sRGB value of each color, in index order."""
