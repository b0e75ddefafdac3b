"""Decoding in bands gives the pixels, the traits and the notes of decoding as a whole."""

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms

from polyexport.errors import ImageError
from polyexport.imaging import bands as module
from polyexport.imaging.bands import open_bands
from polyexport.imaging.pixels import DecodedImage, decode
from polyexport.imaging.traits import Keep

KEEP = Keep(metadata=True)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LIBVIPS = ("PNG", "JPEG", "TIFF")


def picture(height: int = 61, width: int = 83) -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (9, 11, 3), dtype=np.uint8)).resize((width, height))


def saved(image: Image.Image, name: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def in_bands(data: bytes, tmp_path: Path, **options: Any) -> DecodedImage:
    path = tmp_path / "image"
    path.write_bytes(data)
    given = {"max_pixels": 10**9, "channels": 3, "band_rows": 16, "keep": KEEP, **options}
    with io.FileIO(path) as file, open_bands(file, **given) as bands:
        rows = list(bands.rows)
        assert max(map(len, rows)) <= given["band_rows"]
        pixels = np.concatenate(rows)
        assert pixels.shape[:2] == (bands.height, bands.width)
        return DecodedImage(pixels=pixels, warnings=bands.warnings, traits=bands.traits)


def same(found: DecodedImage, expected: DecodedImage) -> None:
    assert np.array_equal(found.pixels, expected.pixels)
    assert found.warnings == expected.warnings
    assert found.traits == expected.traits


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether libvips read each file."""
    real, kinds = module._opened_by_libvips, list[bool]()

    def opened(*given: Any) -> Any:
        found = real(*given)
        kinds.append(found is not None)
        return found

    monkeypatch.setattr(module, "_opened_by_libvips", opened)
    return kinds


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *((name, mode) for name in ("PNG", "TIFF") for mode in ("RGB", "RGBA", "L", "LA", "1")),
        ("PNG", "P"),
        ("JPEG", "RGB"),
        ("JPEG", "L"),
        ("PNG", "I;16"),
        ("TIFF", "I;16"),
    ],
)
def test_rows_are_those_of_the_whole(name: str, mode: str, channels: int, reads: list[bool], tmp_path: Path) -> None:
    if mode == "I;16":
        image = Image.fromarray((np.arange(61 * 83, dtype=np.uint32) * 13 % 65536).astype(np.uint16).reshape(61, 83))
    else:
        image = picture().convert(mode)
    data = saved(image, name)
    same(in_bands(data, tmp_path, channels=channels), decode(data, channels=channels, keep=KEEP))
    assert reads == [True]


@pytest.mark.parametrize(("name", "mode"), [("WEBP", "RGB"), ("BMP", "RGB"), ("JPEG", "CMYK"), ("TIFF", "CMYK")])
def test_other_files_are_decoded_as_a_whole(name: str, mode: str, reads: list[bool], tmp_path: Path) -> None:
    data = saved(picture().convert(mode), name)
    same(in_bands(data, tmp_path), decode(data, keep=KEEP))
    assert reads == [False]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["JPEG", "TIFF", "PNG"])
def test_images_come_upright(name: str, orientation: int, reads: list[bool], tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274], exif[270] = orientation, "a picture"
    data = saved(picture(), name, exif=exif)
    found = in_bands(data, tmp_path)
    same(found, decode(data, keep=KEEP))
    assert b"a picture" in found.traits.exif
    assert reads == [True]


def test_colors_and_metadata_are_those_of_the_whole(tmp_path: Path) -> None:
    for data in (
        saved(picture(), "PNG", icc_profile=SRGB, dpi=(300, 200)),
        saved(picture(), "JPEG", icc_profile=SRGB, dpi=(300, 200)),
        saved(picture(), "TIFF", icc_profile=SRGB, dpi=(300, 200), compression="tiff_lzw"),
        saved(picture(), "PNG", icc_profile=b"no profile"),
        saved(picture().convert("L"), "PNG", icc_profile=SRGB),
    ):
        same(in_bands(data, tmp_path), decode(data, keep=KEEP))


def test_sixteen_bits_per_channel_are_reduced_as_for_the_whole(tmp_path: Path) -> None:
    pyvips = pytest.importorskip("pyvips")
    values = np.random.default_rng(1).integers(0, 65536, (40, 50, 3), dtype=np.uint16)
    image = pyvips.Image.new_from_array(values).copy(interpretation="rgb16")
    for name, suffix in (("PNG", ".png"), ("TIFF", ".tif")):
        data = image.write_to_buffer(suffix)
        found = in_bands(data, tmp_path)
        same(found, decode(data, keep=KEEP))
        assert found.traits.bits == 16, name


def test_strips_tiles_and_pages(tmp_path: Path) -> None:
    pyvips = pytest.importorskip("pyvips")
    values: NDArray[np.uint8] = np.asarray(picture(200, 300))
    image = pyvips.Image.new_from_array(values)
    for options in (
        {"tile": True, "tile_width": 64, "tile_height": 48, "compression": "deflate"},
        {"compression": "lzw", "predictor": "horizontal"},
        {"bigtiff": True},
    ):
        data = image.tiffsave_buffer(**options)
        same(in_bands(data, tmp_path), decode(data, keep=KEEP))
    pages = saved(picture(), "TIFF", save_all=True, append_images=[picture(10, 10)])
    found = in_bands(pages, tmp_path)
    same(found, decode(pages, keep=KEEP))
    assert found.warnings == ("only the first frame is used",)


def test_without_libvips_files_are_decoded_as_a_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pyvips", None)
    data = saved(picture(), "PNG")
    same(in_bands(data, tmp_path), decode(data, keep=KEEP))


def test_alpha_is_not_kept(tmp_path: Path) -> None:
    data = saved(picture().convert("RGBA"), "PNG")
    found = in_bands(data, tmp_path, keep=Keep(alpha=True))
    assert found.warnings == ("alpha is not kept of an image that is decoded in bands",)
    assert found.traits.alpha is None


@pytest.mark.parametrize("name", LIBVIPS)
@settings(max_examples=25, deadline=None)
@given(share=st.floats(0.0, 0.99))
def test_a_truncated_file_fails(name: str, share: float, tmp_path_factory: pytest.TempPathFactory) -> None:
    data = saved(picture(), name)
    with pytest.raises(ImageError):
        in_bands(data[: int(share * len(data))], tmp_path_factory.mktemp("bands"))


@pytest.mark.parametrize("name", LIBVIPS)
@settings(max_examples=60, deadline=None)
@given(places=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_damaged_file_is_an_image_or_an_image_error(
    name: str, places: list[tuple[float, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = bytearray(saved(picture(), name))
    for share, value in places:
        data[int(share * len(data))] = value
    try:
        in_bands(bytes(data), tmp_path_factory.mktemp("bands"), max_pixels=10**6)
    except ImageError as error:
        assert "\n" not in str(error)


def test_a_picture_that_is_too_large_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="83x61 pixels, more than the limit of 5000"):
        in_bands(saved(picture(), "PNG"), tmp_path, max_pixels=5000)
    with pytest.raises(ImageError, match="the file is empty"):
        in_bands(b"", tmp_path)
    with pytest.raises(ImageError, match="no image of a known format"):
        in_bands(b"just a text", tmp_path)
