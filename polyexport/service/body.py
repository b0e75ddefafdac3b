"""The body of a request to /infer: what it may contain, and how it is read into its fields and its image."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar
from urllib.parse import unquote_plus

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from polyexport.errors import reason_of
from polyexport.service.body_buffer import BodyBuffer
from polyexport.service.form import parse_form, parse_parameters
from polyexport.service.long_json import LONG_STRING, decode_base64, read_short_json, split_json
from polyexport.service.problems import ProblemError
from polyexport.storage.strict_json import RepeatedMemberError

__all__ = ["JSON_TYPE", "MULTIPART_TYPE", "BodyType", "RequestFields", "body_schema", "body_type", "parse_body"]

JSON_TYPE = "application/json"
MULTIPART_TYPE = "multipart/form-data"
_MAX_TEXT_LENGTH = 200
_MAX_FORM_PARTS = 9
_MAX_FORM_TEXT_BYTES = 4 * _MAX_TEXT_LENGTH
_CHARSETS = (b"utf-8", b"utf8", b"us-ascii")
_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,60}/[a-z0-9!#$&^_.+-]{1,60}")

_Fields = TypeVar("_Fields", bound="RequestFields")


@dataclass(frozen=True, slots=True)
class BodyType:
    """Type of a request's body, from the request's headers."""

    media_type: str
    """``MULTIPART_TYPE`` or ``JSON_TYPE``."""

    boundary: bytes
    """Boundary of a form; empty for JSON."""


class RequestFields(BaseModel):
    """Fields of a request for one colored image."""

    model_config = ConfigDict(extra="forbid")

    color: str = Field(
        min_length=1, max_length=_MAX_TEXT_LENGTH, description="CSS name, hex, rgb() or hsl()", examples=["tomato"]
    )
    size: Literal["fit", "native"] = Field(
        "fit", description="whether the network sees the image at the model's own size or at the image's size"
    )
    background: Literal["white", "transparent"] = Field("white", description="background of the colored image")


class JsonRequestFields(RequestFields):
    """Fields of a request for one colored image, with the image itself."""

    image: str = Field(min_length=1, description="the image file, in base64", json_schema_extra={"format": "byte"})


def body_type(request: Request) -> BodyType:
    """Read the type of a request's body, before the body is read.

    Raises:
        ProblemError: the headers name another type, another charset or an encoding, or the request has a query.
    """
    if request.scope["query_string"]:
        name = unquote_plus(request.scope["query_string"].decode("latin-1").partition("=")[0])
        raise ProblemError("field", f"{name[:_MAX_TEXT_LENGTH]!r} is in the query; fields belong in the body")
    encodings = {value.strip().lower() for value in request.headers.getlist("content-encoding")}
    if encodings - {"identity"}:
        raise ProblemError("unsupported", "the body has a Content-Encoding; send it without")
    types = request.headers.getlist("content-type")
    if len(types) > 1:
        raise ProblemError("malformed", "the request has more than one Content-Type")
    given = types[0] if types else ""
    media_type = given.partition(";")[0].strip().lower()
    if media_type not in (MULTIPART_TYPE, JSON_TYPE):
        named = media_type if _MEDIA_TYPE.fullmatch(media_type) else "malformed" if media_type else "missing"
        raise ProblemError("unsupported", f"the content type is {named}; send {MULTIPART_TYPE} or {JSON_TYPE}")
    try:
        parameters = parse_parameters(given.encode("latin-1"))
    except ValueError as error:
        raise ProblemError("malformed", f"Content-Type: {error}") from error
    if parameters.get(b"charset", b"utf-8").lower() not in _CHARSETS:
        raise ProblemError("unsupported", "the content type has another charset than utf-8; send utf-8")
    if media_type == MULTIPART_TYPE and b"boundary" not in parameters:
        raise ProblemError("malformed", "the content type has no boundary")
    return BodyType(media_type, parameters.get(b"boundary", b""))


def parse_body(kind: BodyType, body: BodyBuffer) -> tuple[RequestFields, bytes]:
    """Parse a whole body. It may take 0.2 s of CPU time, so a thread calls it, not the event loop.

    Args:
        kind: the type of the body.
        body: the body, whose memory is given back.

    Returns:
        The checked fields, and the bytes of the image file.

    Raises:
        ProblemError: the body cannot be read, or has missing, unknown or wrong fields.
    """
    with body, body.view() as view:
        return _parse_form(view, kind.boundary) if kind.media_type == MULTIPART_TYPE else _parse_json(view)


def _parse_form(body: memoryview, boundary: bytes) -> tuple[RequestFields, bytes]:
    fields: dict[str, str] = {}
    image: slice | None = None
    try:
        parts = parse_form(body, boundary, max_parts=_MAX_FORM_PARTS)
        for part in parts:
            if part.name in fields or (part.name == "image" and image is not None):
                raise ProblemError("field", f"{part.name[:_MAX_TEXT_LENGTH]!r} is given twice")
            if part.is_file and part.name == "image":
                image = slice(part.start, part.end)
            elif part.is_file:
                raise ProblemError("field", f"{part.name[:_MAX_TEXT_LENGTH]!r} is a file; only 'image' may be one")
            elif part.end - part.start > _MAX_FORM_TEXT_BYTES:
                raise ProblemError("field", f"{part.name[:_MAX_TEXT_LENGTH]!r} is too long")
            else:
                fields[part.name] = bytes(body[part.start : part.end]).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ProblemError("malformed", "a field of the form is not UTF-8") from error
    except ValueError as error:
        raise ProblemError("malformed", str(error)) from error
    if image is None:
        raise ProblemError("field", "there is no file 'image'")
    return _checked(RequestFields, fields), bytes(body[image])


def _parse_json(body: memoryview) -> tuple[RequestFields, bytes]:
    try:
        short, long = split_json(body)
        value = read_short_json(short)
    except RepeatedMemberError as error:
        raise ProblemError("field", str(error)) from error
    except (ValueError, RecursionError) as error:
        raise ProblemError("malformed", f"the body is not valid JSON: {reason_of(error)}") from error
    if not isinstance(value, dict):
        raise ProblemError("malformed", "the body is JSON, but not an object")
    fields = _checked(JsonRequestFields, value)
    try:
        if long is not None and fields.image == LONG_STRING:
            with body[long] as text:
                return fields, decode_base64(text)
        return fields, decode_base64(memoryview(fields.image.encode("ascii")))
    except ValueError as error:
        raise ProblemError("field", "'image' is not valid base64") from error


def _checked(kind: type[_Fields], fields: Mapping[str, Any]) -> _Fields:
    try:
        return kind.model_validate(fields, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:_MAX_TEXT_LENGTH]
        raise ProblemError("field", f"{where!r}: {first['msg']}") from error


def body_schema() -> dict[str, Any]:
    """Describe the body of a request for OpenAPI."""
    fields, with_image = RequestFields.model_json_schema(), JsonRequestFields.model_json_schema()
    file = {"type": "string", "format": "binary", "description": "the image file"}
    multipart = {**fields, "properties": {"image": file, **fields["properties"]}, "required": ["image", "color"]}
    return {"required": True, "content": {MULTIPART_TYPE: {"schema": multipart}, JSON_TYPE: {"schema": with_image}}}
