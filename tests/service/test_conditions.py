"""The service with models of every kind of condition and result: its fields, and answers as Python gives them."""

import base64
import contextlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.pixels import decode
from polyexport.model.conditions.fields import MAX_VECTOR_DIM, VectorFields
from polyexport.model.file import peek_contract
from polyexport.model.loading.load import load_model
from polyexport.model.model import Model
from polyexport.model.placed_run import run_placed
from polyexport.pipeline.decoding.pool import DecodingPool
from polyexport.service.app import build_app
from polyexport.service.batcher import Batcher
from polyexport.service.body import JSON_TYPE, MULTIPART_TYPE, BodyRule, BodyType
from polyexport.service.body_buffer import BodyBuffer
from polyexport.service.metrics import Metrics
from polyexport.service.options import Limits, ServiceOptions
from polyexport.service.routes import Routes

CODE = [0.5, -1.0, 2.25]
ASKED: dict[str, dict[str, Any]] = {
    "plain": {},
    "number": {"sigma": 12.5},
    "label number": {"style": "ukiyo-e", "strength": 0.25},
    "vector": {"code": CODE},
    "color": {"color": "tomato", "sigma": 3},
    "mask in": {},
    "gray": {},
    "rgba": {},
    "x2": {},
    "half": {},
    "mask out": {},
    "alpha": {},
    "labels": {},
    "batch one": {"sigma": 70},
    "fixed": {"sigma": 1},
}
"""Conditions of a request to each model."""


@dataclass
class Served:
    """The service of one model, called without a socket."""

    model: Model
    app: Any

    def post(self, kind: str, body: bytes) -> tuple[int, dict[str, Any], bytes]:
        status, headers, answer = self.app.ask("POST", "/infer", [(b"content-type", kind.encode())], body)
        return status, json.loads(answer) if "json" in headers["content-type"] else {}, answer

    def post_json(self, image: bytes, **members: Any) -> tuple[int, dict[str, Any]]:
        encoded = {
            name: base64.b64encode(one).decode() if isinstance(one, bytes) else one for name, one in members.items()
        }
        body = {"image": base64.b64encode(image).decode()} | encoded
        return self.post("application/json", json.dumps(body).encode())[:2]

    def post_form(self, image: bytes, **members: Any) -> tuple[int, dict[str, Any], bytes]:
        parts = [
            b'--b\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n'
            % ((name.encode(), b'; filename="x"', one) if isinstance(one, bytes) else (name.encode(), b"", text(one)))
            for name, one in {"image": image, **members}.items()
        ]
        return self.post("multipart/form-data; boundary=b", b"".join(parts) + b"--b--\r\n")


def text(value: Any) -> bytes:
    return (",".join(map(str, value)) if isinstance(value, list) else str(value)).encode()


Serve = Callable[..., Served]


@pytest.fixture(scope="module")
def serve(version3_of: Callable[[str], Path], app: Any) -> Iterator[Serve]:
    """The service of a model of a kind, made once."""
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(DecodingPool(jobs=1))
        made: dict[str, Served] = {}

        def served(kind: str, **limits: Any) -> Served:
            if limits or kind not in made:
                model = load_model(version3_of(kind), provider="cpu")
                options, metrics = ServiceOptions(model=version3_of(kind), limits=Limits(**limits)), Metrics()
                batcher = Batcher(
                    partial(run_placed, model), max_batch_size=4, max_wait_ms=0, max_queued=4, max_queued_s=30
                )
                stack.enter_context(batcher)
                routes = Routes(model, pool, batcher, metrics, options)
                one = Served(model, type(app)(build_app(routes, metrics, options)))
                if limits:
                    return one
                made[kind] = one
            return made[kind]

        yield served


def picture(width: int = 21, height: int = 18, channels: int = 3, seed: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def expected(
    model: Model, image: bytes, conditions: Mapping[str, Any], *, mask: bytes | None = None, **how: Any
) -> bytes:
    channels = model.contract.image_channels
    pictures = {} if mask is None else {"mask": [decode(mask, channels=1).pixels]}
    pixels = decode(image, channels=channels).pixels
    [result] = model.apply([pixels], conditions, pictures=pictures, **how)
    return encode_png(result)


@pytest.mark.parametrize("kind", ASKED)
def test_a_model_of_any_conditions_answers_as_python_does(kind: str, serve: Serve) -> None:
    served = serve(kind)
    image = encode_png(picture(channels=served.model.contract.image_channels))
    mask = encode_png(picture(channels=1, seed=4)) if kind == "mask in" else None
    asked = ASKED[kind] | ({"mask": mask} if mask else {})
    status, told, png = served.post_form(image, **asked)
    assert (status, told) == (200, {})
    assert png == expected(served.model, image, ASKED[kind], mask=mask)
    assert served.post_json(image, **asked) == (200, {"image": base64.b64encode(png).decode(), "warnings": []})
    fields = served.model.contract.result
    shown = Image.open(io.BytesIO(png))
    ratio = fields.ratio
    assert shown.size == (-(-21 * ratio.numerator // ratio.denominator), -(-18 * ratio.numerator // ratio.denominator))
    assert shown.mode == {1: "L", 3: "RGB", 4: "RGBA"}[4 if kind == "alpha" else fields.channels]


def test_what_has_a_default_may_be_left_out_and_nothing_else(serve: Serve) -> None:
    image = encode_png(picture())
    assert serve("number").post_form(image)[2] == expected(serve("number").model, image, {"sigma": 25})
    assert serve("number").post_json(image)[0] == 200
    for kind, asked, name in (
        ("label number", {"style": "sketch"}, "strength"),
        ("vector", {}, "code"),
        ("color", {"sigma": 1}, "color"),
        ("mask in", {}, "mask"),
    ):
        status, told = serve(kind).post_json(image, **asked)
        assert (status, told["code"], told["detail"]) == (422, "field", f"'{name}': Field required")
        status, told, _ = serve(kind).post_form(image, **asked)
        assert (status, told["code"]) == (422, "field")
        assert f"'{name}'" in told["detail"]


@pytest.mark.parametrize(
    ("kind", "asked", "code", "said"),
    [
        ("plain", {"color": "red"}, "field", "'color': Extra inputs are not permitted"),
        ("plain", {"background": "transparent"}, "field", "'background'"),
        ("plain", {"result_as": "alpha"}, "field", "'result_as'"),
        ("plain", {"mask": b"x"}, "field", "'mask'"),
        ("number", {"sigma": 99}, "field", "sigma is "),
        ("number", {"sigma": -0.5}, "field", "expected a number from 0 to 75"),
        ("label number", {"style": "cubism", "strength": 0.5}, "field", "not one of its 3 labels"),
        ("vector", {"code": [1.0, 2.0]}, "field", "code"),
        ("vector", {"code": [1.0, 2.0, 1e300]}, "field", "code is "),
        ("color", {"color": "nocolor"}, "color", "nocolor"),
        ("mask in", {"mask": b"no picture"}, "image", "no image of a known format"),
        (
            "mask in",
            {"mask": encode_png(picture(width=20, channels=1))},
            "image",
            "mask has 20x18 pixels, the image 21x18",
        ),
        ("fixed", {"size": "native"}, "field", "the network takes only 40x24 pixels"),
    ],
)
def test_what_is_wrong_with_a_condition_is_said(
    kind: str, asked: dict[str, Any], code: str, said: str, serve: Serve
) -> None:
    image = encode_png(picture())
    for status, told, *_ in (serve(kind).post_json(image, **asked), serve(kind).post_form(image, **asked)):
        assert (status, told["code"]) == (422, code), told
        assert said in told["detail"]


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        ("number", {"sigma": "25"}),
        ("number", {"sigma": True}),
        ("number", {"sigma": None}),
        ("number", {"sigma": 10**400}),
        ("label number", {"style": 1, "strength": 0.5}),
        ("vector", {"code": "1,2,3"}),
        ("vector", {"code": [1, 2, "3"]}),
        ("vector", {"code": [1] * 5000}),
        ("mask in", {"mask": "%%%"}),
    ],
)
def test_json_of_another_type_is_refused(kind: str, asked: dict[str, Any], serve: Serve) -> None:
    status, told = serve(kind).post_json(encode_png(picture()), **asked)
    assert (status, told["code"]) in ((422, "field"), (400, "malformed")), told


def test_the_longest_vector_is_read_to_its_last_digit(version3_of: Callable[[str], Path]) -> None:
    contract = peek_contract(version3_of("vector"))
    rule = BodyRule(replace(contract, conditions=(VectorFields(name="code", dim=MAX_VECTOR_DIM),)))
    code = np.random.default_rng(1).standard_normal(MAX_VECTOR_DIM).tolist()
    image = bytes(100_000)
    as_json = json.dumps({"code": code, "image": base64.b64encode(image).decode()}).encode()
    head = b'--b\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n'
    as_form = head % (b"code", b"", text(code)) + head % (b"image", b'; filename="x"', image) + b"--b--\r\n"
    for kind, body in ((BodyType(JSON_TYPE, b""), as_json), (BodyType(MULTIPART_TYPE, b"b"), as_form)):
        buffer = BodyBuffer(len(body))
        buffer.append(body)
        parsed = rule.parse(kind, buffer)
        assert parsed.image == image
        given_code = parsed.values["code"]
        read = given_code if isinstance(given_code, list) else [float(part) for part in given_code.split(",")]
        assert read == code


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("%%%"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("kind", "names"), [("label number", ["style", "strength"]), ("vector", ["code"]), ("mask in", ["mask"])]
)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_no_value_of_a_condition_is_an_error_of_the_service(
    kind: str, names: list[str], serve: Serve, data: st.DataObject
) -> None:
    asked = {name: data.draw(JSON_VALUES) for name in names}
    assert serve(kind).post_json(encode_png(picture()), **asked)[0] in (200, 400, 422)
    if all(isinstance(one, str | int | float) for one in asked.values()):
        texts = {name: str(one).encode("utf-8", "replace").decode() for name, one in asked.items()}
        assert serve(kind).post_form(encode_png(picture()), **texts)[0] in (200, 400, 422)


def test_a_mask_is_the_answer_or_the_alpha_of_the_image(serve: Serve) -> None:
    served, image = serve("mask out"), encode_png(picture())
    for fields, as_alpha in (({}, False), ({"result_as": "result"}, False), ({"result_as": "alpha"}, True)):
        assert served.post_form(image, **fields)[2] == expected(served.model, image, {}, as_alpha=as_alpha)


def test_the_network_sees_the_image_at_the_size_that_is_asked_for(serve: Serve) -> None:
    served, image = serve("plain"), encode_png(picture(50, 30))
    for size in ("auto", "fit", "native"):
        assert served.post_form(image, size=size)[2] == expected(served.model, image, {}, size=size)
    assert served.post_form(image)[2] == expected(served.model, image, {}, size="native")


def test_neither_a_canvas_nor_a_result_takes_more_than_it_may(serve: Serve) -> None:
    image = encode_png(picture(40, 30))
    status, told = serve("plain", max_native_pixels=1000).post_json(image)
    assert (status, told["code"]) == (422, "image")
    assert "a canvas of 40x32 pixels, more than the 1000 that size native allows" in told["detail"]
    assert serve("plain", max_native_pixels=1000).post_json(image, size="fit")[0] == 200
    status, told = serve("x2", max_pixels=4000).post_json(image)
    assert (status, told["code"]) == (422, "image")
    assert "2 times the image's 40x30 pixels, more than 4000" in told["detail"]


def test_two_large_pictures_in_json_are_read_whole(serve: Serve) -> None:
    served = serve("mask in")
    image, mask = encode_png(picture(300, 200)), encode_png(picture(300, 200, 1, seed=4))
    assert min(len(image), len(mask)) > 50_000
    _, told = served.post_json(image, mask=mask)
    assert base64.b64decode(told["image"]) == expected(served.model, image, {}, mask=mask)


def test_the_description_follows_from_the_contract(serve: Serve) -> None:
    def schemas(kind: str) -> dict[str, dict[str, Any]]:
        described = json.loads(serve(kind).app.ask("GET", "/openapi.json")[2])
        content = described["paths"]["/infer"]["post"]["requestBody"]["content"]
        return {name: one["schema"] for name, one in content.items()}

    for kind, asked in ASKED.items():
        pictures = {"mask"} if kind == "mask in" else set()
        for schema in schemas(kind).values():
            assert set(schema["properties"]) >= {"image", "size", *asked, *pictures}
            assert schema["additionalProperties"] is False
            assert set(schema["required"]) == {"image", *(name for name in asked if name != "sigma"), *pictures}
    number = schemas("number")["application/json"]["properties"]["sigma"]
    assert (number["type"], number["minimum"], number["maximum"], number["default"]) == ("number", 0, 75, 25)
    label = schemas("label number")["application/json"]["properties"]["style"]
    assert label["enum"] == ["sketch", "ukiyo-e", "van gogh"]
    form, in_json = (
        schemas("vector")[kind]["properties"]["code"] for kind in ("multipart/form-data", "application/json")
    )
    assert (form["type"], in_json["type"], in_json["minItems"], in_json["maxItems"]) == ("string", "array", 3, 3)
    mask = schemas("mask in")["multipart/form-data"]["properties"]["mask"]
    assert (mask["type"], mask["format"]) == ("string", "binary")
    assert "result_as" in schemas("mask out")["application/json"]["properties"]


def test_info_has_the_contract_without_its_golden_sample(serve: Serve) -> None:
    info = json.loads(serve("label number").app.ask("GET", "/info")[2])
    assert [one["name"] for one in info["contract"]["conditions"]] == ["style", "strength"]
    assert "golden" not in info["contract"]
