import io
import os
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageCms, PngImagePlugin

from polyexport.errors import ImageError
from polyexport.image import MAX_PIXELS, decode, encode_png, read_image
from trainer.polygons import draw

DRAWING = draw(np.random.default_rng(1), 48).image


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))))
def test_encoding_loses_nothing(pixels: np.ndarray) -> None:
    assert np.array_equal(decode(encode_png(pixels)).pixels, pixels)


def test_equal_pixels_give_equal_bytes() -> None:
    assert encode_png(DRAWING) == encode_png(DRAWING[:, ::-1][:, ::-1])


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"]))
def test_a_truncated_file_fails_or_is_whole(cut: int, kind: str) -> None:
    whole = saved(Image.fromarray(DRAWING), kind)
    data = whole[: cut % len(whole)]
    expected = decode(whole).pixels
    try:
        pixels = decode(data).pixels
    except ImageError as error:
        assert "\n" not in str(error)
    else:  # what was cut off held no pixels
        assert np.array_equal(pixels, expected)


@settings(max_examples=100)
@given(st.data(), st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM"]))
def test_a_damaged_file_is_an_image_or_an_image_error(data: st.DataObject, kind: str) -> None:
    damaged = bytearray(saved(Image.fromarray(DRAWING), kind))
    for _ in range(3):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = decode(bytes(damaged))
    except ImageError:
        return
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.shape[2] == 3


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 100, b"just text", b"\x89PNG\r\n\x1a\n", b"%!PS-Adobe-3.0 EPSF\n", b"<svg/>"]
)
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError):
        decode(data)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"])
def test_every_mode_comes_out_as_the_same_drawing(mode: str) -> None:
    grey = Image.fromarray(np.where(DRAWING[..., 0] > 127, np.uint8(255), np.uint8(0)))
    kind = "PNG"
    if mode in ("I;16", "I"):
        image = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    elif mode == "F":
        image, kind = Image.fromarray(np.asarray(grey).astype(np.float32) / 255), "TIFF"
    elif mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image, kind = ImageCms.profileToProfile(grey.convert("RGB"), *profiles, outputMode="LAB"), "TIFF"
    elif mode in ("CMYK", "YCbCr"):
        image, kind = grey.convert("RGB").convert(mode), "TIFF" if mode == "CMYK" else "JPEG"
    else:
        image = grey.convert("P").convert("PA") if mode == "PA" else grey.convert(mode)
        kind = "TIFF" if mode == "PA" else "PNG"
    try:
        data = saved(image, kind)
    except OSError:
        pytest.skip(f"pillow writes no {kind} in mode {mode}")
    pixels = decode(data).pixels

    assert pixels.shape == DRAWING.shape
    assert np.abs(pixels.astype(int) - np.asarray(grey)[..., None]).max() <= (60 if kind == "JPEG" else 2)


def test_16_bits_are_scaled_not_cut() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(2, 0)
    assert np.array_equal(decode(saved(Image.fromarray(ramp))).pixels[0, :, 0], np.arange(256))


def test_transparency_is_white_paper() -> None:
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[0] = 255, 0, 0, 128
    pixels = decode(saved(Image.fromarray(rgba))).pixels

    assert tuple(pixels[3, 3]) == (255, 255, 255)
    assert tuple(pixels[0, 0]) == (255, 127, 127)


def test_a_palette_with_a_transparent_entry_is_white_there() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.putdata([0, 1])
    pixels = decode(saved(image, transparency=0)).pixels
    assert pixels.tolist() == [[[255, 255, 255], [10, 20, 30]]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(DRAWING[:32])
    pixels = decode(saved(stored, exif=exif)).pixels
    turns = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}[orientation]
    expected = stored if turns is None else stored.transpose(Image.Transpose(turns))
    assert np.array_equal(pixels, np.asarray(expected))


def test_broken_exif_is_ignored() -> None:
    data = saved(Image.fromarray(DRAWING), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\xff")
    decoded = decode(data)
    assert decoded.pixels.shape == DRAWING.shape
    assert decoded.warnings == ("broken EXIF data is ignored",)


def test_only_the_first_frame_of_an_animation_is_used_and_it_says_so() -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    decoded = decode(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]))

    assert tuple(decoded.pixels[0, 0]) == (255, 0, 0)
    assert decoded.warnings == ("only the first frame is used",)


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )
    with pytest.raises(ImageError, match=str(MAX_PIXELS)):
        decode(bomb)


def test_a_text_bomb_in_a_png_is_refused() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "x" * (70 * 1024 * 1024), zip=True)
    with pytest.raises(ImageError):
        decode(saved(Image.fromarray(DRAWING), pnginfo=info))


@pytest.mark.parametrize("size", [(1, 1), (1, 20000), (20000, 1)])
def test_extreme_shapes(size: tuple[int, int]) -> None:
    assert decode(saved(Image.new("RGB", size, "white"))).pixels.shape == (size[1], size[0], 3)


def test_the_content_decides_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "really_a_png.jpg"
    path.write_bytes(encode_png(DRAWING))
    assert np.array_equal(read_image(path).pixels, DRAWING)


def test_pipes_and_folders_are_refused_without_blocking(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", tmp_path, tmp_path / "missing.png", Path("/dev/zero")):
        with pytest.raises(ImageError):
            read_image(path)


@pytest.mark.parametrize(
    ("bits", "photometric", "sample_format", "dtype", "white"),
    [
        (12, 1, 1, np.uint16, 4095),
        (16, 0, 1, np.uint16, 0),
        (32, 1, 1, np.uint32, 2**32 - 1),
        (16, 1, 2, np.int16, 32767),
        (32, 1, 2, np.int32, 255),
    ],
)
def test_tiff_greys_by_their_tags(bits: int, photometric: int, sample_format: int, dtype: type, white: int) -> None:
    black = 65535 if photometric == 0 else 0
    if bits == 12:
        strip = bytes([0x00, 0x0F, 0xFF])  # two samples: 0 and 4095
    else:
        strip = np.array([black, white], dtype=np.dtype(dtype).newbyteorder("<")).tobytes()
    tags = {
        256: 2,
        257: 1,
        258: bits,
        259: 1,
        262: photometric,
        273: 0,
        277: 1,
        278: 1,
        279: len(strip),
        339: sample_format,
    }
    tags[273] = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    data = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + bytes(4) + strip
    assert decode(data).pixels[0, :, 0].tolist() == [0, 255]


def test_a_transparent_deep_grey_is_white_paper() -> None:
    values = np.array([[0, 30000, 65535]], np.uint16)
    info = saved(Image.fromarray(values))
    # tRNS stands between the header and the pixels
    chunk = b"tRNS" + struct.pack(">H", 30000)
    transparent = info[:33] + struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk)) + info[33:]
    assert decode(transparent).pixels[0, :, 0].tolist() == [0, 255, 255]


def test_decoding_leaves_the_processes_warning_filters_alone() -> None:
    data = saved(Image.fromarray(DRAWING), "JPEG", exif=Image.Exif())
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(decode, [data] * 200))
    assert list(warnings.filters) == before
