import io
import struct
import time
from typing import Any

import numpy as np
import pytest
from color_profiles import by_littlecms, display_p3
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import GifImagePlugin, Image

from polyexport.errors import ImageError
from polyexport.imaging.frames import MAX_FRAMES, DecodedFrames, decode_frames
from polyexport.imaging.pixels import decode
from polyexport.imaging.traits import NO_TRAITS, Keep

COLORS = [(255, 0, 0), (0, 0, 255), (0, 160, 0), (250, 250, 0)]
BOTH = Keep(metadata=True, alpha=True)


def pictures(count: int = 4, size: tuple[int, int] = (24, 16)) -> list[Image.Image]:
    """A square of another color at another place in each, on white."""
    made = []
    for index in range(count):
        pixels = np.full((size[1], size[0], 3), 255, np.uint8)
        pixels[4:12, 2 + 4 * index : 8 + 4 * index] = COLORS[index % 4]
        made.append(Image.fromarray(pixels))
    return made


def saved(images: list[Image.Image], kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    several: dict[str, Any] = {"save_all": True, "append_images": images[1:]} if len(images) > 1 else {}
    images[0].save(buffer, kind, **several, **options)
    return buffer.getvalue()


def array(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image.convert("RGB"))


LOSSLESS: dict[str, dict[str, Any]] = {
    "GIF": {"duration": [50, 120, 70, 2000], "loop": 0},
    "PNG": {"duration": [50, 125, 70, 2000], "loop": 3},
    "WEBP": {"duration": [50, 120, 70, 2000], "loop": 5, "lossless": True},
    "TIFF": {},
}


@pytest.mark.parametrize("kind", LOSSLESS)
def test_every_frame_comes_whole_with_its_time(kind: str) -> None:
    options = LOSSLESS[kind]
    decoded = decode_frames(saved(pictures(), kind, **options))
    for frame, each in zip(decoded.frames, pictures(), strict=True):
        assert np.array_equal(frame.pixels, array(each))
        assert not frame.pixels.flags.writeable
        assert frame.alpha is None
    assert [frame.duration_ms for frame in decoded.frames] == options.get("duration", [0, 0, 0, 0])
    assert (decoded.plays, decoded.pages) == (options.get("loop", 0), kind == "TIFF")
    assert (decoded.warnings, decoded.traits) == ((), NO_TRAITS)


def test_an_avif_sequence() -> None:
    data = saved(pictures(), "AVIF", duration=[100, 200, 300, 400], quality=100, subsampling="4:4:4")
    decoded = decode_frames(data)
    for frame, each in zip(decoded.frames, pictures(), strict=True):
        assert np.abs(frame.pixels.astype(int) - array(each)).max() <= 6
    assert [frame.duration_ms for frame in decoded.frames] == [100, 200, 300, 400]


@pytest.mark.parametrize(("loop", "plays"), [(None, 1), (0, 0), (1, 2), (9, 10)])
def test_how_often_a_gif_is_played(loop: int | None, plays: int) -> None:
    assert decode_frames(saved(pictures(), "GIF", **({} if loop is None else {"loop": loop}))).plays == plays


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF", "TIFF", "JPEG", "BMP", "PPM"])
def test_the_first_frame_is_what_decoding_gives(kind: str) -> None:
    images = pictures() if kind in ("GIF", "PNG", "WEBP", "AVIF", "TIFF") else pictures(1)
    for few in (images, images[:1]):
        data = saved(few, kind)
        decoded = decode_frames(data)
        assert len(decoded.frames) == len(few)
        assert np.array_equal(decoded.frames[0].pixels, decode(data).pixels)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_transparent_frames_have_alpha_each(kind: str) -> None:
    frames = []
    for each in pictures():
        values = np.array(each.convert("RGBA"))
        values[(values[..., :3] == 255).all(axis=2)] = 0
        frames.append(Image.fromarray(values))
    data = saved(frames, kind, disposal=2 if kind == "GIF" else 1, **({"lossless": True} if kind == "WEBP" else {}))
    decoded = decode_frames(data, keep=Keep(alpha=True))
    for frame, each in zip(decoded.frames, frames, strict=True):
        assert frame.alpha is not None
        assert np.array_equal(frame.alpha[..., 0], np.asarray(each)[..., 3])
        on_white = Image.alpha_composite(Image.new("RGBA", each.size, "white"), each)
        assert np.array_equal(frame.pixels, array(on_white))
    assert decoded.traits.alpha is None


def gif(screen: tuple[int, int], frames: list[tuple[tuple[int, int, int, int], int, int]]) -> bytes:
    """A GIF of frames: left, top, width and height; number of the color, from 1; disposal."""
    palette = bytes(value for color in [(0, 0, 0), *COLORS, *[(9, 9, 9)] * 3] for value in color)
    data = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80 | 2, 0, 0) + palette
    for box, color, disposal in frames:
        data += b"!\xf9\4" + struct.pack("<BHBB", disposal << 2, 10, 0, 0)
        image = Image.new("P", box[2:], color)
        image.putpalette(palette)
        data += b"," + struct.pack("<HHHHB", *box, 0) + b"".join(GifImagePlugin.getdata(image)[1:])
    return data + b";"


def letters(decoded: DecodedFrames) -> list[list[str]]:
    """Rows of each frame: r, b, g, y for the colors, a dot for white that is transparent."""
    names = dict(zip(COLORS, "rbgy", strict=True)) | {(255, 255, 255): "."}
    shown = []
    for frame in decoded.frames:
        rows = ["".join(names[red, green, blue] for red, green, blue in row.tolist()) for row in frame.pixels]
        if frame.alpha is not None:
            assert rows == [
                "".join("." if not a else c for a, c in zip(*each, strict=True))
                for each in zip(frame.alpha[..., 0], rows, strict=True)
            ]
        shown.append(rows)
    return shown


def test_partial_frames_of_a_gif_are_composed_on_transparent_paper() -> None:
    left, right, middle = (0, 0, 1, 1), (3, 0, 1, 1), (1, 0, 2, 1)
    for keep in (Keep(), BOTH):
        stay = gif((4, 1), [(left, 1, 1), (right, 2, 1), (middle, 3, 1)])
        assert letters(decode_frames(stay, keep=keep)) == [["r..."], ["r..b"], ["rggb"]]
        clear = gif((4, 1), [(left, 1, 2), (right, 2, 2), (middle, 3, 1)])
        assert letters(decode_frames(clear, keep=keep)) == [["r..."], ["...b"], [".gg."]]
        restore = gif((4, 1), [(left, 1, 1), (right, 2, 3), (middle, 3, 1)])
        assert letters(decode_frames(restore, keep=keep)) == [["r..."], ["r..b"], ["rgg."]]


def test_a_frame_that_is_larger_than_its_animation_is_refused() -> None:
    with pytest.raises(ImageError, match="larger than its animation"):
        decode_frames(gif((2, 2), [((0, 0, 2, 2), 1, 1), ((1, 1, 2, 2), 2, 1)]))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_profiles_and_orientation_hold_for_every_frame(kind: str) -> None:
    exif = Image.Exif()
    exif[274] = 6 if kind != "AVIF" else 1  # pillow 13.0 crashes when it writes a sequence that is turned
    plain = decode_frames(saved(pictures(), kind, **LOSSLESS.get(kind, {})))
    turned = decode_frames(
        saved(pictures(), kind, icc_profile=display_p3(), exif=exif, **LOSSLESS.get(kind, {})), keep=BOTH
    )
    assert turned.traits.icc_profile == display_p3()
    for before, after in zip(plain.frames, turned.frames, strict=True):
        upright = Image.fromarray(before.pixels)
        if kind != "AVIF":
            upright = upright.transpose(Image.Transpose.ROTATE_270)
        assert np.array_equal(after.pixels, by_littlecms(upright, display_p3()))


def test_pages_have_their_own_sizes_depths_and_profiles() -> None:
    buffer = io.BytesIO()
    deep = Image.fromarray(np.full((5, 7), 65535, np.uint16))
    square = Image.fromarray(np.full((6, 6, 3), (200, 30, 60), np.uint8))
    writer: Any = __import__("PIL.TiffImagePlugin", fromlist=["AppendingTiffWriter"]).AppendingTiffWriter(buffer, True)
    with writer as file:
        for page, options in ((square, {"icc_profile": display_p3()}), (deep, {}), (square, {})):
            page.save(file, "TIFF", **options)
            file.newFrame()
    decoded = decode_frames(buffer.getvalue(), keep=BOTH)
    assert decoded.pages
    assert [frame.pixels.shape for frame in decoded.frames] == [(6, 6, 3), (5, 7, 3), (6, 6, 3)]
    assert np.array_equal(decoded.frames[0].pixels, by_littlecms(square, display_p3()))
    assert decoded.frames[1].pixels.min() == 255
    assert np.array_equal(decoded.frames[2].pixels, np.asarray(square))
    assert decoded.warnings == ("16 bits per channel were reduced to 8, which the model takes",)


def test_the_image_that_stands_for_an_animation_is_left_out() -> None:
    data = saved(pictures(), "PNG", default_image=True)
    decoded = decode_frames(data)
    assert len(decoded.frames) == 3
    assert np.array_equal(decoded.frames[0].pixels, array(pictures()[1]))
    assert decoded.warnings == ("the image that stands for the animation is no part of it and is left out",)
    assert np.array_equal(decode(data).pixels, array(pictures()[0]))


def test_a_multi_picture_file_has_one_frame() -> None:
    decoded = decode_frames(saved(pictures(2), "MPO"))
    assert len(decoded.frames) == 1
    assert decoded.warnings == ("only the first frame is used",)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF", "TIFF"])
def test_more_frames_or_pixels_than_the_limits_are_refused(kind: str) -> None:
    data = saved(pictures(), kind)
    assert len(decode_frames(data, max_frames=4, max_pixels=4 * 24 * 16).frames) == 4
    with pytest.raises(ImageError, match="more frames than the limit of 3"):
        decode_frames(data, max_frames=3)
    with pytest.raises(ImageError, match="more than 1535 pixels together"):
        decode_frames(data, max_pixels=4 * 24 * 16 - 1)


def test_a_hundred_thousand_pages_are_refused_at_once() -> None:
    entries = [(256, 1), (257, 1), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, 1)]
    page = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    data, start = bytearray(b"II*\0" + struct.pack("<I", 8)), 8
    for _ in range(100_000):
        start += len(page) + 4
        data += page + struct.pack("<I", start)
    before = time.perf_counter()
    with pytest.raises(ImageError, match=f"more frames than the limit of {MAX_FRAMES}"):
        decode_frames(bytes(data))
    assert time.perf_counter() - before < 5
    many = gif((1, 1), [((0, 0, 1, 1), 1, 1)] * (MAX_FRAMES + 1))
    with pytest.raises(ImageError, match=f"more frames than the limit of {MAX_FRAMES}"):
        decode_frames(many)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF", "TIFF"])
def test_a_truncated_file_fails_or_has_whole_frames(kind: str) -> None:
    whole = saved(pictures(), kind)
    expected = decode_frames(whole).frames
    for cut in range(1, len(whole), max(1, len(whole) // 60)):
        try:
            found = decode_frames(whole[:cut]).frames
        except ImageError:
            continue
        assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(found, expected, strict=False))


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(["GIF", "PNG", "WEBP", "AVIF", "TIFF"]))
def test_a_damaged_file_has_frames_or_is_refused(data: st.DataObject, kind: str) -> None:
    damaged = bytearray(saved(pictures(3), kind))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = decode_frames(bytes(damaged), keep=BOTH, max_pixels=10**6)
    except ImageError:
        return
    assert decoded.frames
    assert all(frame.pixels.shape[2] == 3 and frame.duration_ms >= 0 for frame in decoded.frames)
