"""Bodies of every kind against the application: whatever a client sends, the answer is not an error of the service."""

import base64
import encodings.aliases
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

IMAGE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAADklEQVR4nGP4DwUMlDEA98A/wbI0QbsAAAAASUVORK5CYII="
)
FORM = (
    b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + IMAGE
    + b'\r\n--b\r\nContent-Disposition: form-data; name="color"\r\n\r\nred\r\n--b--\r\n'
)  # fmt: skip
FORM_TYPE = b"multipart/form-data; boundary=b"
JSON = json.dumps({"image": base64.b64encode(IMAGE).decode(), "color": "red"}).encode()

HEADER_VALUES = st.text(st.characters(max_codepoint=255, exclude_characters="\0\r\n"), max_size=30).map(
    lambda text: text.encode("latin-1").strip()
)
QUERIES = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=9).map(str.encode)
CHARSETS = st.sampled_from([*encodings.aliases.aliases.values(), "undefined", "punycode", "idna", "utf-8", "no-such"])


def post(app: Any, body: bytes, *headers: tuple[bytes, bytes], query: bytes = b"") -> tuple[int, dict[str, Any]]:
    status, told, answer = app.ask("POST", "/infer", headers, body, query)
    assert status < 500, answer
    return status, json.loads(answer) if "json" in told["content-type"] else {}


def test_both_kinds_of_body_are_answered(app: Any) -> None:
    assert post(app, FORM, (b"content-type", FORM_TYPE))[0] == 200
    assert post(app, FORM, (b"content-type", FORM_TYPE.upper()[:-1] + b'"b"; charset="UTF-8"'))[0] == 200
    status, answer = post(app, JSON, (b"content-type", b"application/json; charset=utf-8"))
    assert (status, answer["warnings"]) == (200, [])


def test_a_large_body_is_read_whole(app: Any) -> None:
    image = IMAGE + bytes(200_000)  # bytes behind the end of a PNG file are allowed
    body = json.dumps({"image": base64.b64encode(image).decode(), "color": "red"}).encode()
    assert post(app, body, (b"content-type", b"application/json"))[0] == 200
    status, answer = post(
        app, body.replace(b'"color": "red"', b'"size": "fit"'), (b"content-type", b"application/json")
    )
    assert (status, answer["detail"]) == (422, "'color': Field required")


@given(CHARSETS, st.sampled_from([(FORM, FORM_TYPE), (JSON, b"application/json")]))
def test_no_charset_is_an_error_of_the_service(app: Any, charset: str, sent: tuple[bytes, bytes]) -> None:
    body, kind = sent
    status, answer = post(
        app, body.replace(b"red", b"a.\xff-b"), (b"content-type", kind + b"; charset=%b" % charset.encode())
    )
    assert (status, answer["code"]) in ((415, "unsupported"), (400, "malformed"))


@given(st.data())
def test_no_header_is_an_error_of_the_service(app: Any, data: st.DataObject) -> None:
    garbage = data.draw(HEADER_VALUES)
    kind = data.draw(st.sampled_from([FORM_TYPE, b"application/json", b"multipart/form-data", b"a/b", b""]))
    parameter = data.draw(st.sampled_from([b"", b";", b"; charset=", b"; boundary=", b';boundary="', b"; ", b'; x="']))
    others = [
        b"accept",
        b"accept-encoding",
        b"content-encoding",
        b"transfer-encoding",
        b"expect",
        b"range",
        b"content-type",
    ]
    name = data.draw(st.sampled_from([*others, b"if-match", b"upgrade", b"cookie", b"forwarded", b"x-forwarded-for"]))
    body = data.draw(st.sampled_from([FORM, JSON, b""]))
    post(
        app,
        body,
        (b"content-type", kind + parameter + garbage),
        (name, garbage),
        query=data.draw(QUERIES),
    )
    post(app, body, (b"content-type", kind), (name, garbage))


@given(
    st.sampled_from([b"name", b"name*", b"filename", b"filename*", b"charset"]),
    st.binary(max_size=20),
    st.sampled_from([b"form-data", b"attachment", b"", b"form-data; name=color"]),
)
def test_no_part_is_an_error_of_the_service(app: Any, parameter: bytes, garbage: bytes, disposition: bytes) -> None:
    for value in (garbage, b'"' + garbage + b'"', b"UTF-8''" + garbage):
        head = b"--b\r\nContent-Disposition: " + disposition + b"; " + parameter + b"=" + value
        post(
            app,
            head + b"\r\nContent-Type: text/plain; charset=undefined\r\n\r\nred\r\n" + FORM,
            (b"content-type", FORM_TYPE),
        )


TEXTS = st.text(max_size=10) | st.sampled_from(["\ud800", "red", "a\udfff"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["image", "color", "size", "background"]) | TEXTS, VALUES, max_size=5))
def test_no_json_is_an_error_of_the_service(app: Any, members: dict[str, Any]) -> None:
    for members_or_fields in (members, {"image": base64.b64encode(IMAGE).decode(), "color": "red"} | members):
        status, _ = post(app, json.dumps(members_or_fields).encode(), (b"content-type", b"application/json"))
        assert status in (200, 400, 422)


@pytest.mark.parametrize(
    ("headers", "query", "status", "code", "detail"),
    [
        ([(b"content-type", b"application/json; charset=utf-16")], b"", 415, "unsupported", "another charset"),
        ([(b"content-type", b"application/json")] * 2, b"", 400, "malformed", "more than one Content-Type"),
        ([(b"content-type", b"application/json; a=1; a=2")], b"", 400, "malformed", "'a' twice"),
        ([(b"content-type", b"multipart/form-data")], b"", 400, "malformed", "no boundary"),
        ([(b"content-type", b"\xff")], b"", 415, "unsupported", "is malformed"),
        (
            [(b"content-type", b"application/json"), (b"content-encoding", b"gzip")],
            b"",
            415,
            "unsupported",
            "Content-Encoding",
        ),
        ([(b"content-type", b"application/json")], b"color=red&color=blue", 422, "field", "'color' is given twice"),
        ([(b"content-type", b"application/json")], b"color=red", 422, "field", "'color' is in the query"),
        ([(b"content-type", b"application/json")], b"%ff%00", 422, "field", "is in the query"),
    ],
)
def test_what_is_wrong_with_the_headers_is_said(
    app: Any, headers: list[tuple[bytes, bytes]], query: bytes, status: int, code: str, detail: str
) -> None:
    told, answer = post(app, JSON, *headers, query=query)
    assert (told, answer["code"]) == (status, code)
    assert detail in answer["detail"]


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (JSON[:-1] + b', "color": "blue"}', "'color' stands twice"),
        (JSON[:-1] + b', "c\\u006flor": "blue"}', "'color' stands twice"),
        (JSON[:-1] + b', "image": "QUJD"}', "'image' stands twice"),
    ],
)
def test_a_member_is_given_once(app: Any, body: bytes, detail: str) -> None:
    status, answer = post(app, body, (b"content-type", b"application/json"))
    assert (status, answer["code"]) == (422, "field")
    assert detail in answer["detail"]


@pytest.mark.parametrize(
    ("name", "filename"), [("color", ""), ("image", '; filename="b"'), ("image", ""), ("size", "; filename=c")]
)
def test_a_field_of_a_form_is_given_once_and_only_the_image_is_a_file(app: Any, name: str, filename: str) -> None:
    again = f'--b\r\nContent-Disposition: form-data; name="{name}"{filename}\r\n\r\nfit\r\n'.encode()
    for body in (again + FORM, FORM[: -len(b"--b--\r\n")] + again + b"--b--\r\n"):
        status, answer = post(app, body, (b"content-type", FORM_TYPE))
        assert (status, answer["code"]) == (422, "field")
