"""The canvas: how an image of any size is placed on pixels that the network can take, and how its output is cut back.

``fit`` puts the image on a square canvas of the model's own size: larger images are scaled down, smaller ones are
padded with white and never enlarged. ``native`` keeps the image's own resolution and pads it to the next multiple that
the network takes. Both return the output at the size of the input. An image that already has the size of the canvas
passes through unchanged.

A model whose result is a fill gets more: ``fit`` runs drawings up to the training size at their own size, scales larger
ones down without losing thin lines, and pads both to the next multiple by repeating their last row and column. White
would be a step in paper that is not white, and the end of a shape that the page cuts. Light lines on a dark page are
inverted. At every size, its output then decides what is filled, and the ink of the whole drawing places the edge; see
``polyexport.imaging.fill``.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from polyexport.errors import ImageError, UsageError
from polyexport.imaging.pixels import MAX_SIDE, Pixels
from polyexport.model.edges import InkEdges

__all__ = ["MAX_NATIVE_PIXELS", "Canvas", "CanvasRule", "Size"]

Size = Literal["fit", "native"] | int
"""A canvas size as users give it: ``fit``, ``native``, or the largest side of a canvas in pixels."""

MAX_NATIVE_PIXELS = MAX_SIDE**2
"""Largest number of pixels of one canvas and of one batch. A full-width network needs about 2 KiB per pixel."""

_WHITE = 255


@dataclass(frozen=True, kw_only=True, slots=True)
class Canvas:
    """An image placed on its canvas, and what is needed to cut the output back to the image's size."""

    pixels: Pixels
    """uint8 [H, W, 3]; H and W are multiples of the model's ``size_multiple``."""

    height: int
    """Height of the input image, pixels."""

    width: int
    """Width of the input image, pixels."""

    inner_height: int
    """Rows of the canvas that the image covers, from the top."""

    inner_width: int
    """Columns of the canvas that the image covers, from the left."""

    edges: InkEdges | None = None
    """The ink of the image, for a model whose result is a fill; None for the network's picture itself."""

    def batch_limit(self, wanted: int) -> int:
        """Return how many canvases of this shape one call of the network may take: at most ``wanted``, at least 1."""
        height, width = self.pixels.shape[:2]
        return max(1, min(wanted, MAX_NATIVE_PIXELS // int(height * width)))

    def restore(self, output: Pixels, color: tuple[int, int, int] | None = None) -> Pixels:
        """Cut the network's output on this canvas back to the size of the image.

        Args:
            output: uint8 [H, W, 3], the shape of ``pixels``.
            color: sRGB of the fill, from ``Condition.fill_color``; None if no color is known, which gives the network's
                own picture also for a fill.

        Returns:
            A new array, uint8 [height, width, 3].
        """
        inner = output[: self.inner_height, : self.inner_width]
        if self.edges is not None and color is not None:
            return self.edges.draw(inner, color)
        if (self.inner_height, self.inner_width) == (self.height, self.width):
            return inner.copy()
        # Bilinear: a sharper filter overshoots at the edges of a flat color.
        resized = Image.fromarray(np.ascontiguousarray(inner)).resize(
            (self.width, self.height), Image.Resampling.BILINEAR
        )
        return np.array(resized)


@dataclass(frozen=True, kw_only=True, slots=True)
class CanvasRule:
    """The rule by which every image of a run is placed on a canvas.

    Raises:
        UsageError: ``size`` is not a multiple of ``multiple``, or is larger than the network may take.
    """

    mode: Literal["fit", "native"] = "fit"
    """``fit``: no canvas is larger than ``size``. ``native``: each image at its own size."""

    size: int
    """Largest side of a canvas of ``fit``, pixels."""

    multiple: int
    """The model's ``size_multiple``: height and width of every canvas are multiples of it."""

    fill: bool = False
    """The model's result is a fill of the drawing."""

    square: bool = True
    """Every canvas of ``fit`` is a square of the side ``size``."""

    def __post_init__(self) -> None:
        if self.mode not in ("fit", "native"):
            raise ValueError(f"mode must be fit or native, got {self.mode!r}")
        if self.size < 1 or self.size % self.multiple or self.size > MAX_SIDE:
            below = max(self.multiple, self.size // self.multiple * self.multiple)
            largest = MAX_SIDE // self.multiple * self.multiple
            near = f"{below} or {below + self.multiple}" if self.size < largest else f"{largest} or less"
            raise UsageError(
                f"the network cannot take size {self.size}: it needs a multiple of {self.multiple} up to {largest}",
                remedy=f"give {near}",
            )

    @classmethod
    def for_size(
        cls, size: Size, *, training_size: int, multiple: int, fixed_size: bool, fill: bool = False
    ) -> "CanvasRule":
        """Make the rule for a size that a user gave and a network.

        Args:
            size: ``fit`` takes the training size.
            training_size: side of the images that the network was trained on, pixels.
            multiple: the network's ``size_multiple``.
            fixed_size: the network takes ``training_size`` alone.
            fill: the network's result is a fill of the drawing.

        Raises:
            UsageError: the network cannot take this size.
        """
        if not isinstance(size, int) and size not in ("fit", "native"):
            raise UsageError(f"unknown size {size!r}", remedy="give fit, native or a number of pixels")
        if fixed_size and size not in ("fit", training_size):
            raise UsageError(f"the network takes only {training_size}x{training_size} pixels", remedy="give --size fit")
        mode: Literal["fit", "native"] = "native" if size == "native" else "fit"
        return cls(
            mode=mode,
            size=size if isinstance(size, int) else training_size,
            multiple=multiple,
            fill=fill,
            square=fixed_size or not fill,
        )

    def place(self, pixels: Pixels) -> Canvas:
        """Place an image on its canvas.

        Args:
            pixels: uint8 [H, W, 3], any size.

        Raises:
            ImageError: in ``native`` mode, the canvas would have more than ``MAX_NATIVE_PIXELS``.
        """
        height, width = pixels.shape[:2]
        scale = min(1.0, self.size / max(height, width)) if self.mode == "fit" else 1.0
        inner = (max(1, round(height * scale)), max(1, round(width * scale)))
        if self.mode == "fit" and self.square:
            canvas = (self.size, self.size)
        else:
            canvas = (self._padded(inner[0]), self._padded(inner[1]))
        if canvas[0] * canvas[1] > MAX_NATIVE_PIXELS:
            raise ImageError(
                f"{width}x{height} pixels, more than the {MAX_NATIVE_PIXELS} that the network takes at full size",
                remedy="use --size fit",
            )
        edges = None
        if self.fill:
            pixels, edges = _drawing(pixels, inner)
        elif inner != (height, width):
            pixels = np.asarray(Image.fromarray(pixels).resize(inner[::-1], Image.Resampling.LANCZOS))
        below, beside = canvas[0] - inner[0], canvas[1] - inner[1]
        if self.fill and (below or beside):
            pixels = np.pad(pixels, ((0, below), (0, beside), (0, 0)), mode="edge")
        elif inner != canvas:
            padded = np.full((*canvas, 3), _WHITE, dtype=np.uint8)
            padded[: inner[0], : inner[1]] = pixels
            pixels = padded
        return Canvas(
            pixels=pixels, height=height, width=width, inner_height=inner[0], inner_width=inner[1], edges=edges
        )

    def _padded(self, side: int) -> int:
        return -(-side // self.multiple) * self.multiple


def _drawing(pixels: Pixels, size: tuple[int, int]) -> tuple[Pixels, InkEdges]:
    """Scale a drawing to a size up to its own, as dark lines on light paper, and measure its ink."""
    from polyexport.imaging.ink import find_ink, page_is_dark
    from polyexport.imaging.reduction import reduced

    height, width = pixels.shape[:2]
    if page_is_dark(pixels):
        pixels = _WHITE - pixels
    scaled = size != (height, width)
    ink = find_ink(pixels)
    edges = InkEdges.of(None if ink is None else ink.coverage, height, width)
    return reduced(pixels, size, ink) if scaled else pixels, edges
