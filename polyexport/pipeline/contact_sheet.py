"""Contact sheet of a run: one picture that shows each input beside its outputs, with their names."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.pixels import Pixels

__all__ = ["MAX_OUTPUTS", "THUMBNAIL_SIZE", "ContactSheet"]

THUMBNAIL_SIZE = 128
"""Longest side of a thumbnail, pixels."""

MAX_OUTPUTS = 8
"""Largest number of outputs that are shown for one input; further outputs are only counted."""

_SHEET_WIDTH = 1400  # unless one cell is wider
_MARGIN = 20
_PICTURE_GAP = 6  # between the pictures of a cell
_CELL_PADDING = 10  # between a cell's border and its pictures
_LABEL_HEIGHT = 16
_NAME_HEIGHT = 20
_HEADER_HEIGHT = 34
_CHECKER_SIZE = 8  # side of a square of the checkerboard

_BACKGROUND = (238, 240, 243)
_CELL = (255, 255, 255)
_LINE = (208, 212, 218)
_TEXT = (32, 36, 42)
_FAINT_TEXT = (112, 118, 128)
_CHECKERS = (255, 204)

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, slots=True)
class _Cell:
    name: str
    pictures: tuple[tuple[str, Pixels], ...]
    """A label and a thumbnail each, the input first."""

    hidden: int
    """Number of outputs that are not shown."""


class ContactSheet:
    """Collects thumbnails while a run goes on. Safe to call from several threads.

    The sheet shows the images with the lowest indexes, in the order of their indexes, so that it does not depend on
    which thread was first. It keeps the thumbnails of at most ``max_images`` images with ``MAX_OUTPUTS`` outputs each,
    48 KiB a thumbnail.
    """

    MAX_IMAGES: ClassVar[int] = 100
    """Default of ``max_images``."""

    def __init__(self, max_images: int = MAX_IMAGES, *, total: int | None = None) -> None:
        """Begin an empty sheet.

        Args:
            max_images: largest number of images that the sheet shows, 1 to 1000.
            total: number of images for the header; by default the number of images added.
        """
        if not 1 <= max_images <= 1000:
            raise ValueError(f"max_images must be from 1 to 1000, got {max_images}")
        self._total = total
        self._max_images = max_images
        self._cells: dict[int, _Cell] = {}
        self._count = 0
        self._lock = threading.Lock()

    def add(self, index: int, name: str, image: Pixels, outputs: Sequence[tuple[str, NDArray[np.uint8]]]) -> None:
        """Add one input and its outputs; the arrays are not kept.

        Args:
            index: position of the input in the run.
            name: name of the input.
            image: uint8 [H, W, 3], RGB.
            outputs: second pictures and outputs: a label, such as the color's name, and uint8 [H, W, 3] or [H, W, 4]
                each; transparency is shown over a checkerboard.
        """
        with self._lock:
            self._count += 1
            if not self._shows(index):
                return
        shown = [("input", image), *outputs[:MAX_OUTPUTS]]
        pictures = tuple((_printable(label), _thumbnail(pixels)) for label, pixels in shown)
        cell = _Cell(_printable(name), pictures, max(0, len(outputs) - MAX_OUTPUTS))
        with self._lock:
            if self._shows(index):
                self._cells[index] = cell
                if len(self._cells) > self._max_images:
                    del self._cells[max(self._cells)]

    def _shows(self, index: int) -> bool:
        return len(self._cells) < self._max_images or index < max(self._cells)

    def render(self) -> Pixels:
        """Draw the sheet, uint8 [H, W, 3], with a header that counts the images if not all of them are shown."""
        with self._lock:
            cells = [self._cells[index] for index in sorted(self._cells)]
            count = self._count if self._total is None else self._total
        header = f"{len(cells):,} of {count:,} shown" if len(cells) < count else ""
        header = header if cells else "no images"
        pictures = max((len(cell.pictures) for cell in cells), default=1)
        cell_width = 2 * _CELL_PADDING + pictures * (THUMBNAIL_SIZE + _PICTURE_GAP) - _PICTURE_GAP
        cell_height = 2 * _CELL_PADDING + THUMBNAIL_SIZE + _LABEL_HEIGHT + _NAME_HEIGHT
        columns = max(1, min(len(cells), (_SHEET_WIDTH - _MARGIN) // (cell_width + _MARGIN)))
        rows = -(-len(cells) // columns)
        top = _MARGIN + (_HEADER_HEIGHT if header else 0)
        size = (_MARGIN + columns * (cell_width + _MARGIN), top + max(0, rows * (cell_height + _MARGIN)))
        sheet = Image.new("RGB", size, _BACKGROUND)
        pen = ImageDraw.Draw(sheet)
        if header:
            pen.text((_MARGIN, top - _HEADER_HEIGHT // 2), header, _TEXT, ImageFont.load_default(18), anchor="lm")
        for number, cell in enumerate(cells):
            row, column = divmod(number, columns)
            left_top = _MARGIN + column * (cell_width + _MARGIN), top + row * (cell_height + _MARGIN)
            _draw(sheet, pen, cell, left_top, (cell_width, cell_height))
        return np.array(sheet)

    def to_png(self) -> bytes:
        """Draw the sheet, as the bytes of a PNG."""
        return encode_png(self.render())


def _draw(
    sheet: Image.Image, pen: ImageDraw.ImageDraw, cell: _Cell, left_top: tuple[int, int], size: tuple[int, int]
) -> None:
    label_font, name_font = ImageFont.load_default(11), ImageFont.load_default(13)
    (left, top), (width, height) = left_top, size
    pen.rectangle((left, top, left + width - 1, top + height - 1), _CELL, _LINE)
    for number, (label, thumbnail) in enumerate(cell.pictures):
        x, y = left + _CELL_PADDING + number * (THUMBNAIL_SIZE + _PICTURE_GAP), top + _CELL_PADDING
        picture_height, picture_width = thumbnail.shape[:2]
        inner = x + (THUMBNAIL_SIZE - picture_width) // 2, y + (THUMBNAIL_SIZE - picture_height) // 2
        sheet.paste(Image.fromarray(thumbnail), inner)
        pen.rectangle((x, y, x + THUMBNAIL_SIZE - 1, y + THUMBNAIL_SIZE - 1), None, _LINE)
        middle = x + THUMBNAIL_SIZE // 2, y + THUMBNAIL_SIZE + _LABEL_HEIGHT // 2 + 1
        pen.text(middle, _shortened(label, label_font, THUMBNAIL_SIZE), _FAINT_TEXT, label_font, anchor="mm")
    more = f"  +{cell.hidden:,} more" if cell.hidden else ""
    room = width - 2 * _CELL_PADDING - name_font.getlength(more)
    base = left + _CELL_PADDING, top + height - _CELL_PADDING - _NAME_HEIGHT // 2 + 4
    pen.text(base, _shortened(cell.name, name_font, room) + more, _TEXT, name_font, anchor="lm")


def _thumbnail(pixels: NDArray[np.uint8]) -> Pixels:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    # reducing_gap makes pillow average a large image by whole factors first.
    image.thumbnail((THUMBNAIL_SIZE, THUMBNAIL_SIZE), Image.Resampling.LANCZOS, reducing_gap=3.0)
    if image.mode == "RGBA":
        rows, columns = np.indices(image.size[::-1]) // _CHECKER_SIZE
        checkers = np.where((rows + columns) % 2, np.uint8(_CHECKERS[1]), np.uint8(_CHECKERS[0]))
        background = Image.fromarray(checkers).convert("RGBA")
        image = Image.alpha_composite(background, image).convert("RGB")
    return np.array(image)


def _printable(text: str) -> str:
    """Escape everything but printable ASCII, the only characters of pillow's built-in font."""
    return "".join(char if " " <= char <= "~" else char.encode("unicode_escape").decode() for char in text)


def _shortened(text: str, font: _Font, room: float) -> str:
    """Shorten a text to a width by leaving out its middle, because names of one series differ at their ends."""
    kept = len(text)
    shown = text
    if kept > room / 2:  # no letter is narrower than 2 pixels, and measuring a long text takes long
        kept = int(room / 2)
        shown = _ends(text, kept)
    while font.getlength(shown) > room and kept > 2:
        kept -= 1
        shown = _ends(text, kept)
    return shown


def _ends(text: str, kept: int) -> str:
    return f"{text[: kept // 2]}...{text[len(text) - (kept - kept // 2) :]}"
