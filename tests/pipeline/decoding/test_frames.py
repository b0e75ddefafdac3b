"""All frames of an image on their way through a decoding process, which may lie about them."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from polyexport.imaging.frames import decode_frames
from polyexport.imaging.traits import Keep
from polyexport.model.canvas import CanvasRule
from polyexport.pipeline.decoding import process
from polyexport.pipeline.decoding.pool import DecodingPool
from polyexport.pipeline.decoding.process import Rules

RULE = CanvasRule(size=64, multiple=16)
BOTH = Keep(metadata=True, alpha=True)
COLORS = ["red", "blue", "green"]


def saved(kind: str, frames: list[Image.Image], **options: Any) -> bytes:
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], **options)
    return buffer.getvalue()


def animation(size: tuple[int, int] = (40, 20)) -> bytes:
    frames = [Image.new("RGBA", size, (index, 9, 9, 100 + index)) for index in range(3)]
    return saved("WEBP", frames, duration=[10, 20, 30], loop=7, lossless=True, exact=True)


def document() -> bytes:
    return saved("TIFF", [Image.new("RGB", (20 + 30 * index, 90), color) for index, color in enumerate(COLORS)])


@pytest.mark.parametrize("rule", [RULE, CanvasRule(size=64, multiple=16, keep_original=True)], ids=["fit", "original"])
def test_frames_come_through_the_pipe(rule: CanvasRule) -> None:
    with DecodingPool(jobs=1) as decoders:
        moving, pages = decoders.decode_all([animation(), document()], rule, keep=BOTH, frames=True)
    for found, data in ((moving, animation()), (pages, document())):
        expected = decode_frames(data, keep=BOTH)
        assert len(found.frames) == 3
        for frame, one in zip(found.frames, expected.frames, strict=True):
            placed = rule.place(one.pixels)
            assert np.array_equal(frame.canvas.pixels, placed.pixels)
            assert (frame.canvas.height, frame.canvas.width) == one.pixels.shape[:2]
            assert frame.duration_ms == one.duration_ms
            assert (frame.alpha is None) == (one.alpha is None)
            if one.alpha is not None and frame.alpha is not None:
                assert np.array_equal(frame.alpha, one.alpha)
            if rule.keep_original:
                assert frame.canvas.original is not None
                assert np.array_equal(frame.canvas.original, one.pixels)
        assert found.canvas is found.frames[0].canvas
        assert found.traits.alpha is None
        assert found.traits.format in ("WEBP", "TIFF")
    assert (moving.plays, moving.pages, pages.pages) == (7, False, True)
    assert moving.warnings == pages.warnings == ()


def test_a_single_image_is_what_it_is_without_frames() -> None:
    rgba = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 4), np.uint8))
    buffer = io.BytesIO()
    rgba.save(buffer, "PNG")
    with DecodingPool(jobs=1) as decoders:
        plain, framed = (decoders.decode(buffer.getvalue(), RULE, keep=BOTH, frames=each) for each in (False, True))
        first = decoders.decode(animation(), RULE)
    for found in (plain, framed):
        assert found.canvas is not None
        assert found.frames == ()
        assert found.traits.alpha is not None
        assert np.array_equal(found.traits.alpha[..., 0], np.asarray(rgba)[..., 3])
    assert (first.frames, first.warnings) == ((), ("only the first frame is used",))
    assert "frames" not in Rules(RULE).entries()


def test_all_frames_share_a_second_picture_of_their_size() -> None:
    mask = saved("PNG", [Image.new("L", (40, 20), 200)])
    rules = {"mask": CanvasRule(size=64, multiple=16, channels=1)}
    with DecodingPool(jobs=1) as decoders:
        found = decoders.decode(animation(), RULE, pictures=[mask], picture_rules=rules, frames=True)
        pages = decoders.decode(document(), RULE, pictures=[mask], picture_rules=rules, frames=True)
    assert len(found.frames) == 3
    assert [picture.shape for picture in found.pictures] == [(*found.frames[0].canvas.pixels.shape[:2], 1)]
    assert pages.canvas is None
    assert "mask" in pages.reason


def test_too_many_frames_fail_alone() -> None:
    many = saved("GIF", [Image.new("P", (1, 1), index % 2) for index in range(1001)], optimize=False)
    with DecodingPool(jobs=1, max_pixels=40 * 20 * 3 - 1) as decoders:
        frames, pixels, good = decoders.decode_all([many, animation(), animation((8, 8))], RULE, frames=True)
    assert "more frames than the limit of 1000" in frames.reason
    assert "pixels together" in pixels.reason
    assert len(good.frames) == 3


LIES = [
    "answer['frames'] *= 1000",
    "answer['frames'] = answer['frames'][:1]",
    "answer['frames'][1]['canvas'] = [8000, 8000]; answer['frames'][0]['canvas'] = [8000, 8000]",
    "answer['frames'][2]['size'] = [-1, 5]",
    "answer['frames'] = 'none'",
    "answer['plays'] = 'often'",
    "answer['plays'] = -1",
    "answer['frames'][1]['duration_ms'] = 10**9",
    "del answer['frames'][0]['duration_ms'], answer['frames'][0]['alpha']",
]


@pytest.mark.parametrize("lie", LIES)
def test_a_decoder_that_lies_about_frames_takes_one_image_with_it(monkeypatch: pytest.MonkeyPatch, lie: str) -> None:
    program = f"""
import polyexport.pipeline.decoding.worker as worker
real = worker._answer
def lying(*given):
    answer, payload = real(*given)
    if answer.get("plays") == 7: {lie}
    return answer, payload
worker._answer = lying
"""
    start = process._WORKER_CODE.replace("import main;", f"import main; exec({program!r});")
    monkeypatch.setattr(process, "_WORKER_CODE", start)
    with DecodingPool(jobs=1) as decoders:
        lied, honest = decoders.decode_all([animation(), document()], RULE, keep=BOTH, frames=True)
    assert (lied.canvas, lied.frames) == (None, ())
    assert lied.reason
    assert len(honest.frames) == 3
