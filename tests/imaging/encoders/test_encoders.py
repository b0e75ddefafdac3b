"""Every writer of the registry: pixels come back, traits come back or are dropped with a word."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

from polyexport.data.drawings import draw
from polyexport.errors import ImageError
from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.encoders import ENCODERS, encoder_of, suffix_of
from polyexport.imaging.encoders.encoder import Encoder, save
from polyexport.imaging.encoders.profile import srgb_profile
from polyexport.imaging.matte import on_white
from polyexport.imaging.output_format import PNG_OUTPUT, OutputFormat
from polyexport.imaging.traits import MAX_EXIF_BYTES, MAX_XMP_BYTES, NO_TRAITS, Traits

COLORED = draw(np.random.default_rng(3), 48).colored
LOSSLESS = ("PNG", "BMP", "TIFF", "WEBP", "PPM")
BEST = OutputFormat(format="same", quality=100)
EXIF_IFD, GPS_IFD = 0x8769, 0x8825


def exif() -> bytes:
    entries = Image.Exif()
    entries[271] = "a maker"
    entries[305] = "a program"
    entries.get_ifd(EXIF_IFD)[36867] = "2020:01:02 03:04:05"
    entries.get_ifd(GPS_IFD)[2] = (50.0, 10.0, 3.5)
    return entries.tobytes()


TRAITS = Traits(icc_profile=srgb_profile(), exif=exif(), xmp=b"<x:xmpmeta>\xc3\xa4</x:xmpmeta>", dpi=(300.0, 150.0))


def channels(count: int) -> NDArray[np.uint8]:
    """The drawing in gray, gray and alpha, RGB or RGBA; the alpha is a ramp."""
    ramp = np.broadcast_to(np.linspace(0, 255, 48, dtype=np.uint8)[:, None, None], (48, 48, 1))
    colors = COLORED[..., :1] if count < 3 else COLORED
    return np.concatenate([colors, ramp], axis=2) if count in (2, 4) else colors


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def as_image(pixels: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels))


def shown(encoder: Encoder, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What a file of a format without alpha shows of the pixels."""
    return on_white(pixels) if pixels.shape[2] in (2, 4) and not encoder.alpha else pixels


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: encoder.name)
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_pixels_come_back(encoder: Encoder, count: int) -> None:
    pixels, notes = channels(count), list[str]()
    data = encoder.encode(pixels, BEST, NO_TRAITS, notes)
    image = opened(data)
    assert image.format == encoder.name
    assert data == encoder.encode(pixels.copy(), BEST, NO_TRAITS, [])
    found = np.asarray(image.convert("RGBA")).astype(int)
    expected = np.asarray(as_image(shown(encoder, pixels)).convert("RGBA")).astype(int)
    if encoder.name == "GIF" and count in (2, 4):
        visible = channels(count)[..., -1] >= 128
        assert np.array_equal(found[..., 3], np.where(visible, 255, 0))
        assert np.abs(found[visible][:, :3] - on_white(pixels)[visible]).mean() < 3
        assert notes[0] == "GIF holds no partial transparency: made opaque on white, or transparent"
        return
    tolerance = 0 if encoder.name in (*LOSSLESS, "GIF") else 4
    assert np.abs(found - expected).max() <= tolerance
    assert notes == [f"{encoder.name} holds no alpha: composited on white"] * (count in (2, 4) and not encoder.alpha)


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: encoder.name)
def test_gray_stays_gray_where_the_format_can(encoder: Encoder) -> None:
    image = opened(encoder.encode(channels(1), BEST, NO_TRAITS, []))
    assert (image.mode == "L") == encoder.gray


@pytest.mark.parametrize("name", LOSSLESS)
@given(
    pixels=hnp.arrays(np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24), st.integers(1, 4))),
    compression=st.none() | st.integers(0, 9),
)
def test_lossless_formats_lose_nothing(name: str, pixels: NDArray[np.uint8], compression: int | None) -> None:
    encoder = next(one for one in ENCODERS if one.name == name)
    output = OutputFormat(format="same", quality=100, compression=compression)
    image = opened(encoder.encode(pixels, output, NO_TRAITS, []))
    assert image.size == pixels.shape[1::-1]
    found, expected = (one.convert("RGBA") for one in (image, as_image(shown(encoder, pixels))))
    assert np.array_equal(np.asarray(found), np.asarray(expected))


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: encoder.name)
@pytest.mark.parametrize("count", [1, 3, 4])
def test_traits_come_back_or_are_dropped_with_a_word(encoder: Encoder, count: int) -> None:
    notes: list[str] = []
    image = opened(encoder.encode(channels(count), BEST, TRAITS, notes))
    entries = image.getexif()
    told = " ".join(notes)
    if "exif" in encoder.held:
        assert (entries[271], entries[305]) == ("a maker", "a program")
        assert entries.get_ifd(EXIF_IFD)[36867] == "2020:01:02 03:04:05"
        assert tuple(map(float, entries.get_ifd(GPS_IFD)[2])) == (50.0, 10.0, 3.5)
    assert ("no EXIF data" in told) == ("exif" not in encoder.held)
    assert (image.info.get("xmp") == TRAITS.xmp) == ("no XMP" not in told) == ("xmp" in encoder.held)
    dpi = image.info.get("dpi") or (entries.get(282), entries.get(283))
    assert ("no resolution" in told) == ("dpi" not in encoder.held)
    if "dpi" in encoder.held:
        assert tuple(map(float, dpi)) == pytest.approx((300.0, 150.0), abs=0.02)
    if encoder.name == "PNG":
        assert image.info["srgb"] == 0
    elif encoder.profile_bytes:
        assert image.info["icc_profile"] == srgb_profile()


def test_another_profile_is_a_chunk_of_its_own_in_a_png() -> None:
    other = srgb_profile().replace(b"s\0R\0G\0B", b"o\0t\0h\0r")
    image = opened(encoder_of("png").encode(COLORED, PNG_OUTPUT, Traits(icc_profile=other), []))
    assert image.info["icc_profile"] == other


def test_a_profile_that_the_format_does_not_hold_is_left_out() -> None:
    huge = Traits(icc_profile=bytes(2**20 + 1))
    assert encoder_of("png").encode(COLORED, PNG_OUTPUT, huge, []) == encode_png(COLORED)


def test_a_png_without_traits_is_what_it_always_was() -> None:
    for count in (1, 3, 4):
        pixels = channels(count)
        assert encoder_of("png").encode(pixels, PNG_OUTPUT, NO_TRAITS, []) == encode_png(pixels)


@pytest.mark.parametrize("name", ["png", "tiff"])
def test_a_higher_level_of_compression_is_smaller(name: str) -> None:
    sizes = [
        len(encoder_of(name).encode(COLORED, OutputFormat(format=name, compression=level), NO_TRAITS, []))  # type: ignore[arg-type]
        for level in (0, 1, 9)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert COLORED.size < sizes[0] < COLORED.size + 1000


@pytest.mark.parametrize("name", ["jpeg", "webp", "avif"])
def test_a_lower_quality_is_smaller(name: str) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    sizes = [
        len(encoder_of(name).encode(photo, OutputFormat(format=name, quality=quality), NO_TRAITS, []))  # type: ignore[arg-type]
        for quality in (10, 60, 90)
    ]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize(("name", "most"), [("jpeg", 65500), ("webp", 16383), ("avif", 32768)])
def test_a_format_writes_what_is_read_again_and_refuses_more(name: Any, most: int) -> None:
    output = OutputFormat(format=name)
    for shape in ((1, most, 3), (most, 1, 3)):
        assert opened(encoder_of(name).encode(np.zeros(shape, np.uint8), output, NO_TRAITS, [])).size == shape[1::-1]
        larger = np.zeros([side + (side > 1) for side in shape[:2]] + [3], np.uint8)
        with pytest.raises(ImageError, match=f"at most {most} pixels a side.*; use --format png or tiff"):
            encoder_of(name).encode(larger, output, NO_TRAITS, [])


def test_an_avif_of_too_many_pixels_is_refused() -> None:
    pixels = np.broadcast_to(np.uint8(0), (2**14, 2**14 + 1, 3))
    with pytest.raises(ImageError, match="at most 268435456 pixels; use"):
        encoder_of("avif").encode(pixels, OutputFormat(format="avif"), NO_TRAITS, [])


def test_the_largest_traits_fit_into_every_format() -> None:
    entries = Image.Exif()
    entries[305] = "p" * (MAX_EXIF_BYTES - 100)
    large = Traits(exif=entries.tobytes(), xmp=b"x" * MAX_XMP_BYTES, icc_profile=srgb_profile() + bytes(2**20))
    for encoder in ENCODERS:
        if "exif" in encoder.held:
            notes: list[str] = []
            image = opened(encoder.encode(COLORED, BEST, large, notes))
            assert (image.getexif()[305], image.info["xmp"], notes) == (entries[305], large.xmp, [])
            assert ("icc_profile" in image.info) == (encoder.name != "PNG")


@pytest.mark.parametrize(("name", "dpi"), [("jpeg", (70_000.0, 300.0)), ("jpeg", (0.4, 300.0)), ("png", (0.01, 300.0))])
def test_a_resolution_that_a_format_does_not_hold_is_dropped_with_a_word(name: Any, dpi: tuple[float, float]) -> None:
    notes: list[str] = []
    image = opened(encoder_of(name).encode(COLORED, OutputFormat(format=name), Traits(dpi=dpi), notes))
    assert [note.split(" 1 to")[0] for note in notes] == [f"{name.upper()} holds a resolution of"]
    assert "dpi" not in image.info


def test_colors_of_a_jpeg_keep_their_resolution_from_the_default_quality_on() -> None:
    for quality, layers in ((None, (1, 1)), (90, (1, 1)), (89, (2, 2))):
        image = opened(encoder_of("jpeg").encode(COLORED, OutputFormat(format="jpeg", quality=quality), NO_TRAITS, []))
        assert image.layer[0][1:3] == layers  # type: ignore[attr-defined]


def test_a_gif_of_more_colors_says_so() -> None:
    notes: list[str] = []
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    image = opened(encoder_of("same", ".gif").encode(noise, BEST, NO_TRAITS, notes))
    assert notes == ["GIF holds 256 colors: the others are replaced by similar ones"]
    assert np.abs(np.asarray(image.convert("RGB")).astype(int) - noise).mean() < 20


def test_suffixes_are_of_one_format_each() -> None:
    suffixes = [suffix for encoder in ENCODERS for suffix in encoder.suffixes]
    assert len(suffixes) == len(set(suffixes))
    Image.init()
    for encoder in ENCODERS:
        assert {Image.EXTENSION[suffix] for suffix in encoder.suffixes} == {encoder.name}


def test_the_suffix_decides_what_is_the_same_format() -> None:
    assert [encoder_of("same", suffix).name for suffix in (".JPE", ".tif", ".dat", "")] == [
        "JPEG",
        "TIFF",
        "PNG",
        "PNG",
    ]
    assert encoder_of("same", "", "WEBP").name == encoder_of("webp", ".jpg", "GIF").name == "WEBP"
    assert encoder_of("same", ".gif", "WEBP").name == "GIF"
    assert [suffix_of("same", suffix) for suffix in (".JPE", ".dat", "")] == [".JPE", ".png", ".png"]
    assert [suffix_of(name, ".gif") for name in ("png", "jpeg", "webp", "tiff", "avif")] == [
        ".png",
        ".jpg",
        ".webp",
        ".tiff",
        ".avif",
    ]


def test_a_format_that_pillow_lacks_is_an_error_of_one_image() -> None:
    with pytest.raises(ImageError, match="built without NOTHING; install"):
        save(COLORED, "NOTHING")


def test_the_documentation_says_what_each_format_holds() -> None:
    page = (Path(__file__).parents[3] / "docs" / "infer.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| `")]
    by_suffix = {row[1].split("`")[1]: row for row in rows if len(row) == 10}
    assert by_suffix.keys() == {encoder.suffixes[0] for encoder in ENCODERS}
    for encoder in ENCODERS:
        _, _, quality, compression, gray, alpha, profile, metadata, resolution, side = by_suffix[encoder.suffixes[0]]
        assert bool(quality) == (encoder.name in ("JPEG", "WEBP", "AVIF"))
        assert bool(compression) == (encoder.name in ("PNG", "TIFF"))
        assert (gray == "yes") == encoder.gray
        assert (alpha != "no") == encoder.alpha
        assert (profile != "no") == bool(encoder.profile_bytes)
        assert (metadata == "yes") == ({"exif", "xmp"} <= encoder.held)
        assert (resolution != "no") == ("dpi" in encoder.held)
        assert side == (str(encoder.max_side) if encoder.max_side < 2**31 - 1 else "")
