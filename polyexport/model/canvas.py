"""The canvas: how an image of any size is placed on pixels that the network can take, and how its output is cut back.

``fit`` scales images down that are larger than the model's own size, and never enlarges one. ``native`` keeps the
image's own resolution. Both pad to the next multiple that the network takes, or to the one size of a network that takes
no other, by repeating the image's last row and column: white would be a step in paper that is not white, and the end of
a shape that the page cuts. Models of pictures whose files are of version 2 get the white squares that they were made
for. Both return the output at the size of the input, times the scale of the result. An image that already has the size
of the canvas passes through unchanged.

A model whose result is a fill gets more: ``fit`` scales large drawings down without losing thin lines, and light lines
on a dark page are inverted. At every size, its output then decides what is filled, and the ink of the whole drawing
places the edge; see ``polyexport.imaging.fill``. As the ink places the edge, a far smaller canvas is enough for most
drawings: it is run first, and the canvas itself only if that first look leaves a doubt about any region of paper.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from polyexport.errors import ImageError, UsageError
from polyexport.imaging.pixels import MAX_SIDE, Pixels
from polyexport.model.edges import InkEdges

if TYPE_CHECKING:
    from polyexport.imaging.ink import Ink
    from polyexport.model.tiles import TileRule

__all__ = ["MAX_NATIVE_PIXELS", "Canvas", "CanvasRule", "Size", "check_same_size", "resized"]

Size = Literal["auto", "fit", "native"] | int
"""A canvas size as users give it: ``auto`` for what suits the model, ``fit``, ``native``, or the largest side of a
canvas in pixels."""

MAX_NATIVE_PIXELS = MAX_SIDE**2
"""Largest number of pixels of one canvas and of one batch. A full-width network needs about 2 KiB per pixel."""

_WHITE = 255

_MAX_FIRST_LOOK = 1 << 20
"""Largest drawing that is looked at on a smaller canvas first, pixels: the regions of a drawing wait in memory for the
network's answer, and those of a larger one cost as much time as the network saves."""

_WORTHWHILE = 3
"""Factor by which the canvas of the first look must be smaller, in pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Canvas:
    """An image placed on its canvas, and what is needed to cut the output back to the image's size."""

    pixels: Pixels
    """uint8 [H, W, channels]; H and W are multiples of the model's ``size_multiple``."""

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

    original: Pixels | None = None
    """The image itself, uint8 [height, width, channels], where the result needs it; None otherwise."""

    tiles: "TileRule | None" = None
    """The rule by which the canvas is cut into tiles for the network; None if it is run as a whole."""

    first_look: "Canvas | None" = None
    """Smaller canvas of the same image with the same ``edges``, which the network sees first; None if it takes this
    canvas at once."""

    def settled_by(self, output: Pixels, color: tuple[int, int, int]) -> bool:
        """Find out whether the network's output on the canvas of the first look is enough for this image.

        Args:
            output: uint8 [h, w, C], as large as the canvas of the first look.
            color: sRGB of the fill.
        """
        look = self.first_look
        return look is not None and look.edges is not None and look.edges.settles(look._inner(output), color)

    def batch_limit(self, wanted: int) -> int:
        """Return how many canvases of this shape one call of the network may take: at most ``wanted``, at least 1."""
        if self.tiles is not None:
            return 1
        height, width = self.pixels.shape[:2]
        return max(1, min(wanted, MAX_NATIVE_PIXELS // int(height * width)))

    def restore(self, output: Pixels, color: tuple[int, int, int] | None = None, *, mixed: bool = True) -> Pixels:
        """Cut the network's output on this canvas back to the size of the image, times the scale of the result.

        Args:
            output: uint8 [s H, s W, C]; s, the scale of the result, follows from the shape of ``pixels``. Or the output
                on the canvas of the first look.
            color: sRGB of the fill, from ``ColorCondition.fill_color``; None if no color is known, which gives the
                network's own picture also for a fill.
            mixed: whether values between pixels may be mixed; labels must not be.

        Returns:
            A new array, uint8 [s height, s width, C], rounded up.
        """
        if self.first_look is not None and output.shape[:2] == self.first_look.pixels.shape[:2]:
            return self.first_look.restore(output, color, mixed=mixed)
        inner = self._inner(output)
        if self.edges is not None and color is not None:
            return self.edges.draw(inner, color)
        made, placed = output.shape[0], self.pixels.shape[0]
        size = -(-self.height * made // placed), -(-self.width * made // placed)
        if inner.shape[:2] == size:
            return inner.copy()
        # Bilinear: a sharper filter overshoots at the edges of a flat color.
        return resized(inner, size, Image.Resampling.BILINEAR if mixed else Image.Resampling.NEAREST)

    def _inner(self, output: Pixels) -> Pixels:
        """Return the part of an output that the image covers, without what pads it."""
        made, placed = output.shape[0], self.pixels.shape[0]  # whole numbers, whose ratio is the scale
        return output[: -(-self.inner_height * made // placed), : -(-self.inner_width * made // placed)]


def resized(pixels: Pixels, size: tuple[int, int], filter_: Image.Resampling) -> Pixels:
    """Scale pixels of any number of channels to a height and width; a new array, uint8 [height, width, channels]."""
    squeezed = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    image = Image.fromarray(np.ascontiguousarray(squeezed)).resize(size[::-1], filter_)
    return np.array(image).reshape(*size, pixels.shape[2])


def check_same_size(name: str, size: tuple[int, int], image_size: tuple[int, int]) -> None:
    """Check that a second picture has the size of its image.

    Args:
        name: name of the condition that the picture is.
        size: height and width of the picture, pixels.
        image_size: height and width of the image, pixels.

    Raises:
        ImageError: it has another size.
    """
    if size != image_size:
        raise ImageError(
            f"its {name} has {size[1]}x{size[0]} pixels, the image {image_size[1]}x{image_size[0]}",
            remedy="give pictures of one size",
        )


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
    """Every canvas of ``fit`` is a square of the side ``size``, or has ``width``."""

    width: int = 0
    """Width of every canvas where it is not ``size``, which then is their height; 0 where it is."""

    smallest: int = 1
    """Smallest height and width of a canvas, pixels."""

    white: bool = True
    """Canvases are padded with white rather than with the image's last row and column, unless ``fill``."""

    channels: int = 3
    """Channels of a canvas: 1, 3 or 4."""

    keep_original: bool = False
    """A canvas keeps the pixels of its image."""

    tiles: "TileRule | None" = None
    """The rule by which large canvases of ``native`` are cut into tiles; None if none is."""

    first_look: int = 0
    """Largest side of the canvas on which the network looks at an image first, pixels; 0 for no first look."""

    @property
    def area(self) -> int:
        """Pixels of the largest canvas of ``fit``."""
        return self.size * (self.width or self.size)

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
        cls,
        size: Size,
        *,
        training_size: int,
        multiple: int,
        fixed_shape: tuple[int, int] | None = None,
        smallest: int = 1,
        fill: bool = False,
        white: bool = True,
        channels: int = 3,
        keep_original: bool = False,
        tiles: "TileRule | None" = None,
        first_look: int = 0,
    ) -> "CanvasRule":
        """Make the rule for a size that a user gave and a network.

        Args:
            size: ``fit`` takes the training size.
            training_size: side of the images that the network was trained on, pixels.
            multiple: the network's ``size_multiple``.
            fixed_shape: the one height and width that the network takes, pixels; None if it takes others.
            smallest: smallest height and width that the network takes, pixels.
            fill: the network's result is a fill of the drawing.
            white: pad pictures with white, on squares, rather than with their last row and column.
            channels: channels of the network's image.
            keep_original: whether a canvas keeps the pixels of its image.
            tiles: the rule by which large canvases of ``native`` are cut.
            first_look: largest side of the canvas of the first look of ``fit``, pixels; 0 for none.

        Raises:
            UsageError: the network cannot take this size.
        """
        if not isinstance(size, int) and size not in ("fit", "native"):
            raise UsageError(f"unknown size {size!r}", remedy="give auto, fit, native or a number of pixels")
        if fixed_shape and size not in ("fit", training_size):
            raise UsageError(
                f"the network takes only {fixed_shape[1]}x{fixed_shape[0]} pixels", remedy="give --size fit"
            )
        mode: Literal["fit", "native"] = "native" if size == "native" else "fit"
        return cls(
            mode=mode,
            size=size if isinstance(size, int) else training_size,
            multiple=multiple,
            fill=fill,
            square=fixed_shape is not None or (white and not fill),
            width=fixed_shape[1] if fixed_shape and fixed_shape[1] != training_size else 0,
            smallest=smallest,
            white=white,
            channels=channels,
            keep_original=keep_original,
            tiles=tiles if mode == "native" else None,
            first_look=first_look if size == "fit" else 0,
        )

    @classmethod
    def of_entries(cls, entries: Mapping[str, Any]) -> "CanvasRule":
        """Make the rule of what ``dataclasses.asdict`` gave of it."""
        if entries["tiles"] is None:
            return cls(**entries)
        from polyexport.model.tiles import TileRule

        return cls(**{**entries, "tiles": TileRule(**entries["tiles"])})

    def place(self, pixels: Pixels) -> Canvas:
        """Place an image on its canvas.

        Args:
            pixels: uint8 [H, W, channels], any size.

        Raises:
            ImageError: in ``native`` mode, the canvas would have more than ``MAX_NATIVE_PIXELS``.
        """
        height, width = pixels.shape[:2]
        scale = min(1.0, self.size / height, (self.width or self.size) / width) if self.mode == "fit" else 1.0
        inner = _scaled(height, width, scale)
        if self.mode == "fit" and self.square:
            canvas = (self.size, self.width or self.size)
        else:
            canvas = self.padded_size(*inner)
        tiles = self.tiles if self.tiles is not None and self.tiles.cuts(*canvas) else None
        if tiles is None and canvas[0] * canvas[1] > MAX_NATIVE_PIXELS:
            raise ImageError(
                f"{width}x{height} pixels, more than the {MAX_NATIVE_PIXELS} that the network takes at full size",
                remedy="use --size fit" if self.fill else "use --size fit, or --tile N for tiles of N pixels",
            )
        edges, original, look = None, pixels if self.keep_original else None, None
        if self.fill:
            drawing = _Drawing.of(pixels)
            pixels, edges = drawing.scaled(inner), drawing.edges()
            look = self._first_look(drawing, edges, canvas)
        elif inner != (height, width):
            pixels = resized(pixels, inner, Image.Resampling.LANCZOS)
        if inner != canvas:
            if self.fill or not self.white:
                pixels = _padded(pixels, canvas)
            else:
                padded = np.full((*canvas, pixels.shape[2]), _WHITE, dtype=np.uint8)
                padded[: inner[0], : inner[1]] = pixels
                pixels = padded
        return Canvas(
            pixels=pixels,
            height=height,
            width=width,
            inner_height=inner[0],
            inner_width=inner[1],
            edges=edges,
            original=original,
            tiles=tiles,
            first_look=look,
        )

    def _first_look(self, drawing: "_Drawing", edges: InkEdges, canvas: tuple[int, int]) -> Canvas | None:
        """Place a drawing on the canvas of the first look; None if that is not far smaller than its canvas."""
        height, width = drawing.pixels.shape[:2]
        if not self.first_look or drawing.ink is None or height * width > _MAX_FIRST_LOOK:
            return None
        from polyexport.imaging.reduction import sketched

        inner = _scaled(height, width, min(1.0, self.first_look / max(height, width)))
        small = self.padded_size(*inner)
        if _WORTHWHILE * small[0] * small[1] > canvas[0] * canvas[1]:
            return None
        return Canvas(
            pixels=_padded(sketched(drawing.pixels, inner, drawing.ink), small),
            height=height,
            width=width,
            inner_height=inner[0],
            inner_width=inner[1],
            edges=edges,
        )

    def for_picture(self, channels: int) -> "CanvasRule":
        """Return the rule for second pictures of a number of channels, such as masks, on the canvases of this rule."""
        return replace(self, channels=channels, fill=False, keep_original=False, first_look=0)

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width of the canvas of an image that is run at its own size, pixels."""
        return self._padded(height), self._padded(width)

    def _padded(self, side: int) -> int:
        return -(-max(side, self.smallest) // self.multiple) * self.multiple


def _scaled(height: int, width: int, scale: float) -> tuple[int, int]:
    return max(1, round(height * scale)), max(1, round(width * scale))


def _padded(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Repeat the last row and column of an image up to a height and width."""
    height, width = pixels.shape[:2]
    if (height, width) == size:
        return pixels
    return np.pad(pixels, ((0, size[0] - height), (0, size[1] - width), (0, 0)), mode="edge")


@dataclass(frozen=True, slots=True)
class _Drawing:
    """A drawing as dark lines on light paper, and its ink."""

    pixels: Pixels
    ink: "Ink | None"

    @classmethod
    def of(cls, pixels: Pixels) -> "_Drawing":
        from polyexport.imaging.ink import find_ink, page_is_dark

        if page_is_dark(pixels):
            pixels = _WHITE - pixels
        return cls(pixels, find_ink(pixels))

    def edges(self) -> InkEdges:
        height, width = self.pixels.shape[:2]
        return InkEdges.of(None if self.ink is None else self.ink.coverage, height, width)

    def scaled(self, size: tuple[int, int]) -> Pixels:
        """Scale the drawing to a size up to its own."""
        from polyexport.imaging.reduction import reduced

        return self.pixels if size == self.pixels.shape[:2] else reduced(self.pixels, size, self.ink)
