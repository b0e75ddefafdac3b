"""Configuration of the generated drawings."""

from dataclasses import dataclass, fields

from polyexport.data.shapes import SHAPES

__all__ = ["DrawingConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawingConfig:
    """Variety of the generated drawings. Fields are probabilities in [0, 1] unless their description says otherwise."""

    antialiased: float = 0.5
    """Probability of smooth strokes of any width; the others are aliased and a whole number of pixels wide."""

    gapped: float = 0.3
    """Probability of outlines that are broken in one to three places."""

    longest_gap: float = 0.06
    """Greatest length of a gap as a fraction of the outline's length; a gap is never longer than 14 pixels."""

    noisy: float = 0.15
    """Probability of Gaussian noise on the input (standard deviation 2 to 14 of 255) and of dust: up to 1 % of the
    pixels at any gray."""

    jpeg: float = 0.1
    """Probability that the input is compressed as JPEG with quality 40 to 95 and decoded again."""

    tinted: float = 0.2
    """Probability of gray ink on slightly off-white paper in place of black on white."""

    multiple: float = 0.15
    """Probability of two to four shapes, apart from each other, in one drawing."""

    random_color: float = 0.5
    """Probability of a fill with any 24-bit color. Of the other fills, half are named colors and half have channels of
    0 or 255 only, which are the hardest for a Tanh output."""

    min_stroke: float = 0.0
    """Narrowest stroke, as a fraction of the image size; no stroke is thinner than a hairline of 0.6 pixels."""

    max_stroke: float = 0.1
    """Widest stroke, as a fraction of the image size; 2 pixels are always allowed."""

    shapes: tuple[str, ...] = ()
    """Shapes to choose from, out of ``polyexport.data.shapes.SHAPES``; all of them if empty."""

    palette: tuple[tuple[int, int, int], ...] = ()
    """If not empty, the only fill colors: sRGB, 0 to 255."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float | int) and not 0 <= value <= 1:
                raise ValueError(f"{field.name} must be in [0, 1], got {value}")
        if self.min_stroke > self.max_stroke:
            raise ValueError(f"min_stroke {self.min_stroke} is above max_stroke {self.max_stroke}")
        unknown = set(self.shapes) - set(SHAPES)
        if unknown:
            raise ValueError(f"unknown shapes {', '.join(sorted(unknown))}; known: {', '.join(SHAPES)}")
