"""Further golden samples in the metadata of a model file."""

import base64
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from contracts import color_golden

from polyexport.errors import ContractError
from polyexport.model.samples import MAX_SAMPLES_BYTES, SAMPLES_KEY, fitting_samples, read_samples, samples_json

SAMPLES = (
    color_golden(image_png="a", color=(1, 2, 3), colored_png="b"),
    color_golden(image_png="c", color=4, colored_png="d"),
    color_golden(image_png="e", color="AAAA", colored_png="f"),
)


def png_header(side: int) -> str:
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", side, side)).decode()


def holding(text: str) -> bytes:
    model = onnx.ModelProto()
    model.metadata_props.add(key="other", value="x")
    model.metadata_props.add(key=SAMPLES_KEY, value=text)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("version", [2, 3])
def test_what_is_written_is_read_in_both_versions(version: int) -> None:
    assert read_samples(holding(samples_json(SAMPLES, version))) == SAMPLES


def test_what_is_written_is_read() -> None:
    assert read_samples(holding(samples_json(SAMPLES, 2))) == SAMPLES
    assert read_samples(b"") == ()


def test_samples_that_are_too_large_are_left_out() -> None:
    small, large = SAMPLES[0], replace(SAMPLES[1], image_png="x" * MAX_SAMPLES_BYTES)
    assert fitting_samples([large, small, large, *SAMPLES], 2) == (small, *SAMPLES)
    assert len(fitting_samples([small] * 100, 2)) == 16
    assert read_samples(holding(samples_json(fitting_samples([large], 2), 2))) == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "unusable"),
        ("[]", "the object is"),
        ('{"samples": {}}', "samples is"),
        ('{"samples": [], "samples": []}', "stands twice"),
        ('{"samples": [{"image_png": "", "color": [0, 0, 256], "colored_png": ""}]}', "0 to 255"),
        ('{"samples": [{"image_png": "", "color": 0}]}', "lacks result_png"),
        (samples_json(SAMPLES * 6, 2), "18 samples, more than the limit"),
        (" " * MAX_SAMPLES_BYTES + samples_json((), 2), "more than the limit"),
        (samples_json([replace(SAMPLES[0], image_png=png_header(1025))], 2), "1025x1025 pixels, more than 1024x1024"),
        ("[" * 1000, "inside each other"),
    ],
)
def test_unusable_samples_are_refused(text: str, reason: str) -> None:
    with pytest.raises(ContractError, match=reason):
        read_samples(holding(text))


def test_an_exported_file_has_samples_of_other_drawings_in_other_colors(tiny_model_path: Path) -> None:
    samples = read_samples(tiny_model_path.read_bytes())
    assert len({sample.image_png for sample in samples}) == len({sample.values for sample in samples}) == 5


@pytest.mark.parametrize("kind", ["rgb", "vocabulary"])
def test_a_file_without_further_samples_has_none(kind: str, model_of: Callable[[str], Path]) -> None:
    assert read_samples(model_of(kind).read_bytes()) == ()
