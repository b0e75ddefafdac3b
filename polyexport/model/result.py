"""The result of a model: a picture, a fill, a mask or labels, at a scale."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

__all__ = ["PICTURE", "SCALES", "ResultFields", "ResultKind"]

ResultKind = Literal["picture", "fill", "mask", "alpha", "labels"]
"""Kind of a model's output: a picture; a fill of a drawing with one color on white, whose edges are those of the
drawing's ink; a mask, 0 to 255; a mask that is the alpha of the image; or labels, one index or color for each pixel,
which are never mixed."""

SCALES = ("1/4", "1/3", "1/2", "1", "2", "3", "4", "5", "6", "7", "8")
"""Heights and widths of results, relative to those of the images."""

_RATIOS = {scale: Fraction(scale) for scale in SCALES}


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultFields:
    """The entries of a contract that describe the output.

    Raises:
        ValueError: a scale, a number of channels or a combination that is not supported.
    """

    kind: ResultKind = "picture"

    scale: str = "1"
    """Height and width of the result, relative to those of the image: one of ``SCALES``."""

    channels: int = 3
    """Channels of the result: 1 for gray, 3 for RGB, 4 for RGBA."""

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise ValueError(f"the scale of the result must be one of {', '.join(SCALES)}, got {self.scale[:60]!r}")
        if self.channels not in (1, 3, 4):
            raise ValueError(f"the result must have 1, 3 or 4 channels, got {self.channels}")
        if self.kind in ("mask", "alpha") and self.channels != 1:
            raise ValueError(f"a {self.kind} has 1 channel, got {self.channels}")
        if self.kind == "alpha" and self.scale != "1":
            raise ValueError("an alpha has the size of its image")
        if self.kind == "fill" and (self.channels, self.scale) != (3, "1"):
            raise ValueError("a fill has 3 channels and the size of its image")

    @property
    def ratio(self) -> Fraction:
        """Height and width of the result, relative to those of the image."""
        return _RATIOS[self.scale]

    @property
    def can_be_alpha(self) -> bool:
        """Whether the result can become the alpha of its image: a mask of the image's size."""
        return self.kind in ("mask", "alpha") and self.scale == "1"


PICTURE = ResultFields()
"""An RGB picture of the image's size."""
