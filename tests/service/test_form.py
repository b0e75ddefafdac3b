"""Forms: what clients send is read as they meant it, and nothing else is read at all."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests import Request

from polyexport.service.form import parse_form, parse_parameters


def part(name: bytes, content: bytes, *, more: bytes = b"") -> bytes:
    return b'--b\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n' % (name, more, content)


def read(body: bytes, boundary: bytes = b"b") -> list[tuple[str, bool, bytes]]:
    parts = parse_form(memoryview(body), boundary, max_parts=4)
    return [(one.name, one.is_file, body[one.start : one.end]) for one in parts]


CONTENTS = st.binary(max_size=40) | st.lists(st.sampled_from([b"\r\n", b"--", b"\r", b"--b", b"x"])).map(b"".join)


@given(st.lists(st.tuples(st.sampled_from(["image", "color", "größe"]), CONTENTS), min_size=1, max_size=4))
def test_what_is_sent_is_what_is_read(fields: list[tuple[str, bytes]]) -> None:
    boundary = b"0123456789"
    body = b"".join(part(name.encode(), content) for name, content in fields) + b"--b--\r\n"
    body = body.replace(b"--b\r\nContent", b"--" + boundary + b"\r\nContent")[: -len(b"--b--\r\n")]
    body += b"--" + boundary + b"--\r\n"
    assert read(body, boundary) == [(name, False, content) for name, content in fields]


@given(st.binary(max_size=100_000), st.sampled_from(["a.png", 'a"b;c.png', "größe.png", "a\\"]))
def test_a_form_of_the_requests_library(image: bytes, filename: str) -> None:
    sent = Request("POST", "http://x", files={"image": (filename, image)}, data={"color": "#1e90ff"}).prepare()
    parameters = parse_parameters(str(sent.headers["Content-Type"]).encode())
    assert isinstance(sent.body, bytes)
    found = {name: (is_file, content) for name, is_file, content in read(sent.body, parameters[b"boundary"])}
    assert found == {"image": (True, image), "color": (False, b"#1e90ff")}


@given(st.binary(max_size=200))
def test_any_bytes_are_a_form_or_malformed(garbage: bytes) -> None:
    for body in (garbage, b"--b\r\n" + garbage, part(b"color", garbage), part(garbage, b"") + b"--b--"):
        try:
            assert all(isinstance(name, str) for name, _, _ in read(body))
        except ValueError as error:
            assert str(error)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "does not begin"),
        (b"preamble\r\n" + part(b"a", b"") + b"--b--", "does not begin"),
        (b"--b--", "no parts"),
        (part(b"a", b"1"), "no end"),
        (part(b"a", b"1") + b"--b", "not the end of a line"),
        (part(b"a", b"1\r\n--bb") + b"--b--", "not the end of a line"),
        (part(b"a", b"1")[:-2], "no end"),
        (part(b"a", b"1") * 5 + b"--b--", "more than 4 parts"),
        (b"--b\r\n\r\nx\r\n--b--", "head of a part"),
        (b"--b\r\nContent-Disposition: form-data\r\n\r\n\r\n--b--", "no name"),
        (b"--b\r\nContent-Disposition: attachment; name=a\r\n\r\n\r\n--b--", "exactly one header"),
        (b"--b\r\nContent-Type: a/b\r\n\r\n\r\n--b--", "exactly one header"),
        (part(b"a", b"", more=b"\r\nContent-Disposition: form-data; name=b") + b"--b--", "exactly one"),
        (part(b"a", b"", more=b'; name="b"') + b"--b--", "'name' twice"),
        (part(b"a", b"", more=b"; filename") + b"--b--", "malformed parameters"),
        (part(b'a"b', b"") + b"--b--", "malformed parameters"),
        (part(b"\xff", b"") + b"--b--", "utf-8"),
        (part(b"a", b"", more=b"; x=" + b"y" * 9000) + b"--b--", "too long"),
    ],
)
def test_what_is_malformed(body: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read(body)


@pytest.mark.parametrize("boundary", [b"", b"a" * 71, b"a ", b"\xff"])
def test_a_boundary_that_is_none(boundary: bytes) -> None:
    with pytest.raises(ValueError, match="1 to 70"):
        read(part(b"a", b""), boundary)


def test_spaces_behind_a_boundary_and_a_file_without_a_plain_name() -> None:
    body = b"\r\n" + part(b"image", b"1", more=b"; filename*=UTF-8''" + quote("ä").encode()).replace(
        b"b\r\n", b"b \t\r\n", 1
    )
    assert read(body + b"--b--epilogue") == [("image", True, b"1")]


@given(st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), st.text("aZ09 ;=\\\"'", max_size=9), max_size=4))
def test_parameters_are_read_with_their_escapes(sent: dict[str, str]) -> None:
    quoted = {name: value.replace("\\", "\\\\").replace('"', '\\"') for name, value in sent.items()}
    header = "a/b" + "".join(f'; {name}="{value}"' for name, value in quoted.items())
    assert parse_parameters(header.encode()) == {name.encode(): value.encode() for name, value in sent.items()}


def test_the_time_does_not_depend_on_what_is_in_a_file() -> None:
    content = b"\r\n-" * (1 << 20)
    assert read(part(b"image", content, more=b"; filename=a") + b"--b--") == [("image", True, content)]
