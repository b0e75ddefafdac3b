import io
import os
import struct
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from polyexport.data.drawings import draw
from polyexport.errors import ImageError
from polyexport.imaging.codecs import FORMATS
from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.pixels import decode, inspect_header, read_image, to_pixels
from polyexport.imaging.traits import Keep

DRAWING = draw(np.random.default_rng(1), 48).image


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def tiff(tags: dict[int, int], strip: bytes, order: str = "<") -> bytes:
    """One strip or tile, and tags of one value each."""
    tags = {offset: 0 for offset in (273,) if 324 not in tags} | {279: len(strip)} | tags
    start = 8 + 2 + 12 * len(tags) + 4
    tags |= {tag: start for tag in (273, 324) if tag in tags}
    entries = b"".join(struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(tags))
    return head + entries + bytes(4) + strip


def outlined_gif(screen: tuple[int, int], frame: tuple[int, int, int, int]) -> bytes:
    """A red frame (left, top, width, height) on a screen; the palette's first color is black."""
    red = Image.new("P", frame[2:], 1)
    red.putpalette([0, 0, 0, 255, 0, 0])
    data = bytearray(saved(red, "GIF", optimize=False))
    data[6:10] = struct.pack("<HH", *screen)
    descriptor = data.index(b",", 13 + 3 * 2 ** ((data[10] & 7) + 1))
    data[descriptor + 1 : descriptor + 9] = struct.pack("<HHHH", *frame)
    return bytes(data)


def animated_webp(canvas: tuple[int, int]) -> bytes:
    """One frame of 8x8 on a canvas of any size."""
    body = saved(Image.new("RGB", (8, 8)), "WEBP", lossless=True)[12:]

    def side(value: int) -> bytes:
        return (value - 1).to_bytes(3, "little")

    chunks = b"VP8X" + struct.pack("<IBxxx", 10, 2) + side(canvas[0]) + side(canvas[1])
    chunks += b"ANIM" + struct.pack("<I", 6) + bytes(6)
    chunks += b"ANMF" + struct.pack("<I", 16 + len(body)) + bytes(6) + side(8) + side(8) + bytes(4) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "AVIF"]))
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


@settings(max_examples=100, deadline=None)
@given(st.data(), st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF"]))
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


@given(st.data())
def test_one_wrong_bit_in_a_png_is_seen(data: st.DataObject) -> None:
    damaged = bytearray(encode_png(DRAWING))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(ImageError):
        decode(bytes(damaged))


def test_a_png_without_its_end_is_truncated() -> None:
    data = encode_png(DRAWING)
    assert np.array_equal(decode(data + b"what follows the end").pixels, DRAWING)
    for cut in range(1, 40):
        with pytest.raises(ImageError, match="ends before"):
            decode(data[:-cut])


@pytest.mark.parametrize("kind", FORMATS)
def test_a_broken_header_is_no_unknown_format(kind: str) -> None:
    with pytest.raises(ImageError, match="corrupt or truncated"):
        decode(saved(Image.fromarray(DRAWING), kind)[:18])
    with pytest.raises(ImageError, match="its GIF header"):
        decode(b"GIF89a" + bytes(12))


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP"])
def test_a_color_outside_the_palette_is_refused(kind: str) -> None:
    image = Image.new("P", (2, 2), 3)
    image.putpalette(range(12))
    data = saved(image, kind, bits=8, optimize=False)
    assert tuple(decode(data).pixels[0, 0]) == (9, 10, 11)
    if kind == "PNG":
        start = data.index(b"PLTE") - 4
        damaged = data[:start] + chunk(b"PLTE", bytes(range(9))) + data[start + 12 + int.from_bytes(data[start:][:4]) :]
    elif kind == "BMP":
        damaged = data[:46] + struct.pack("<I", 3) + data[50:]
    else:  # a table of two colors
        damaged = data[:10] + bytes([data[10] & 0xF8]) + data[11:19] + data[data.index(b",", 19) :]
    with pytest.raises(ImageError, match="palette"):
        decode(damaged)


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 100, b"just text", b"\x89PNG\r\n\x1a\n", b"%!PS-Adobe-3.0 EPSF\n", b"<svg/>"]
)
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError):
        decode(data)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"])
def test_every_mode_comes_out_as_the_same_drawing(mode: str) -> None:
    gray = Image.fromarray(np.where(DRAWING[..., 0] > 127, np.uint8(255), np.uint8(0)))
    kind = "PNG"
    if mode in ("I;16", "I"):
        image = Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
    elif mode == "F":
        image, kind = Image.fromarray(np.asarray(gray).astype(np.float32) / 255), "TIFF"
    elif mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        lab = ImageCms.profileToProfile(gray.convert("RGB"), *profiles, outputMode="LAB")
        assert lab is not None
        image, kind = lab, "TIFF"
    elif mode in ("CMYK", "YCbCr"):
        image, kind = gray.convert("RGB").convert(mode), "TIFF" if mode == "CMYK" else "JPEG"
    else:
        image = gray.convert("P").convert("PA") if mode == "PA" else gray.convert(mode)
        kind = "TIFF" if mode == "PA" else "PNG"
    try:
        data = saved(image, kind)
    except OSError:
        pytest.skip(f"pillow writes no {kind} in mode {mode}")
    pixels = decode(data).pixels

    assert pixels.shape == DRAWING.shape
    assert np.abs(pixels.astype(int) - np.asarray(gray)[..., None]).max() <= (60 if kind == "JPEG" else 2)


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


@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_colors_are_scaled(channels: int) -> None:
    values = np.array([[[65535, 32896, 0, 65535][:channels]]], ">u2")
    header = struct.pack(">IIBBBBB", 1, 1, 16, 2 if channels == 3 else 6, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" + values.tobytes())) + chunk(b"IEND", b"")
    assert decode(b"\x89PNG\r\n\x1a\n" + body).pixels.tolist() == [[[255, 128, 0]]]


@pytest.mark.parametrize("maximum", [1, 15, 255, 1023, 65535])
def test_a_deep_netpbm_is_scaled_by_its_maximum(maximum: int) -> None:
    values = np.array([0, maximum], ">u2" if maximum > 255 else "u1")
    assert decode(f"P5 2 1 {maximum}\n".encode() + values.tobytes()).pixels[0, :, 0].tolist() == [0, 255]


def test_a_big_endian_16_bit_tiff() -> None:
    tags = {256: 3, 257: 1, 258: 16, 259: 1, 262: 1, 277: 1, 278: 1}
    with Image.open(io.BytesIO(tiff(tags, b"\0\0\x80\x80\xff\xff", ">"))) as image:
        assert image.mode == "I;16B"
        assert to_pixels(image)[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize(
    ("values", "gray"),
    [
        ([0, 0.5, np.nan, 1], [0, 128, 255, 255]),
        ([np.nan, np.nan], [255, 255]),
        ([0, 0.5, 1, np.inf], [0, 128, 255, 255]),
        ([-np.inf, -1, 0.5, 1], [0, 0, 128, 255]),
        ([np.inf, -np.inf], [255, 0]),
    ],
)
def test_floats_that_are_no_numbers(values: list[float], gray: list[int]) -> None:
    decoded = decode(saved(Image.fromarray(np.array([values], np.float32)), "TIFF"))
    assert decoded.pixels[0, :, 0].tolist() == gray
    reduced = "32 bits per channel were reduced to 8, which the model takes"
    white = ["values that are not numbers are white"] if np.isnan(values).any() else []
    assert decoded.warnings == (reduced, *white)


def test_a_cmyk_jpeg_is_inverted_as_adobe_does_with_and_without_its_marker() -> None:
    red = Image.fromarray(np.full((16, 16, 4), (0, 255, 255, 0), np.uint8), "CMYK")
    data = saved(red, "JPEG", quality=95)
    marker = data.index(b"\xff\xee")
    stripped = data[:marker] + data[marker + 2 + int.from_bytes(data[marker + 2 : marker + 4]) :]
    for file in (data, stripped):
        assert np.abs(decode(file).pixels.astype(int) - (255, 0, 0)).max() <= 6


def test_the_transparent_color_of_an_rgb_png_is_white() -> None:
    data = saved(Image.fromarray(np.array([[[1, 2, 3], [1, 2, 4]]], np.uint8)), transparency=(1, 2, 3))
    assert decode(data).pixels.tolist() == [[[255, 255, 255], [1, 2, 4]]]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(DRAWING[:32])
    data = saved(stored, kind, exif=exif)
    turns = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}[orientation]
    as_stored = Image.fromarray(decode(saved(stored, kind)).pixels)
    expected = as_stored if turns is None else as_stored.transpose(Image.Transpose(turns))
    assert np.array_equal(decode(data).pixels, np.asarray(expected))
    assert inspect_header(data) == expected.size


@pytest.mark.parametrize("kind", FORMATS)
def test_the_header_tells_the_size_without_the_pixels(kind: str) -> None:
    data = saved(Image.fromarray(DRAWING[:32]), kind)
    assert inspect_header(data) == (48, 32)
    if kind not in ("TIFF", "WEBP"):  # their headers speak of the whole file
        assert inspect_header(data[: len(data) * 3 // 4]) == (48, 32)


@pytest.mark.parametrize("data", [b"", b"just text", b"\x89PNG\r\n\x1a\n", b"P5 100000 100000 255\n"])
def test_a_header_that_decoding_refuses_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError) as refused:
        decode(data)
    with pytest.raises(ImageError) as inspected:
        inspect_header(data)
    assert str(inspected.value) == str(refused.value)


def test_broken_exif_is_ignored() -> None:
    data = saved(Image.fromarray(DRAWING), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\xff")
    decoded = decode(data)
    assert decoded.pixels.shape == DRAWING.shape
    assert decoded.warnings == ("broken EXIF data is ignored",)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "MPO", "AVIF"])
def test_only_the_first_frame_is_used_and_it_says_so(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    decoded = decode(saved(frames[0], kind, save_all=True, append_images=frames[1:]))

    assert np.abs(decoded.pixels.astype(int) - (255, 0, 0)).max() <= 2
    assert decoded.warnings == ("only the first frame is used",)


def test_what_the_frame_of_a_gif_leaves_out_is_white_paper() -> None:
    red, white = [255, 0, 0], [255, 255, 255]
    assert decode(outlined_gif((3, 2), (1, 1, 1, 1))).pixels.tolist() == [[white, white, white], [white, red, white]]
    assert decode(outlined_gif((1, 1), (1, 0, 1, 1))).pixels.tolist() == [[white, red]]


@pytest.mark.parametrize("image", [Image.new("RGB", (2, 2)), Image.fromarray(np.zeros((2, 2), np.uint16))])
def test_pixels_are_read_only(image: Image.Image) -> None:
    assert not decode(saved(image)).pixels.flags.writeable
    assert not decode(outlined_gif((3, 2), (1, 1, 1, 1))).pixels.flags.writeable


def bombs() -> dict[str, bytes]:
    """Small files that claim, or hold, far more pixels than the limit."""
    zeros = zlib.compress(bytes(2**28))
    png = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    whole = encode_png(DRAWING)
    tags = {256: 1, 257: 1, 258: 8, 259: 8, 262: 1, 277: 1}
    avif = saved(Image.new("RGB", (8, 8)), "AVIF")
    extent = avif.index(b"ispe") + 8
    return {
        "avif": avif[:extent] + struct.pack(">II", 16384, 16384) + avif[extent + 8 :],
        "png": b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", png) + chunk(b"IDAT", zeros) + chunk(b"IEND", b""),
        "png_profile": whole[:33] + chunk(b"iCCP", b"x\0\0" + zeros) + whole[33:],
        "png_text": whole[:33] + chunk(b"iTXt", b"x\0\1\0\0\0" + zeros) + whole[33:],
        "png_text_behind": whole[:-12] + chunk(b"zTXt", b"x\0\0" + zeros) + whole[-12:],
        "gif_screen": outlined_gif((65535, 65535), (0, 0, 1, 1)),
        "gif_frame": outlined_gif((1, 1), (0, 0, 9000, 9000)),
        "webp": animated_webp((9000, 9000)),
        "webp_largest": animated_webp((16384, 16384)),
        "tiff": tiff(tags | {256: 16384, 257: 16384}, zeros),
        "tiff_tile": tiff(tags | {322: 16384, 323: 16384, 324: 0, 325: len(zeros)}, zeros),
        "bmp": b"BM" + bytes(8) + struct.pack("<IIiiHHI", 54, 40, 30000, 30000, 1, 24, 0) + bytes(24),
        "ppm": b"P6 30000 30000 255\n",
    }


def test_bombs_are_refused_before_they_take_memory(tmp_path: Path) -> None:
    for name, data in bombs().items():
        (tmp_path / name).write_bytes(data)
    program = """
import resource, sys
from pathlib import Path
from polyexport.errors import ImageError
from polyexport.imaging.pixels import decode, inspect_header
files = [(path.name, path.read_bytes()) for path in sorted(Path(sys.argv[1]).iterdir())]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name, data in files:
    try:
        decode(data)
    except ImageError as error:
        assert "limit" in str(error) or "too large" in str(error), (name, str(error))
    else:
        raise SystemExit(f"{name} is accepted")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 32 * 1024  # KiB


def test_the_bombs_would_go_off_with_less_in_them() -> None:
    assert decode(outlined_gif((1, 1), (0, 0, 1, 1))).pixels.shape == (1, 1, 3)
    assert decode(animated_webp((9, 9))).pixels.shape == (9, 9, 3)
    tags = {256: 1, 257: 1, 258: 8, 259: 8, 262: 1, 277: 1, 322: 16, 323: 16, 324: 0, 325: 0}
    strip = zlib.compress(bytes(256))
    assert decode(tiff(tags | {325: len(strip)}, strip)).pixels.shape == (1, 1, 3)


def test_warnings_that_are_errors_are_image_errors() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError):
            decode(animated_webp((10_000, 10_000)))  # pillow warns of it


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
def test_tiff_grays_by_their_tags(bits: int, photometric: int, sample_format: int, dtype: type, white: int) -> None:
    black = 65535 if photometric == 0 else 0
    if bits == 12:
        strip = bytes([0x00, 0x0F, 0xFF])  # two samples: 0 and 4095
    else:
        strip = np.array([black, white], dtype=np.dtype(dtype).newbyteorder("<")).tobytes()
    tags = {256: 2, 257: 1, 258: bits, 259: 1, 262: photometric, 277: 1, 278: 1, 339: sample_format}
    data = tiff(tags, strip)
    assert decode(data).pixels[0, :, 0].tolist() == [0, 255]


def test_a_transparent_deep_gray_is_white_paper() -> None:
    values = np.array([[0, 30000, 65535]], np.uint16)
    info = saved(Image.fromarray(values))
    # tRNS stands between the header and the pixels
    transparent = info[:33] + chunk(b"tRNS", struct.pack(">H", 30000)) + info[33:]
    assert decode(transparent).pixels[0, :, 0].tolist() == [0, 255, 255]


def test_decoding_leaves_the_processes_warning_filters_alone() -> None:
    data = saved(Image.fromarray(DRAWING), "JPEG", exif=Image.Exif())
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(decode, [data] * 200))
    assert list(warnings.filters) == before


def images(folder: Path) -> list[Path]:
    """Every way that an image can be more than 8-bit RGB, and a few that are none."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    gray = rng.integers(0, 256, (9, 14), np.uint8)
    rgb, rgba = (rng.integers(0, 256, (9, 14, depth), np.uint8) for depth in (3, 4))
    deep = rng.integers(0, 65536, (9, 14), np.uint16)
    Image.fromarray(gray).save(folder / "l.png")
    Image.fromarray(gray).convert("1").save(folder / "1.png")
    Image.fromarray(rgba).save(folder / "rgba.png")
    Image.fromarray(rgba).convert("LA").save(folder / "la.png")
    Image.fromarray(deep).save(folder / "deep.png")
    Image.fromarray(deep).save(folder / "deep.tif")
    Image.fromarray(deep.astype(np.int32)).save(folder / "i.tif")
    Image.fromarray(deep.astype(np.float32) / 65535).save(folder / "f.tif")
    Image.fromarray(rgb).convert("P").save(folder / "p.png", transparency=3)
    Image.fromarray(rgb).convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(rgb).convert("LAB").save(folder / "lab.tif")
    Image.fromarray(gray).save(folder / "two.gif", save_all=True, append_images=[Image.fromarray(255 - gray)])
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        for kind in ("jpg", "tif", "png"):
            Image.fromarray(rgb).save(folder / f"{orientation}.{kind}", exif=exif)
    Image.fromarray(rgb).save(folder / "exif.jpg", exif=b"Exif\0\0broken")
    (folder / "empty.png").touch()
    (folder / "cut.png").write_bytes((folder / "rgba.png").read_bytes()[:90])
    (folder / "text.png").write_text("text")
    Image.fromarray(rgb).save(folder / "other.pcx")
    Image.new("1", (65536, 1025)).save(folder / "bomb.png")
    Image.new("1", (65536, 1400)).save(folder / "bomb that pillow warns of.png")
    tags = {256: 14, 257: 9, 258: 8, 259: 1, 262: 1, 277: 1, 322: 65536, 323: 65536, 324: 8, 325: 1}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    (folder / "tile.tif").write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4))
    whole = bytearray((folder / "rgba.png").read_bytes())
    (folder / "end.png").write_bytes(whole + b"what follows the end")
    (folder / "no end.png").write_bytes(whole[:-12])
    whole[whole.index(b"IDAT") + 40] ^= 1
    (folder / "flipped.png").write_bytes(whole)
    for value in (np.nan, np.inf, -np.inf):
        Image.fromarray(np.array([[0, 0.5, value, 1]], np.float32)).save(folder / f"{value}.tif")
    Image.fromarray(gray).save(folder / "frame.gif")
    partial = bytearray((folder / "frame.gif").read_bytes())
    partial[6:10] = struct.pack("<HH", 20, 12)  # of a larger screen
    (folder / "frame.gif").write_bytes(partial)
    (folder / "header.gif").write_bytes(b"GIF89a" + bytes(12))
    Image.fromarray(gray).save(folder / "palette.bmp")
    three = bytearray((folder / "palette.bmp").read_bytes())
    three[46:50], three[54:57] = struct.pack("<I", 3), b"red"  # colors
    (folder / "palette.bmp").write_bytes(three)
    return sorted(folder.iterdir())


@pytest.mark.parametrize("warned", ["ignore", "error"])
def test_which_images_are_refused(warned: Literal["ignore", "error"], tmp_path: Path) -> None:
    refused = set()
    for path in images(tmp_path / "images"):
        with warnings.catch_warnings():
            warnings.simplefilter(warned)
            try:
                assert read_image(path).pixels.shape[2] == 3
            except ImageError:
                refused.add(path.name)
    assert refused == {
        *("bomb.png", "bomb that pillow warns of.png", "tile.tif"),
        *("cut.png", "flipped.png", "no end.png", "palette.bmp"),
        *("empty.png", "header.gif", "other.pcx", "text.png"),
    }


def test_what_no_frame_of_a_webp_draws_is_white_paper() -> None:
    frames = [Image.new("RGBA", (16, 8)) for _ in range(2)]
    for index, frame in enumerate(frames):
        frame.paste((255, 0, 0, 255), (4 * index, 2, 4 * index + 4, 6))
    data = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "RGB"  # no frame has alpha, but the first covers a part alone
    decoded = decode(data, keep=Keep(alpha=True))
    assert decoded.pixels[4, [1, 9]].tolist() == [[255, 0, 0], [255, 255, 255]]
    assert decoded.traits.alpha is not None
    assert decoded.traits.alpha[4, [1, 9], 0].tolist() == [255, 0]
