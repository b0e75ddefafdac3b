"""Animations and files of pages: what is written is read again, frame by frame and with its times."""

import io
import struct
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from polyexport.errors import ImageError
from polyexport.imaging.encoders import ENCODERS, encoder_of
from polyexport.imaging.encoders.encoder import Encoder
from polyexport.imaging.encoders.profile import srgb_profile
from polyexport.imaging.encoders.times import Times
from polyexport.imaging.encoders.write import write_frames
from polyexport.imaging.frames import DecodedFrames, decode_frames
from polyexport.imaging.matte import on_white
from polyexport.imaging.output_format import PNG_OUTPUT, OutputFormat
from polyexport.imaging.traits import NO_TRAITS, Keep, Traits

SEVERAL = [encoder for encoder in ENCODERS if encoder.several]
BEST = OutputFormat(format="same", quality=100)
BOTH = Keep(metadata=True, alpha=True)
DAY_MS = 24 * 3600 * 1000

Frames = list[NDArray[np.uint8]]


def frames_of(count: int, height: int, width: int, channels: int, seed: int) -> Frames:
    """Frames of few colors, of which some are equal to the one before; alpha is 0 or 255."""
    rng = np.random.default_rng(seed)
    made: Frames = []
    for _ in range(count):
        if made and rng.random() < 0.3:
            made.append(made[-1].copy())
            continue
        pixels = rng.integers(0, 6, (height, width, channels), dtype=np.uint8) * np.uint8(51)
        if channels in (2, 4):
            pixels[..., -1] = np.where(pixels[..., -1] > 100, 255, 0)
        made.append(pixels)
    return made


def as_rgb(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3)) if pixels.shape[2] == 1 else pixels


def read(data: bytes) -> DecodedFrames:
    return decode_frames(data, keep=BOTH)


@st.composite
def animations(draw: st.DrawFn) -> tuple[Frames, Times]:
    count = draw(st.integers(2, 7))
    channels = draw(st.integers(1, 4))
    frames = frames_of(count, draw(st.integers(1, 20)), draw(st.integers(1, 20)), channels, draw(st.integers(0, 999)))
    durations = draw(st.lists(st.integers(0, 3000) | st.integers(0, DAY_MS), min_size=count, max_size=count))
    return frames, Times(durations_ms=durations, plays=draw(st.integers(0, 3) | st.integers(0, 65535)))


@pytest.mark.parametrize("encoder", SEVERAL, ids=lambda encoder: encoder.name)
@settings(max_examples=40, deadline=None)
@given(animation=animations())
def test_frames_and_times_come_back(encoder: Encoder, animation: tuple[Frames, Times]) -> None:
    frames, times = animation
    notes: list[str] = []
    data = encoder.encode_frames(frames, times, BEST, NO_TRAITS, notes)
    assert data == encoder.encode_frames([each.copy() for each in frames], times, BEST, NO_TRAITS, [])
    found = read(data)
    assert (len(found.frames), found.pages, found.warnings) == (len(frames), encoder.name == "TIFF", ())

    for frame, pixels in zip(found.frames, frames, strict=True):
        clear = pixels.shape[2] in (2, 4)
        shown = as_rgb(on_white(pixels) if clear else pixels)
        if encoder.name == "AVIF":
            assert np.abs(frame.pixels.astype(int) - shown).mean() < 12
            continue
        assert np.array_equal(frame.pixels, shown)
        if clear:
            assert frame.alpha is None or np.array_equal(frame.alpha, pixels[..., -1:])
            assert frame.alpha is not None or pixels[..., -1].min() == 255
        else:
            assert frame.alpha is None or frame.alpha.min() == 255  # WebP does not say that there is none

    wanted, shown_ms = list(times.durations_ms), [frame.duration_ms for frame in found.frames]
    if encoder.name == "TIFF":
        wanted = [0] * len(frames)
    if encoder.name == "AVIF":
        wanted = [max(1, each) for each in wanted]
    told = " ".join(notes)
    assert "durations" in told or shown_ms == wanted
    step = {"GIF": 10, "PNG": 1000}.get(encoder.name, 1)
    most = {"GIF": 655350, "PNG": 65535000, "WEBP": 2**24 - 1}.get(encoder.name, DAY_MS)
    for one, other in zip(shown_ms, wanted, strict=True):
        assert abs(one - min(other, most)) < max(step, 1)
        assert not other or one
        assert encoder.name != "PNG" or other > 65535 or one == other
    assert found.plays == (0 if encoder.name in ("TIFF", "AVIF") else times.plays)  # pillow does not tell that of AVIF


@pytest.mark.parametrize("encoder", SEVERAL, ids=lambda encoder: encoder.name)
def test_a_frame_with_alpha_gives_all_frames_one(encoder: Encoder) -> None:
    opaque, clear = frames_of(1, 9, 8, 3, 0)[0], frames_of(1, 9, 8, 4, 1)[0]
    found = read(encoder.encode_frames([opaque, clear], Times(durations_ms=[50, 50]), BEST, NO_TRAITS, []))
    assert found.frames[1].alpha is not None
    assert found.frames[0].alpha is None or found.frames[0].alpha.min() == 255


def test_pages_have_sizes_and_channels_of_their_own() -> None:
    pages = [frames_of(1, side, 2 * side + 1, 1 + side % 4, side)[0] for side in range(1, 12)]
    times = Times(durations_ms=[0] * len(pages))
    for compression in (None, 0, 9):
        output = OutputFormat(format="tiff", compression=compression)
        notes: list[str] = []
        found = read(encoder_of("tiff").encode_frames(pages, times, output, NO_TRAITS, notes))
        assert notes == []
        for frame, page in zip(found.frames, pages, strict=True):
            assert np.array_equal(frame.pixels, as_rgb(on_white(page) if page.shape[2] in (2, 4) else page))


def exif() -> bytes:
    entries = Image.Exif()
    entries[271] = "a maker"
    entries.get_ifd(0x8769)[36867] = "2020:01:02 03:04:05"
    return entries.tobytes()


@pytest.mark.parametrize("encoder", SEVERAL, ids=lambda encoder: encoder.name)
def test_a_file_has_the_traits_once(encoder: Encoder) -> None:
    traits = Traits(icc_profile=srgb_profile(), exif=exif(), xmp=b"<x:xmpmeta/>", dpi=(300.0, 150.0))
    notes: list[str] = []
    frames = frames_of(3, 8, 9, 3, 5)
    data = encoder.encode_frames(frames, Times(durations_ms=[0, 0, 0]), BEST, traits, notes)
    assert encoder.held or notes == ["GIF holds no EXIF data and no XMP and no resolution: left out"]
    found = read(data).traits
    assert found.xmp == (traits.xmp if "xmp" in encoder.held else b"")
    assert (b"a maker" in found.exif) == ("exif" in encoder.held)
    assert data.count(b"a maker") == ("exif" in encoder.held)
    with Image.open(io.BytesIO(data)) as image:
        dpi = image.info.get("dpi") or (image.getexif().get(282), image.getexif().get(283))
        assert dpi == (pytest.approx((300, 150), abs=0.02) if "dpi" in encoder.held else (None, None))
        for number in range(3):
            image.seek(number)
            profile = image.info.get("icc_profile")
            assert profile == (srgb_profile() if encoder.profile_bytes and encoder.name != "PNG" else None)


def test_the_levels_of_a_png_differ_in_size_alone() -> None:
    frames, times = frames_of(4, 60, 50, 3, 7), Times(durations_ms=[10, 20, 30, 40], plays=2)
    sizes = []
    for compression in (None, 0, 9):
        data = encoder_of("png").encode_frames(frames, times, OutputFormat(compression=compression), NO_TRAITS, [])
        sizes.append(len(data))
        for frame, pixels in zip(read(data).frames, frames, strict=True):
            assert np.array_equal(frame.pixels, pixels)
    assert sizes[2] < sizes[0] < sizes[1]


@pytest.mark.parametrize("plays", [0, 1, 7])
def test_an_avif_sequence_says_how_often_it_is_played_and_not_when_it_was_made(plays: int) -> None:
    frames, times = frames_of(2, 8, 8, 4, 1), Times(durations_ms=[30, 70], plays=plays)
    data = encoder_of("avif").encode_frames(frames, times, BEST, NO_TRAITS, [])
    if not plays:
        time.sleep(1.1)
        assert data == encoder_of("avif").encode_frames(frames, times, BEST, NO_TRAITS, [])
    place = data.index(b"mvhd")
    version, made, changed, per_second, duration = struct.unpack_from(">IQQIQ", data, place + 4)
    assert (version, made, changed, per_second) == (1 << 24, 0, 0, 1000)
    assert duration == (100 * plays or 2**64 - 1)
    tracks = [struct.unpack_from(">IQQIIQ", data, place) for place in places(data, b"tkhd")]
    assert [track[0] >> 24 for track in tracks] == [1, 1]
    assert [(track[1], track[2], track[5]) for track in tracks] == [(0, 0, duration)] * 2


def places(data: bytes, name: bytes) -> list[int]:
    return [place + 4 for place in range(len(data)) if data.startswith(name, place)]


@pytest.mark.parametrize("encoder", [one for one in ENCODERS if not one.several], ids=lambda encoder: encoder.name)
def test_a_format_of_one_picture_refuses_several(encoder: Encoder) -> None:
    frames = frames_of(2, 4, 4, 3, 0)
    with pytest.raises(ImageError, match=f"{encoder.name} holds one picture"):
        encoder.encode_frames(frames, Times(durations_ms=[0, 0]), BEST, NO_TRAITS, [])


def test_a_warning_is_one_line_however_many_frames_it_holds_for() -> None:
    noise = [np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8) for seed in range(4)]
    notes: list[str] = []
    encoder_of("same", ".gif").encode_frames(noise, Times(durations_ms=[15] * 4), BEST, NO_TRAITS, notes)
    assert notes == [
        "GIF holds durations in steps of 10 ms: rounded",
        "GIF holds 256 colors: the others are replaced by similar ones",
    ]


def test_the_alpha_of_each_frame_is_put_back() -> None:
    frames = frames_of(2, 8, 6, 3, 3)
    alpha = np.full((4, 3, 1), 255, np.uint8)
    made = write_frames(
        frames, Times(durations_ms=[5, 6]), OutputFormat(alpha="keep"), NO_TRAITS, alphas=[None, alpha * 0]
    )
    opaque, clear = read(made.data).frames
    assert np.array_equal(opaque.pixels, frames[0])
    assert clear.alpha is not None
    assert clear.alpha.max() == 0
    white = write_frames(frames, Times(durations_ms=[5, 6]), PNG_OUTPUT, NO_TRAITS, alphas=[None, alpha])
    assert read(white.data).frames[1].alpha is None


@pytest.mark.parametrize(("durations", "plays"), [([], 0), ([-1], 0), ([1], -1)])
def test_times_that_no_animation_has(durations: list[int], plays: int) -> None:
    with pytest.raises(ValueError, match="times of no animation"):
        Times(durations_ms=durations, plays=plays)
