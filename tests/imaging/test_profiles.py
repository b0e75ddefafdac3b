import io
import struct
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from color_profiles import (
    SRGB_PRIMARIES,
    adobe_rgb,
    by_littlecms,
    cmyk_profile,
    display_p3,
    gray_profile,
    lab_profile,
    profile,
    rgb_profile,
    rgb_table_profile,
    srgb_curve,
    srgb_profile,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms

from polyexport.errors import ImageError
from polyexport.evaluate.color_difference import ciede2000
from polyexport.imaging.pixels import decode, to_pixels
from polyexport.imaging.profiles import MAX_PROFILE_BYTES, profile_space, to_srgb

SQUARE = (24, 24)
RGB_PROFILES = {"p3": display_p3(), "adobe": adobe_rgb(), "table": rgb_table_profile()}


def colors(channels: int, size: tuple[int, int] = SQUARE) -> NDArray[np.uint8]:
    """Random colors of which neighbors are alike, so that lossy formats hardly change them."""
    small = np.random.default_rng(channels).integers(0, 256, (size[0] // 8, size[1] // 8, channels), np.uint8)
    return small.repeat(8, axis=0).repeat(8, axis=1)


def saved(image: Image.Image, kind: str, icc: bytes | None, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, icc_profile=icc, **options)
    return buffer.getvalue()


def stored(data: bytes) -> Image.Image:
    """The pixels that a file holds, in its own colors."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image.copy()


def assert_converted(data: bytes, expected: NDArray[np.uint8], without: bytes) -> None:
    """The file has the colors of littlecms, and would have others without its profile."""
    decoded = decode(data)
    assert decoded.warnings == ()
    assert np.array_equal(decoded.pixels, expected)
    assert float(ciede2000(decoded.pixels, expected).mean()) < 0.5
    assert float(ciede2000(decode(without).pixels, expected).mean()) > 1.5


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("name", RGB_PROFILES)
def test_rgb_is_converted_as_littlecms_does(name: str, kind: str) -> None:
    icc, image = RGB_PROFILES[name], Image.fromarray(colors(3))
    data = saved(image, kind, icc)
    assert_converted(data, by_littlecms(stored(data).convert("RGB"), icc), saved(image, kind, None))


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_converted_by_its_profile(kind: str) -> None:
    image = Image.fromarray(colors(4), "CMYK")
    data = saved(image, kind, cmyk_profile())
    assert stored(data).mode == "CMYK"
    assert_converted(data, by_littlecms(stored(data), cmyk_profile()), saved(image, kind, None))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_gray_is_converted_and_stays_gray(kind: str) -> None:
    image = Image.fromarray(colors(1)[..., 0])
    data = saved(image, kind, gray_profile(1.0))
    expected = by_littlecms(stored(data), gray_profile(1.0))
    assert_converted(data, expected, saved(image, kind, None))
    assert np.array_equal(decode(data, channels=1).pixels, expected[..., :1])


def test_lab_is_converted_with_its_profile_and_without_one() -> None:
    image = Image.fromarray(colors(3), "LAB")
    icc = lab_profile(b"spac")
    data, plain = saved(image, "TIFF", icc), saved(image, "TIFF", None)
    assert np.array_equal(decode(data).pixels, by_littlecms(image, icc))
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert np.array_equal(decode(plain).pixels, by_littlecms(image, lab))
    assert not np.array_equal(decode(plain).pixels, decode(data).pixels)


def test_a_palette_is_converted_and_its_transparent_entry_is_white() -> None:
    palette = Image.new("P", (4, 1))
    palette.putpalette([0, 0, 0, 10, 200, 30, 200, 20, 60, 9, 9, 200])
    palette.putdata([0, 1, 2, 3])
    data = saved(palette, "PNG", display_p3(), transparency=0)
    expected = by_littlecms(palette.convert("RGB"), display_p3()).copy()
    expected[0, 0] = 255
    assert np.array_equal(decode(data).pixels, expected)
    assert not np.array_equal(decode(saved(palette, "PNG", None, transparency=0)).pixels, expected)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_composited_after_the_conversion_and_is_not_converted(kind: str) -> None:
    rgba = np.concatenate([colors(3), colors(1)], axis=2)
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    data = saved(Image.fromarray(rgba), kind, adobe_rgb(), **options)
    converted = Image.fromarray(by_littlecms(Image.fromarray(rgba[..., :3]), adobe_rgb()))
    converted.putalpha(Image.fromarray(rgba[..., 3]))
    assert np.array_equal(decode(data, channels=4).pixels, np.asarray(converted))
    paper = Image.alpha_composite(Image.new("RGBA", SQUARE, "white"), converted)
    assert np.array_equal(decode(data).pixels, np.asarray(paper.convert("RGB")))


def test_gray_with_alpha() -> None:
    values = np.concatenate([colors(1), colors(1)[::-1]], axis=2)
    data = saved(Image.fromarray(values, "LA"), "PNG", gray_profile(1.0))
    pixels = decode(data, channels=4).pixels
    gray = Image.fromarray(np.ascontiguousarray(values[..., 0]))
    assert np.array_equal(pixels[..., :3], by_littlecms(gray, gray_profile(1.0)))
    assert np.array_equal(pixels[..., 3], values[..., 1])


def test_deep_gray_is_converted_in_its_8_bits() -> None:
    deep = np.arange(256, dtype=np.uint16)[None] * 257
    data = saved(Image.fromarray(deep), "PNG", gray_profile(1.0))
    eight = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    assert np.array_equal(decode(data).pixels, by_littlecms(eight, gray_profile(1.0)))


@pytest.mark.parametrize("turn", range(1, 9))
def test_colors_are_converted_in_every_orientation(turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    image = Image.fromarray(colors(3, (24, 40)))
    upright = decode(saved(image, "PNG", None, exif=exif)).pixels
    assert np.array_equal(
        decode(saved(image, "PNG", display_p3(), exif=exif)).pixels,
        by_littlecms(Image.fromarray(upright), display_p3()),
    )


def test_a_pillow_image_that_has_a_profile_is_converted() -> None:
    image = stored(saved(Image.fromarray(colors(3)), "PNG", display_p3()))
    assert np.array_equal(to_pixels(image), by_littlecms(image, display_p3()))


@pytest.mark.parametrize("entries", [64, 1024, 4096])
def test_srgb_leaves_the_pixels_alone(entries: int) -> None:
    image = Image.fromarray(colors(3))
    icc = rgb_profile(SRGB_PRIMARIES, srgb_curve(entries))
    assert to_srgb(image, icc, []) == (image, icc)
    assert np.array_equal(by_littlecms(image, icc), np.asarray(image))
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert to_srgb(image, own, [])[0] is image
    gray = image.convert("L")
    assert to_srgb(gray, gray_profile(srgb_curve()), [])[0] is gray
    assert to_srgb(gray, gray_profile(2.2), [])[0] is not gray


@pytest.mark.parametrize("tone", [2.15, 2.2, 2.25])
def test_what_is_nearly_srgb_is_converted(tone: float) -> None:
    image = Image.fromarray(colors(3))
    icc = rgb_profile(SRGB_PRIMARIES, tone)
    converted, used = to_srgb(image, icc, [])
    assert used == icc
    assert np.array_equal(np.asarray(converted), by_littlecms(image, icc))


MATRIX = display_p3()
UNUSABLE = {
    "empty space": (b"\0" * 200, "it is damaged"),
    "short": (MATRIX[:100], "it is damaged"),
    "no signature": (MATRIX[:36] + b"nope" + MATRIX[40:], "it is damaged"),
    "cut": (MATRIX[:400], "it is damaged"),
    "no colors": (profile(b"RGB ", {}), "it is damaged"),
    "no known connection": (MATRIX[:20] + b"Luv " + MATRIX[24:], "it is damaged"),
    "huge": (MATRIX.ljust(MAX_PROFILE_BYTES + 1, b"\0"), "more than the limit of 4194304"),
    "gray": (gray_profile(1.0), "it is for gray images, and this one is RGB"),
    "CMYK": (cmyk_profile(), "it is for CMYK images, and this one is RGB"),
    "LAB": (lab_profile(b"spac"), "it is for LAB images, and this one is RGB"),
    "five inks": (MATRIX[:16] + b"5CLR" + MATRIX[20:], "it is for other images"),
    "abstract": (lab_profile(b"abst"), "it is an abstract profile, which describes no image"),
    "device link": (rgb_profile(SRGB_PRIMARIES, 1.0, kind=b"link"), "it is a device link"),
    "named colors": (rgb_profile(SRGB_PRIMARIES, 1.0, kind=b"nmcl"), "it is a list of named colors"),
    "no class": (rgb_profile(SRGB_PRIMARIES, 1.0, kind=b"none"), "it is of an unknown class"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_an_unusable_profile_is_ignored_with_one_line(name: str) -> None:
    icc, reason = UNUSABLE[name]
    image = Image.fromarray(colors(3))
    decoded = decode(saved(image, "TIFF", icc))
    assert np.array_equal(decoded.pixels, np.asarray(image))
    [warning] = decoded.warnings
    assert warning.startswith("the color profile is ignored: ")
    assert reason in warning


@pytest.mark.parametrize(
    ("mode", "icc", "reason"),
    [
        ("CMYK", srgb_profile(), "it is for RGB images, and this one is CMYK"),
        ("CMYK", gray_profile(1.0), "it is for gray images, and this one is CMYK"),
        ("L", display_p3(), "it is for RGB images, and this one is gray"),
        ("I;16", display_p3(), "it is for RGB images, and this one is gray"),
        ("LAB", lab_profile(b"abst"), "it is an abstract profile, which describes no image"),
        ("LAB", display_p3(), "it is for RGB images, and this one is LAB"),
    ],
)
def test_a_profile_of_another_kind_of_image_is_ignored(mode: str, icc: bytes, reason: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(colors(1)[..., 0].astype(np.uint16) * 257)
    else:
        channels = {"CMYK": 4, "L": 1, "LAB": 3}[mode]
        image = Image.frombytes(mode, SQUARE, colors(channels).tobytes())
    data = saved(image, "TIFF", icc)
    decoded, plain = decode(data), decode(saved(image, "TIFF", None))
    assert np.array_equal(decoded.pixels, plain.pixels)
    assert [line for line in decoded.warnings if line not in plain.warnings] == [
        f"the color profile is ignored: {reason}"
    ]


def test_a_jpeg_whose_profile_lacks_a_part_has_none() -> None:
    image = Image.fromarray(colors(3))
    data = saved(image, "JPEG", display_p3())
    marker = data.index(b"ICC_PROFILE\0") + 12
    broken = data[:marker] + bytes([1, 2]) + data[marker + 2 :]  # part 1 of 2
    decoded = decode(broken)
    assert decoded.warnings == ("the color profile is ignored: it is damaged",)
    assert np.array_equal(decoded.pixels, decode(saved(image, "JPEG", None)).pixels)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_a_profile_may_be_as_large_as_the_limit(kind: str) -> None:
    image = Image.fromarray(colors(3))
    largest = display_p3().ljust(MAX_PROFILE_BYTES, b"\0")
    data = saved(image, kind, largest)
    assert decode(data).warnings == ()
    assert np.array_equal(decode(data).pixels, by_littlecms(stored(data).convert("RGB"), display_p3()))
    larger = saved(image, kind, largest + b"\0")
    if kind == "PNG":  # which packs it
        with pytest.raises(ImageError, match="too large"):
            decode(larger)
    else:
        assert "more than the limit" in decode(larger).warnings[0]


def test_version_4_and_the_space_of_a_profile() -> None:
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert own[8] == 4
    wide = bytearray(own)
    red = own.index(b"rXYZ", 128)  # the tag table
    offset = struct.unpack_from(">I", own, red + 4)[0] + 8
    wide[offset : offset + 12] = struct.pack(">3i", 35000, 14000, 100)
    image = Image.fromarray(colors(3))
    decoded = decode(saved(image, "PNG", bytes(wide)))
    assert decoded.warnings == ()
    assert np.array_equal(decoded.pixels, by_littlecms(image, bytes(wide)))
    assert not np.array_equal(decoded.pixels, np.asarray(image))
    assert [profile_space(icc) for icc in (own, gray_profile(1.0), cmyk_profile(), b"")] == ["RGB", "gray", "CMYK", ""]


def test_one_profile_in_many_images_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []
    real = ImageCms.ImageCmsTransform

    def counted(*args: Any) -> ImageCms.ImageCmsTransform:
        read.append(b"")
        return real(*args)

    icc = rgb_profile(SRGB_PRIMARIES, 1.37)
    data = saved(Image.fromarray(colors(3)), "PNG", icc)
    expected = by_littlecms(Image.fromarray(colors(3)), icc)
    monkeypatch.setattr(ImageCms, "ImageCmsTransform", counted)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(decode, [data] * 40))
    assert all(np.array_equal(each.pixels, expected) for each in found)
    assert len(read) <= 4  # threads that begin at the same time may each read it


SEEDS = [display_p3(), gray_profile(1.5), cmyk_profile(), rgb_table_profile(), lab_profile(b"spac")]


@settings(max_examples=50, deadline=None)
@given(st.data(), st.sampled_from(SEEDS), st.sampled_from(["RGB", "L", "CMYK", "LAB", "RGBA", "P", "1"]))
def test_a_mutated_profile_never_escapes(data: st.DataObject, icc: bytes, mode: str) -> None:
    damaged = bytearray(icc)
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.one_of(st.integers(0, min(300, len(damaged) - 1)), st.integers(0, len(damaged) - 1)))
        damaged[place] = data.draw(st.integers(0, 255))
    image = Image.new(mode, (5, 4))
    notes: list[str] = []
    converted, used = to_srgb(image, bytes(damaged[: data.draw(st.integers(1, len(damaged)))]), notes)
    assert converted.size == image.size
    assert len(notes) == (not used)


@given(st.binary(max_size=400))
def test_random_bytes_are_no_profile(icc: bytes) -> None:
    image, notes = Image.new("RGB", (3, 3)), list[str]()
    assert to_srgb(image, icc, notes) == (image, b"")
    assert notes == (["the color profile is ignored: it is damaged"] if icc else [])
