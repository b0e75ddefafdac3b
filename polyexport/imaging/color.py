"""Colors as users type them, read as sRGB values."""

import contextlib
import difflib
import operator
import re
from dataclasses import dataclass

from PIL import ImageColor

from polyexport.errors import ColorError

__all__ = ["COLOR_NAME", "NAMED_COLORS", "Color", "color_of", "parse_color"]

_ACCEPTED_FORMS = "a CSS name, '#ff8800', 'rgb(255, 136, 0)' or 'hsl(32, 100%, 50%)'"
_HEX = re.compile(r"#?([0-9a-f]{3}|[0-9a-f]{6})")
# CSS Color 4 also separates the values of rgb() and hsl() by spaces; pillow reads the comma form alone.
_FUNCTION = re.compile(r"(rgb|hsl)\(\s*([\d.]+%?)(?:deg)?(?:\s*,\s*|\s+)([\d.]+%?)(?:\s*,\s*|\s+)([\d.]+%?)\s*\)")
_MAX_TEXT_LENGTH = 64

COLOR_NAME = re.compile(r"\w[\w .-]{0,63}")
"""Pattern of the color names that a model file may define; each of them can be used as the name of a folder."""


@dataclass(frozen=True, slots=True)
class Color:
    """An opaque sRGB color."""

    name: str
    """CSS name, name from a model's palette, or six hex digits; can be used as the name of a folder."""

    rgb: tuple[int, int, int]
    """Red, green and blue in sRGB, 0 to 255."""

    def __post_init__(self) -> None:
        if len(self.rgb) != 3 or any(not 0 <= channel <= 255 for channel in self.rgb):
            raise ValueError(f"rgb must be three values from 0 to 255, got {self.rgb}")

    def __str__(self) -> str:
        return self.name


def parse_color(text: str) -> Color:
    """Read a CSS color name, ``#rgb``, ``#rrggbb``, ``rgb(r, g, b)`` or ``hsl(h, s%, l%)``, in any case.

    Raises:
        ColorError: The text is anything else, has a channel out of range, or describes a color with transparency.
    """
    cleaned = text.strip().lower()
    if len(cleaned) <= _MAX_TEXT_LENGTH:
        if cleaned in ImageColor.colormap:
            return Color(cleaned, _as_triple(ImageColor.getrgb(cleaned)))
        if match := _HEX.fullmatch(cleaned):
            return _unnamed(ImageColor.getrgb("#" + match[1]))
        if match := _FUNCTION.fullmatch(cleaned):
            with contextlib.suppress(ValueError):  # out of range, or not numbers after all
                return _unnamed(ImageColor.getrgb("{}({},{},{})".format(*match.groups())))
    near = difflib.get_close_matches(cleaned[:_MAX_TEXT_LENGTH], ImageColor.colormap, n=3, cutoff=0.6)
    raise ColorError(
        f"unknown color {text[:_MAX_TEXT_LENGTH]!r}",
        remedy=f"did you mean {', '.join(near)}? A color is {_ACCEPTED_FORMS}" if near else f"give {_ACCEPTED_FORMS}",
    )


def color_of(value: "Color | str | tuple[int, int, int]") -> Color:
    """Make a ``Color`` from text, from three integers or from another ``Color``.

    Raises:
        ColorError: The text names no color, or the values are not three integers from 0 to 255.
    """
    if isinstance(value, Color):
        return value
    if isinstance(value, str):
        return parse_color(value)
    try:
        if isinstance(value, bytes):
            raise TypeError("bytes are not a color")  # noqa: TRY301
        red, green, blue = (operator.index(channel) for channel in value)
        return _unnamed((red, green, blue))
    except (TypeError, ValueError) as error:
        raise ColorError(f"unknown color {value!r}", remedy="give text or three integers from 0 to 255") from error


def _as_triple(rgb: tuple[int, ...]) -> tuple[int, int, int]:
    red, green, blue = rgb
    return red, green, blue


def _unnamed(rgb: tuple[int, ...]) -> Color:
    """Return a color that is named by its six hex digits."""
    return Color("".join(f"{channel:02x}" for channel in rgb), _as_triple(rgb))


# fmt: off
_COMMON = (
    "red", "lime", "blue", "yellow", "orange", "purple", "cyan", "magenta", "black", "gray",
    "silver", "maroon", "olive", "green", "teal", "navy", "pink", "brown", "gold", "salmon",
)
# fmt: on

NAMED_COLORS: tuple[tuple[str, tuple[int, int, int]], ...] = tuple((name, parse_color(name).rgb) for name in _COMMON)
"""Twenty CSS colors that people tell apart by name, and their sRGB values."""
