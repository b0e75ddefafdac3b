"""Traits of an image file on their way through a decoding process, which may lie about them."""

import io

import numpy as np
import pytest
from color_profiles import by_littlecms, display_p3
from PIL import Image

from polyexport.imaging.pixels import decode
from polyexport.imaging.traits import KEEP_NOTHING, NO_TRAITS, Keep
from polyexport.model.canvas import CanvasRule
from polyexport.pipeline.decoding import process
from polyexport.pipeline.decoding.pool import DecodingPool
from polyexport.pipeline.decoding.process import Rules

RULE = CanvasRule(size=64, multiple=16)
BOTH = Keep(metadata=True, alpha=True)
XMP = b"<x:xmpmeta/>"


def described(turn: int = 6) -> bytes:
    """A WebP file that has every trait but a resolution."""
    rgba = np.random.default_rng(0).integers(0, 256, (20, 44, 4), np.uint8)
    exif = Image.Exif()
    exif[271], exif[274] = "Ayna", turn
    buffer = io.BytesIO()
    image = Image.fromarray(rgba)
    image.save(buffer, "WEBP", lossless=True, exact=True, exif=exif, xmp=XMP, icc_profile=display_p3())
    return buffer.getvalue()


def scanned() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((9, 5), np.uint16)).save(buffer, "TIFF", dpi=(300, 150))
    return buffer.getvalue()


def test_all_traits_come_through_the_pipe() -> None:
    data = described()
    expected = decode(data, keep=BOTH).traits
    assert expected.alpha is not None
    with DecodingPool(jobs=1) as decoders:
        plain, both, alpha = (decoders.decode(data, RULE, keep=keep) for keep in (KEEP_NOTHING, BOTH, Keep(alpha=True)))
        assert plain.traits is NO_TRAITS
        for found in (both, alpha):
            assert found.canvas is not None
            assert found.traits.alpha is not None
            assert found.traits.alpha.shape[:2] == (found.canvas.height, found.canvas.width) == (44, 20)
            assert np.array_equal(found.traits.alpha, expected.alpha)
            assert (found.traits.format, found.traits.bits) == ("WEBP", 8)
        assert (both.traits.icc_profile, both.traits.exif, both.traits.xmp) == (display_p3(), expected.exif, XMP)
        assert (alpha.traits.icc_profile, alpha.traits.exif, alpha.traits.xmp) == (b"", b"", b"")
        scan = decoders.decode(scanned(), RULE, keep=BOTH)
        assert (scan.traits.dpi, scan.traits.bits, scan.traits.format, scan.traits.alpha) == (
            (300, 150),
            16,
            "TIFF",
            None,
        )


def test_a_decoding_process_converts_colors() -> None:
    image = Image.fromarray(np.random.default_rng(3).integers(0, 256, (64, 64, 3), np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", icc_profile=display_p3())
    with DecodingPool(jobs=1) as decoders:
        found = decoders.decode(buffer.getvalue(), RULE)
    assert found.canvas is not None
    assert np.array_equal(found.canvas.pixels, by_littlecms(image, display_p3()))


def test_images_and_failures_asked_for_together_keep_their_own() -> None:
    sources = [described(), b"text", scanned(), described(1), b""]
    with DecodingPool(jobs=1) as decoders:
        answers = decoders.decode_all(sources, CanvasRule(size=64, multiple=16, keep_original=True), keep=BOTH)
    assert [answer.traits.format for answer in answers] == ["WEBP", "", "TIFF", "WEBP", ""]
    for answer, data in zip(answers, sources, strict=True):
        if answer.canvas is not None:
            expected = decode(data, keep=BOTH)
            assert answer.canvas.original is not None
            assert np.array_equal(answer.canvas.original, expected.pixels)
            assert answer.traits.exif == expected.traits.exif


def test_a_picture_of_an_image_has_no_traits() -> None:
    with DecodingPool(jobs=1) as decoders:
        found = decoders.decode(scanned(), RULE, pictures=[scanned()], picture_rules={"mask": RULE}, keep=BOTH)
    assert found.canvas is not None
    assert len(found.pictures) == 1
    assert found.traits.dpi == (300, 150)


def test_a_request_that_keeps_nothing_does_not_speak_of_it() -> None:
    assert "keep" not in Rules(RULE, {}, KEEP_NOTHING).entries()
    assert Rules(RULE, {}, BOTH).entries()["keep"] == {"metadata": True, "alpha": True, "try_profile": False}


LIES = [
    {"bytes": [10**9, 0, 0]},
    {"bytes": [0, 65534, 0]},
    {"bytes": [0, 0, 65505]},
    {"bytes": [0, -1, 0]},
    {"bytes": [0, 0]},
    {"format": "../evil"},
    {"format": "EXE"},
    {"bits": 10**9},
    {"dpi": [1.0, float("nan")]},
    {"dpi": [1.0, 1.0, 1.0]},
    {"dpi": [0, 0]},
]


@pytest.mark.parametrize("lie", LIES, ids=str)
def test_a_decoder_that_lies_about_traits_takes_one_image_with_it(
    monkeypatch: pytest.MonkeyPatch, lie: dict[str, object]
) -> None:
    program = f"""
import polyexport.pipeline.decoding.worker as worker
real, nan = worker.announced, float("nan")
worker.announced = lambda traits: real(traits) | ({lie} if traits.format == "WEBP" else {{}})
"""
    start = process._WORKER_CODE.replace("import main;", f"import main; exec({program!r});")
    monkeypatch.setattr(process, "_WORKER_CODE", start)
    with DecodingPool(jobs=1) as decoders:
        lied, honest = decoders.decode_all([described(), scanned()], RULE, keep=BOTH)
    assert (lied.canvas, lied.traits) == (None, NO_TRAITS)
    assert "malformed answer" in lied.reason
    assert honest.traits.format == "TIFF"
