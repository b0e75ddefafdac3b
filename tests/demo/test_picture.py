"""Pictures that people bring to the page, of which none is trusted."""

import base64
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from polyexport.data.drawings import draw

OpenPage = Callable[..., Any]


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png(pixels: NDArray[np.uint8]) -> bytes:
    return encoded(Image.fromarray(pixels), "PNG")


def shown(page: Any, name: str = "drawing") -> NDArray[np.uint8]:
    return np.asarray(page.canvas(name))


def test_chosen_dropped_and_pasted_files_become_the_drawing(url: str, open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page(url)
    drawn = draw(np.random.default_rng(2), 300).image[:, :200]
    (tmp_path / "drawing.png").write_bytes(png(drawn))
    page.change(lambda: page.tab.set_input_files("#file", tmp_path / "drawing.png"))
    assert np.array_equal(shown(page), drawn)
    for name in ("network", "flood"):
        assert shown(page, name).shape == drawn.shape
        box = page.tab.locator(f"#{name}").bounding_box()
        assert box["width"] / box["height"] == pytest.approx(2 / 3, abs=0.01)
    page.change(lambda: page.tab.keyboard.press("Control+z"))
    assert shown(page).shape == (512, 512, 3)

    assert page.tab.is_hidden(".drop")
    page.tab.dispatch_event("#drawing", "dragover")
    assert page.tab.is_visible(".drop")
    page.change(lambda: page.drop("wide.png", png(np.full((500, 2000, 3), 40, np.uint8))))
    assert page.tab.is_hidden(".drop")
    assert shown(page).shape == (256, 1024, 3)
    assert (shown(page) == 40).all()
    page.tab.locator("#width").fill("8")
    page.tab.get_by_label("Eraser").check()
    page.stroke((0.5, 0.1), (0.5, 0.9))  # as wide on this sheet as on the empty one, in parts of its side
    assert np.count_nonzero(shown(page)[128, :, 0] == 255) == pytest.approx(2 * 24, abs=3)

    pasted = (
        "text => { const transfer = new DataTransfer();"
        " transfer.items.add(new File([Uint8Array.from(atob(text), c => c.charCodeAt(0))], 'image.png'));"
        " document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: transfer })); }"
    )
    transparent = encoded(Image.new("RGBA", (64, 60), (0, 0, 0, 0)), "PNG")
    page.change(lambda: page.tab.evaluate(pasted, base64.b64encode(transparent).decode()))
    assert shown(page).shape == (60, 64, 3)
    assert (shown(page) == 255).all()  # on white paper
    page.tab.keyboard.press("Delete")
    assert shown(page).shape == (512, 512, 3)


def test_a_photo_is_turned_upright(url: str, open_page: OpenPage) -> None:
    page = open_page(url)
    stored = np.full((60, 90, 3), 255, np.uint8)
    stored[:20, :30] = 0  # the upper left corner as stored
    for orientation, corner in {1: (0, 0), 3: (1, 1), 6: (0, 1), 8: (1, 0)}.items():
        exif = Image.Exif()
        exif[274] = orientation
        photo = encoded(Image.fromarray(stored), "JPEG", exif=exif, quality=95)
        page.change(lambda photo=photo: page.drop("photo.jpg", photo))
        found = shown(page)
        height, width = (60, 90) if orientation in (1, 3) else (90, 60)
        assert found.shape == (height, width, 3)
        y, x = (8 if last == 0 else side - 8 for last, side in zip(corner, (height, width), strict=True))
        assert (found[y - 4 : y + 4, x - 4 : x + 4] < 40).all(), orientation
        assert (found < 128).all(axis=-1).mean() == pytest.approx(1 / 9, abs=0.01)


def huge_png() -> bytes:
    """A PNG file of few bytes whose header says 30000x30000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b"")


def test_files_that_are_refused_are_one_line_and_change_nothing(url: str, open_page: OpenPage) -> None:
    page = open_page(url)
    drawn = png(draw(np.random.default_rng(2), 64).image)
    photo = encoded(Image.effect_noise((90, 90), 50), "JPEG")
    for name, data, said in (
        ("notes.txt", b"no picture", "notes.txt is not an image that this page reads. Open a PNG, JPEG, WebP or GIF."),
        ("huge.png", huge_png(), "huge.png has 30000 x 30000 pixels"),
        ("cut.png", drawn[:60], "cut.png is damaged"),
        ("cut.jpg", photo[: len(photo) // 2], "cut.jpg is damaged"),
        ("header.png", drawn[:20], "header.png is not an image"),
        ("empty.png", b"", "empty.png is not an image"),
        ("shapes.svg", b'<?xml version="1.0"?><svg xmlns="x"/>', "shapes.svg is an SVG file, which has no pixels"),
        ("a" * 300 + ".png", b"", "a" * 59 + "… is not an image"),
        ("<b>.png", b"", "<b>.png is not an image"),
    ):
        message = page.refused(name, data)
        assert message.startswith(said)
        assert "\n" not in message
    page.tab.evaluate("document.dispatchEvent(new DragEvent('drop', { dataTransfer: new DataTransfer() }))")
    assert "a link or a text, not a file" in page.tab.inner_text("#file-message")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("GIF", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True, "icc_profile": bytes(70_000)}),
        ("WEBP", {"quality": 80}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}),
    ],
)
def test_sizes_are_read_from_headers(tab: Any, kind: str, options: dict[str, Any]) -> None:
    data = encoded(Image.new("RGB", (301, 17)), kind, **options)
    sizes = tab.evaluate(
        "async text => { const { sizeOf } = await import('./picture.mjs');"
        " const bytes = Uint8Array.from(atob(text), c => c.charCodeAt(0));"
        " return [bytes.length, 40, 20, 3].map(length => sizeOf(bytes.subarray(0, length))); }",
        base64.b64encode(data).decode(),
    )
    assert sizes[0] == {"width": 301, "height": 17}
    assert sizes[3] is None
