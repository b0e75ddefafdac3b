"""The conditions that are not colors: labels, numbers, vectors and second pictures."""

import base64
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyexport.errors import UsageError
from polyexport.imaging.codecs.png import encode_png
from polyexport.model.conditions import condition_of
from polyexport.model.conditions.fields import ConditionFields, ImageFields, LabelFields, NumberFields, VectorFields
from polyexport.runtime.session import TensorType

STYLE = condition_of(LabelFields(name="style", labels=("ukiyo-e", "pop art", "Cubism"), default="pop art"))
SIGMA = condition_of(NumberFields(name="sigma", minimum=0, maximum=75, default=25, unit="levels"))
GAIN = condition_of(NumberFields(name="gain", minimum=-1, maximum=1))
CODE = condition_of(VectorFields(name="code", dim=3))
MASK = condition_of(ImageFields(name="mask", channels=1))


@pytest.mark.parametrize(
    ("condition", "given", "value", "row", "folder"),
    [
        (STYLE, "ukiyo-e", "ukiyo-e", np.array(0, np.int64), "ukiyo-e"),
        (STYLE, " cubism ", "Cubism", np.array(2, np.int64), "Cubism"),
        (STYLE, 1, "pop art", np.array(1, np.int64), "pop art"),
        (SIGMA, "2.5e1", 25.0, np.array(25, np.float32), "sigma=25"),
        (SIGMA, 0.1, 0.1, np.array(0.1, np.float32), "sigma=0.1"),
        (GAIN, "-0", 0.0, np.array(0, np.float32), "gain=0"),
        (CODE, "0.5, -1,2", (0.5, -1.0, 2.0), np.array([0.5, -1, 2], np.float32), "code=0.5 -1 2"),
        (CODE, [1, 2, 3], (1.0, 2.0, 3.0), np.array([1, 2, 3], np.float32), "code=1 2 3"),
    ],
)
def test_a_value_is_read_encoded_and_named(
    condition: Any, given: Any, value: Any, row: np.ndarray, folder: str
) -> None:
    parsed = condition.parse(given)
    assert parsed == value
    assert condition.parse(parsed) == value
    assert hash(parsed) is not None
    found = condition.row(given)
    assert (found.dtype, found.shape) == (row.dtype, row.shape)
    assert np.array_equal(found, row)
    assert condition.folder(parsed) == folder
    assert np.array_equal(condition.encode(condition.value_of(parsed)), row)


@pytest.mark.parametrize(
    ("condition", "given", "said"),
    [
        (STYLE, "cubist", "style is 'cubist', which is not one of its 3 labels; give one of them, such as Cubism"),
        (STYLE, 3, "style is 3, which is not one of its 3 labels"),
        (STYLE, True, "style is True"),
        (SIGMA, "76", "sigma is '76', expected a number from 0 to 75; give such a number, as in sigma=25"),
        (SIGMA, "many", "sigma is 'many', expected a number"),
        (SIGMA, "nan", "sigma is 'nan'"),
        (SIGMA, True, "sigma is True"),
        (SIGMA, 10**400, "expected a number from 0 to 75"),
        (CODE, "1,2", "code is '1,2', expected 3 numbers; give them with commas between them, as in code=0.0,0.5,1.0"),
        (CODE, "1,2,inf", "expected 3 numbers"),
        (CODE, 7, "expected 3 numbers"),
        (MASK, "a.png", "mask is a picture, got 'a.png'; give the folder or the file .* with --with mask=DIR"),
    ],
)
def test_what_is_no_value_is_refused(condition: Any, given: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        condition.row(given)


@pytest.mark.parametrize(
    ("condition", "value"),
    [(STYLE, 3), (STYLE, "pop art"), (SIGMA, 76.0), (SIGMA, "25"), (CODE, "AAAA"), (CODE, "!"), (MASK, "AAAA")],
)
def test_a_value_of_a_contract_that_is_none_is_refused(condition: Any, value: Any) -> None:
    with pytest.raises((ValueError, OSError)):
        condition.encode(value)


def test_a_picture_of_a_golden_sample_keeps_its_channels() -> None:
    for channels in (1, 3, 4):
        condition = condition_of(ImageFields(name="mask", channels=channels))
        pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels), dtype=np.uint8)
        text = base64.b64encode(encode_png(pixels)).decode()
        assert np.array_equal(condition.encode(text), pixels)
        assert condition.tensor_type == TensorType("tensor(uint8)", (None, None, None, channels))


@pytest.mark.parametrize("condition", [STYLE, SIGMA, GAIN, CODE])
def test_what_a_condition_shows_of_itself_is_what_it_takes(condition: Any) -> None:
    text = condition.example().strip("'")
    if "..." not in text:
        condition.row(text)
    rows = [condition.encode(value).tobytes() for value in condition.golden_values()]
    assert len(rows) == len(set(rows)) > 1
    proof = condition.proof_rows()
    assert proof.dtype == condition.dtype
    assert proof.shape[1:] == condition.row_shape
    assert len({row.tobytes() for row in proof}) > 1


@given(st.floats(-1, 1))
def test_every_number_within_the_bounds_has_a_folder_of_its_own(number: float) -> None:
    name = GAIN.folder(GAIN.parse(number))
    assert float(name.removeprefix("gain=")) == number
    assert "/" not in name


@given(st.text())
def test_no_text_gets_past_as_another_error(text: str) -> None:
    for condition in (STYLE, SIGMA, CODE, MASK):
        try:
            condition.row(text)
        except UsageError as error:
            assert len(str(error)) < 300
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: NumberFields(name="image", minimum=0, maximum=1), "other than"),
        (lambda: NumberFields(name="Sigma", minimum=0, maximum=1), "lowercase identifier"),
        (lambda: NumberFields(name="sigma", minimum=1, maximum=1), "minimum below its maximum"),
        (lambda: NumberFields(name="sigma", minimum=0, maximum=float("nan")), "minimum below its maximum"),
        (lambda: NumberFields(name="sigma", minimum=0, maximum=1e12), "must stay within"),
        (lambda: NumberFields(name="sigma", minimum=0, maximum=1, default=2), "default 2 of sigma"),
        (lambda: NumberFields(name="sigma", minimum=0, maximum=1, unit="\n"), "printable"),
        (lambda: LabelFields(name="style", labels=()), "one or more"),
        (lambda: LabelFields(name="style", labels=("a", "a")), "different names"),
        (lambda: LabelFields(name="style", labels=("../a",)), "label '../a' of style"),
        (lambda: LabelFields(name="style", labels=("a",), default="b"), "not one of its labels"),
        (lambda: VectorFields(name="code", dim=0), "1 to 4096 values"),
        (lambda: VectorFields(name="code", dim=2, default=(1.0,)), "has 1 values, expected 2"),
        (lambda: VectorFields(name="code", dim=1, default=(float("inf"),)), "must stay within"),
        (lambda: ImageFields(name="mask", channels=2), "1, 3 or 4 channels"),
    ],
)
def test_entries_that_contradict_themselves_are_refused(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


def test_every_kind_describes_itself() -> None:
    kinds: list[ConditionFields] = [each.fields for each in (STYLE, SIGMA, CODE, MASK)]
    assert [condition_of(fields).describe() for fields in kinds] == [
        "one of 3: ukiyo-e, pop art, Cubism; pop art if none is given",
        "a number, 0 to 75 levels; 25 if none is given",
        "a vector of 3 numbers",
        "a second picture, gray, 0 to 255, of the image's height and width",
    ]
