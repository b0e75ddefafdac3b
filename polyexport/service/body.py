"""The body of a request to /infer: what it may contain, and how it is read into its fields and its image."""

import base64
import binascii
import json
import sys
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from polyexport.service.problems import ProblemError

__all__ = ["JSON_TYPE", "MULTIPART_TYPE", "RequestFields", "body_schema", "content_type", "read_body"]

JSON_TYPE = "application/json"
MULTIPART_TYPE = "multipart/form-data"
_MAX_TEXT_LENGTH = 200
_MAX_FORM_FIELDS = 8

_Fields = TypeVar("_Fields", bound="RequestFields")


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


class _MemoryParser(MultiPartParser):
    spool_max_size = sys.maxsize  # no upload is written to disk; the size of a body is limited before it is read


def content_type(request: Request) -> str:
    """The media type of a request's body in lowercase, without its parameters; empty if the request names none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_body(request: Request) -> tuple[RequestFields, bytes]:
    """Read the body of a request, as a form or as JSON.

    Returns:
        The checked fields, and the bytes of the image file.

    Raises:
        ProblemError: the body is of another type, cannot be read, or has missing, unknown or wrong fields.
        ClientDisconnect: the client closed its connection before the body was complete.
    """
    kind = content_type(request)
    if kind == MULTIPART_TYPE:
        return await _read_multipart(request)
    if kind == JSON_TYPE:
        return _parse_json(await request.body())
    raise ProblemError(
        "unsupported",
        f"the content type is {kind[:_MAX_TEXT_LENGTH] or 'missing'}; send {MULTIPART_TYPE} or {JSON_TYPE}",
    )


async def _read_multipart(request: Request) -> tuple[RequestFields, bytes]:
    parser = _MemoryParser(request.headers, request.stream(), max_files=1, max_fields=_MAX_FORM_FIELDS)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise ProblemError("malformed", error.message[:_MAX_TEXT_LENGTH]) from error
    fields: dict[str, Any] = {}
    for name, value in form.multi_items():
        if name in fields:
            raise ProblemError("field", f"{name[:_MAX_TEXT_LENGTH]!r} is given twice")
        fields[name] = value
    image = fields.pop("image", None)
    if not isinstance(image, UploadFile):
        raise ProblemError("field", "there is no file 'image'")
    data = await image.read()
    return _checked(RequestFields, fields), data


def _parse_json(body: bytes) -> tuple[RequestFields, bytes]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ProblemError("malformed", "the body is not valid JSON") from error
    if not isinstance(value, dict):
        raise ProblemError("malformed", "the body is JSON, but not an object")
    fields = _checked(JsonRequestFields, value)
    try:
        data = base64.b64decode(fields.image, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ProblemError("field", "'image' is not valid base64") from error
    return fields, data


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
