import struct
import zlib
from collections.abc import Sequence

import numpy as np
import pytest
from color_profiles import by_littlecms, gray_profile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from polyexport.errors import ImageError
from polyexport.imaging.frames import DecodedFrames, decode_frames
from polyexport.imaging.traits import Keep

RED, BLUE, HALF, NONE = (255, 0, 0, 255), (0, 0, 255, 255), (0, 255, 0, 128), (0, 0, 0, 0)
STAY, CLEAR, RESTORE = range(3)
SOURCE, OVER = range(2)

Part = tuple[int, int, tuple[int, ...], int, int]
"""Left, width, color, disposal, blending."""


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def rows(color: tuple[int, ...], width: int, dtype: str = "u1") -> bytes:
    return zlib.compress(b"\0" + np.array([color] * width, dtype).tobytes())


def apng(
    parts: Sequence[Part],
    *,
    kind: int = 6,
    depth: int = 8,
    apart: tuple[int, ...] | None = None,
    shared: bytes = b"",
    claimed: int | None = None,
) -> bytes:
    """An animation of 4x1 pixels; ``apart`` is the color of an image that is no part of it."""
    dtype = ">u2" if depth == 16 else "u1"
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 1, depth, kind, 0, 0, 0)) + shared
    data += chunk(b"acTL", struct.pack(">II", len(parts) if claimed is None else claimed, 3))
    data += b"" if apart is None else chunk(b"IDAT", rows(apart, 4, dtype))
    number = 0
    for index, (left, width, color, disposal, blending) in enumerate(parts):
        data += chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, width, 1, left, 0, 1 + index, 100, disposal, blending))
        number += 1
        if index or apart is not None:
            data += chunk(b"fdAT", struct.pack(">I", number) + rows(color, width, dtype))
            number += 1
        else:
            data += chunk(b"IDAT", rows(color, width, dtype))
    return data + chunk(b"IEND", b"")


def shown(decoded: DecodedFrames) -> list[list[tuple[int, ...]]]:
    """The pixels of each frame: red, green, blue, alpha."""
    result = []
    for frame in decoded.frames:
        alpha: NDArray[np.uint8] = np.full_like(frame.pixels[..., :1], 255) if frame.alpha is None else frame.alpha
        result.append([tuple(pixel) for pixel in np.concatenate([frame.pixels, alpha], axis=2)[0].tolist()])
    return result


PAPER = (255, 255, 255, 0)


def test_frames_are_composed_as_the_specification_says() -> None:
    parts = [
        (0, 4, RED, STAY, SOURCE),
        (1, 1, BLUE, STAY, OVER),
        (2, 1, HALF, CLEAR, OVER),
        (3, 1, BLUE, RESTORE, SOURCE),
        (0, 2, NONE, STAY, OVER),
        (0, 2, NONE, STAY, SOURCE),
    ]
    decoded = decode_frames(apng(parts), keep=Keep(alpha=True))
    mixed = (127, 128, 0, 255)
    assert shown(decoded) == [
        [RED, RED, RED, RED],
        [RED, BLUE, RED, RED],
        [RED, BLUE, mixed, RED],
        [RED, BLUE, PAPER, BLUE],
        [RED, BLUE, PAPER, RED],
        [PAPER, PAPER, PAPER, RED],
    ]
    assert [frame.duration_ms for frame in decoded.frames] == [10, 20, 30, 40, 50, 60]
    assert (decoded.plays, decoded.warnings) == (3, ())


def test_an_image_that_is_no_part_of_the_animation_does_not_show_through() -> None:
    decoded = decode_frames(apng([(1, 1, BLUE, STAY, OVER), (2, 1, RED, STAY, OVER)], apart=RED), keep=Keep(alpha=True))
    assert shown(decoded) == [[PAPER, BLUE, PAPER, PAPER], [PAPER, BLUE, RED, PAPER]]


def test_what_is_cleared_in_an_image_without_alpha_is_transparent() -> None:
    parts = [(0, 4, RED[:3], STAY, SOURCE), (1, 1, BLUE[:3], CLEAR, OVER), (2, 1, BLUE[:3], STAY, OVER)]
    decoded = decode_frames(apng(parts, kind=2), keep=Keep(alpha=True))
    assert shown(decoded)[2] == [RED, PAPER, BLUE, RED]
    assert decoded.frames[0].alpha is None


@pytest.mark.parametrize("depth", [8, 16])
def test_gray_frames_keep_their_profile(depth: int) -> None:
    full = 257 if depth == 16 else 1
    profile = chunk(b"iCCP", b"x\0\0" + zlib.compress(gray_profile(1.0)))
    parts = [(0, 4, (50 * full,), STAY, SOURCE), (1, 1, (200 * full,), STAY, OVER)]
    decoded = decode_frames(apng(parts, kind=0, depth=depth, shared=profile))
    expected = by_littlecms(Image.fromarray(np.array([[50, 200]], np.uint8)), gray_profile(1.0))[0]
    assert decoded.frames[1].pixels[0, :2].tolist() == expected.tolist()


def test_palettes_and_transparent_colors() -> None:
    palette = chunk(b"PLTE", bytes([255, 0, 0, 0, 0, 255])) + chunk(b"tRNS", b"\xff\0")
    parts = [(0, 4, (0,), STAY, SOURCE), (1, 1, (1,), STAY, OVER), (2, 1, (1,), STAY, SOURCE)]
    decoded = decode_frames(apng(parts, kind=3, shared=palette), keep=Keep(alpha=True))
    assert shown(decoded)[1:] == [[RED, RED, RED, RED], [RED, RED, PAPER, RED]]
    with pytest.raises(ImageError, match="palette"):
        decode_frames(apng([(0, 4, (0,), STAY, SOURCE), (1, 1, (7,), STAY, OVER)], kind=3, shared=palette))
    deep = [(0, 4, (9,), STAY, SOURCE), (1, 1, (7,), STAY, SOURCE)]
    decoded = decode_frames(apng(deep, kind=0, depth=16, shared=chunk(b"tRNS", b"\0\7")), keep=Keep(alpha=True))
    assert [pixel[3] for pixel in shown(decoded)[1]] == [255, 0, 255, 255]


WHOLE: list[Part] = [(0, 4, RED, STAY, SOURCE), (1, 1, BLUE, STAY, OVER)]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (apng([*WHOLE, (3, 2, RED, STAY, SOURCE)]), "outside of the image"),
        (apng([*WHOLE, (0, 0, RED, STAY, SOURCE)]), "outside of the image"),
        (apng(WHOLE, claimed=3), "a frame is missing"),
        (apng([*WHOLE, WHOLE[1]], claimed=2), "a frame is missing"),
    ],
)
def test_frames_that_contradict_the_file_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        decode_frames(data)


@given(st.data())
def test_damaged_frames_with_right_checksums_are_frames_or_refused(data: st.DataObject) -> None:
    whole = apng([*WHOLE, (2, 1, HALF, CLEAR, OVER)])
    names = [name for name in (b"acTL", b"fcTL", b"IDAT", b"fdAT", b"IHDR") if name in whole]
    name = data.draw(st.sampled_from(names))
    start = whole.index(name) - 4
    length = int.from_bytes(whole[start : start + 4], "big")
    body = bytearray(whole[start + 8 : start + 8 + length])
    body[data.draw(st.integers(0, length - 1))] = data.draw(st.integers(0, 255))
    damaged = whole[:start] + chunk(name, bytes(body)) + whole[start + 12 + length :]
    try:
        decoded = decode_frames(damaged, max_pixels=10**6, keep=Keep(alpha=True))
    except ImageError:
        return
    assert decoded.frames
