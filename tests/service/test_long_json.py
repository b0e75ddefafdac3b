"""JSON requests with a long string: they mean what `json.loads` reads, or are refused."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyexport.service.long_json import MAX_SHORT_BYTES, decode_base64, long_string, read_short_json, split_json

LONG = base64.b64encode(bytes(range(256)) * 400)
LONG_STRING = long_string(0)


def read(body: bytes) -> tuple[dict[str, Any], bytes]:
    """The members of a text, and its image."""
    short, cut = split_json(memoryview(body))
    members = read_short_json(short)
    if not isinstance(members, dict) or not isinstance(image := members.pop("image", None), str):
        raise ValueError  # noqa: TRY004 - refused like the rest
    if cut and image == LONG_STRING:
        return members, decode_base64(memoryview(body)[cut[0]])
    return members, decode_base64(memoryview(image.encode("ascii")))


@given(st.permutations(["image", "color", "size"]), st.sampled_from(["", "x" * 200, 'a"b\\', "ä", "\\\\"]))
def test_the_long_string_is_the_images(order: list[str], color: str) -> None:
    fields = {"image": LONG.decode(), "color": color, "size": "fit"}
    body = json.dumps({name: fields[name] for name in order}).encode()
    assert len(body) > MAX_SHORT_BYTES
    short, (long,) = split_json(memoryview(body))
    assert body[long] == LONG
    assert read_short_json(short) == fields | {"image": LONG_STRING}


@given(
    st.permutations(["image", "mask", "depth", "style", "size"]),
    st.sampled_from([b"", b"AAAA", LONG[:20_000], LONG]),
    st.sampled_from([LONG[:20_000], LONG, LONG + LONG]),
)
def test_several_strings_may_be_long(order: list[str], small: bytes, large: bytes) -> None:
    fields: dict[str, Any] = {"image": LONG.decode(), "mask": small.decode(), "depth": large.decode(), "size": "fit"}
    fields["style"] = [0.125] * 2000  # longer than some of the strings
    body = json.dumps({name: fields[name] for name in order}).encode()
    short, cut = split_json(memoryview(body), most=3)
    members = read_short_json(short, further_values=2000)
    found = {long_string(number): body[one].decode() for number, one in enumerate(cut)}
    assert {name: found.get(value, value) if name != "style" else value for name, value in members.items()} == fields


@given(st.text('"\\:,{} cL', max_size=12))
def test_a_text_is_read_as_json_reads_it_or_refused(pattern: str) -> None:
    for body in (pattern.encode().replace(b"L", LONG), b'{"image":"%b"}' % pattern.encode().replace(b"L", LONG)):
        try:
            members, image = read(body)
        except ValueError:
            continue
        expected = json.loads(body)
        assert image == base64.b64decode(expected.pop("image"), validate=True)
        assert members == expected


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'"' * 100_000,
        b'["a",' * 100_000,
        b" " * 100_000 + b"{}",
        b'{"image": "%b", "other": "%b"}' % (LONG, LONG),
        b'{"image": "%b", "color": "%b"}' % (LONG_STRING.encode(), LONG),
        b'{"color": "red"%b, "image": "QUJD"}' % (b" " * 70_000),
    ],
)
def test_nothing_else_may_be_long(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"besides the image|JSON|delimiter"):
        read_short_json(split_json(memoryview(body))[0])


@pytest.mark.parametrize("text", [b'{"a": "\\ud800"}', b'{"\\udfff": 1}', b'{"a": "\xff"}', b"[[[[[[[[[]]]]]]]]]"])
def test_what_cannot_be_written_is_not_read(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"surrogates|utf-8|more than 8"):
        read_short_json(text)


@given(st.binary(max_size=300), st.integers(1, 4))
def test_base64_is_what_the_standard_library_decodes(data: bytes, factor: int) -> None:
    data *= factor * 300  # several pieces
    plain = base64.b64encode(data)
    for text in (plain, plain.replace(b"/", b"\\/"), plain.replace(b"+", b"\\u002B").replace(b"A", b"\\u0041")):
        assert decode_base64(memoryview(text)) == data


@given(st.text("QUJD=/+ \\-\n", max_size=12).map(str.encode))
def test_what_is_not_base64_is_refused_as_the_standard_library_does(text: bytes) -> None:
    for whole in (text, b"QUJD" * 70_000 + text + b"QUJD" * 70_000):
        try:
            string = json.loads(b'"' + whole + b'"')
            if len(string) % 4:  # Python 3.11 takes "QUJD=", with padding that pads nothing
                raise ValueError("padding")  # noqa: TRY301
            expected = base64.b64decode(string, validate=True)
        except ValueError:
            with pytest.raises(ValueError, match=r".+"):
                decode_base64(memoryview(whole))
        else:
            assert decode_base64(memoryview(whole)) == expected
