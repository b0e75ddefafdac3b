"""Twenty CSS colours for models that know colours by name."""

from polyexport.color import parse_color

__all__ = ["VOCABULARY"]

_NAMES = (
    "red lime blue yellow orange purple cyan magenta black gray "
    "silver maroon olive green teal navy pink brown gold salmon"
)

VOCABULARY: tuple[tuple[str, tuple[int, int, int]], ...] = tuple(
    (name, parse_color(name).rgb) for name in _NAMES.split()
)
"""Name and sRGB value, in index order."""
