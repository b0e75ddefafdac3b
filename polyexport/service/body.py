"""The body of a request to /infer: what it may contain, and how it is read into its fields and its pictures.

Its fields follow from the contract of the model: one for each condition, by its name, and those that say how the image
is placed and what becomes of the result.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote_plus

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from polyexport.errors import reason_of
from polyexport.model.conditions.color_condition import ColorCondition
from polyexport.model.conditions.condition import Condition
from polyexport.model.conditions.fields import LabelFields, NumberFields, VectorFields
from polyexport.model.contract import IMAGE_INPUT, Contract
from polyexport.pipeline.finishing import Background, Finishing, ResultAs
from polyexport.service.body_buffer import BodyBuffer
from polyexport.service.form import parse_form, parse_parameters
from polyexport.service.long_json import MAX_SHORT_BYTES, decode_base64, long_string, read_short_json, split_json
from polyexport.service.problems import ProblemError
from polyexport.storage.strict_json import RepeatedMemberError

__all__ = ["JSON_TYPE", "MULTIPART_TYPE", "BodyRule", "BodyType", "InferRequest", "body_type"]

JSON_TYPE = "application/json"
MULTIPART_TYPE = "multipart/form-data"
_MAX_TEXT_LENGTH = 200
_MAX_NUMBER_LENGTH = 32  # characters of one number of a vector, and of what separates it from the next
_MAX_FORM_PARTS = 9
_UTF8_BYTES = 4  # the most for one character
_CHARSETS = (b"utf-8", b"utf8", b"us-ascii")
_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,60}/[a-z0-9!#$&^_.+-]{1,60}")


@dataclass(frozen=True, slots=True)
class BodyType:
    """Type of a request's body, from the request's headers."""

    media_type: str
    """``MULTIPART_TYPE`` or ``JSON_TYPE``."""

    boundary: bytes
    """Boundary of a form; empty for JSON."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InferRequest:
    """A request for one result, whose body was read."""

    image: bytes
    """The image file."""

    pictures: tuple[bytes, ...]
    """The file of each condition that is a second picture, in the order of the contract."""

    values: Mapping[str, Any]
    """Values of the other conditions by their names, as they were sent; those that were left out are missing."""

    size: Literal["auto", "fit", "native"]
    finishing: Finishing


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


class BodyRule:
    """Rule for the body of a request: the fields and pictures that one model takes."""

    def __init__(self, contract: Contract) -> None:
        conditions = contract.built_conditions()
        self._values = {_field_name(condition): condition for condition in conditions if condition.textual}
        self._pictures = {condition.name: condition for condition in conditions if not condition.textual}
        self._files = (IMAGE_INPUT, *self._pictures)
        dims = [fields.dim for fields in contract.conditions if isinstance(fields, VectorFields)]
        self._further_values = sum(dims) + len(conditions)
        self._max_short_bytes = MAX_SHORT_BYTES + _MAX_NUMBER_LENGTH * sum(dims)
        options = _options(contract)
        self._form = self._model("RequestFields", options, {name: _text(one) for name, one in self._values.items()})
        values = {name: _json(one) for name, one in self._values.items()}
        files = {name: _file(name, self._pictures.get(name)) for name in self._files}
        self._json = self._model("JsonRequestFields", options, values | files)

    @staticmethod
    def _model(title: str, options: dict[str, Any], fields: dict[str, Any]) -> type[BaseModel]:
        """Make a model whose fields have aliases, because a condition may be called as pydantic's own methods are."""
        named = {f"field_{number}": one for number, one in enumerate((fields | options).values())}
        made: type[BaseModel] = create_model(title, __config__=ConfigDict(extra="forbid"), **named)
        return made

    def schema(self) -> dict[str, Any]:
        """Describe the body of a request for OpenAPI."""
        in_json = self._json.model_json_schema()
        properties = dict(in_json["properties"])
        for name in self._files:
            what = properties[name]["description"].replace(", in base64", "")
            properties[name] = {"type": "string", "format": "binary", "description": what}
        for name, condition in self._values.items():
            if isinstance(condition.fields, VectorFields):
                properties[name] = {"type": "string", "description": f"{condition.describe()}, with commas"}
        ordered = {name: properties[name] for name in (IMAGE_INPUT, *properties)}
        in_form = in_json | {"title": "RequestFields", "properties": ordered}
        return {"required": True, "content": {MULTIPART_TYPE: {"schema": in_form}, JSON_TYPE: {"schema": in_json}}}

    def parse(self, kind: BodyType, body: BodyBuffer) -> InferRequest:
        """Parse a whole body. A large one may take 0.2 s of CPU time, so a thread calls it, not the event loop.

        Args:
            kind: the type of the body.
            body: the body, whose memory is given back.

        Raises:
            ProblemError: the body cannot be read, or has missing, unknown or wrong fields.
        """
        with body, body.view() as view:
            if kind.media_type == MULTIPART_TYPE:
                return self._parse_form(view, kind.boundary)
            return self._parse_json(view)

    def _parse_form(self, body: memoryview, boundary: bytes) -> InferRequest:
        fields: dict[str, str] = {}
        files: dict[str, slice] = {}
        try:
            for part in parse_form(body, boundary, max_parts=_MAX_FORM_PARTS + len(self._values | self._pictures)):
                if part.name in fields or part.name in files:
                    raise ProblemError("field", f"{part.name[:_MAX_TEXT_LENGTH]!r} is given twice")
                if part.is_file and part.name in self._files:
                    files[part.name] = slice(part.start, part.end)
                elif part.is_file:
                    allowed = " and ".join(map(repr, self._files))
                    raise ProblemError(
                        "field", f"{part.name[:_MAX_TEXT_LENGTH]!r} is a file; only {allowed} may be one"
                    )
                elif part.end - part.start > _UTF8_BYTES * self._longest_text(part.name):
                    raise ProblemError("field", f"{part.name[:_MAX_TEXT_LENGTH]!r} is too long")
                else:
                    fields[part.name] = bytes(body[part.start : part.end]).decode("utf-8")
        except UnicodeDecodeError as error:
            raise ProblemError("malformed", "a field of the form is not UTF-8") from error
        except ValueError as error:
            raise ProblemError("malformed", str(error)) from error
        missing = [name for name in self._files if name not in files]
        if missing:
            raise ProblemError("field", f"there is no file {missing[0]!r}")
        return self._request(_checked(self._form, fields), [bytes(body[files[name]]) for name in self._files])

    def _longest_text(self, name: str) -> int:
        condition = self._values.get(name)
        return _longest_text(condition) if condition is not None else _MAX_TEXT_LENGTH

    def _parse_json(self, body: memoryview) -> InferRequest:
        try:
            short, long = split_json(body, most=len(self._files), max_short_bytes=self._max_short_bytes)
            value = read_short_json(short, further_values=self._further_values)
        except RepeatedMemberError as error:
            raise ProblemError("field", str(error)) from error
        except (ValueError, RecursionError) as error:
            raise ProblemError("malformed", f"the body is not valid JSON: {reason_of(error)}") from error
        if not isinstance(value, dict):
            raise ProblemError("malformed", "the body is JSON, but not an object")
        fields = _checked(self._json, value)
        slices = {long_string(number): one for number, one in enumerate(long)}
        files = []
        for name in self._files:
            try:
                if fields[name] in slices:
                    with body[slices[fields[name]]] as text:
                        files.append(decode_base64(text))
                else:
                    files.append(decode_base64(memoryview(fields[name].encode("ascii"))))
            except ValueError as error:
                raise ProblemError("field", f"{name!r} is not valid base64") from error
        return self._request(fields, files)

    def _request(self, fields: Mapping[str, Any], files: list[bytes]) -> InferRequest:
        image, *pictures = files
        values = {one.name: fields[name] for name, one in self._values.items() if name in fields}
        return InferRequest(
            image=image,
            pictures=tuple(pictures),
            values=values,
            size=fields.get("size", "auto"),
            finishing=Finishing(
                background=fields.get("background", "white"), result_as=fields.get("result_as", "result")
            ),
        )


def _field_name(condition: Condition[Any]) -> str:
    """Return the name of a condition's field; a color is ``color`` also where the graph takes an embedding of it."""
    is_color = isinstance(condition, ColorCondition) and not condition.fields.name
    return "color" if is_color else condition.name


def _longest_text(condition: Condition[Any]) -> int:
    fields = condition.fields
    return _MAX_NUMBER_LENGTH * fields.dim if isinstance(fields, VectorFields) else _MAX_TEXT_LENGTH


def _text(condition: Condition[Any]) -> Any:
    """Return the definition of a condition's field of a form, for pydantic."""
    default = ... if condition.default is None else None
    return str, Field(default, alias=_field_name(condition), min_length=1, max_length=_longest_text(condition))


def _json(condition: Condition[Any]) -> Any:
    """Return the definition of a condition's member of a JSON object, for pydantic."""
    name, fields = _field_name(condition), condition.fields
    default = ... if condition.default is None else condition.default
    if isinstance(fields, NumberFields):
        bounds: dict[str, Any] = {"minimum": fields.minimum, "maximum": fields.maximum}
        about = f"a number{f' of {fields.unit}' if fields.unit else ''}"
        return float, Field(default, alias=name, title=_title(name), description=about, json_schema_extra=bounds)
    if isinstance(fields, VectorFields):
        return list[float], Field(
            default if default is ... else list(default),
            alias=name,
            title=_title(name),
            description=f"a vector of {fields.dim} numbers",
            min_length=fields.dim,
            max_length=fields.dim,
        )
    about, examples = "CSS name, hex, rgb() or hsl()", ["tomato"]
    extra: dict[str, Any] = {}
    if isinstance(fields, LabelFields):
        about, examples = "one of the labels of the model", [fields.labels[0]]
        extra = {"enum": list(fields.labels)}
    return str, Field(
        default,
        alias=name,
        title=_title(name),
        min_length=1,
        max_length=_MAX_TEXT_LENGTH,
        description=about,
        examples=examples,
        json_schema_extra=extra,
    )


def _file(name: str, condition: Condition[Any] | None) -> Any:
    """Return the definition of the member of a JSON object that is a picture, for pydantic."""
    what = "the image file" if condition is None else f"{condition.describe()}; an image file"
    return str, Field(
        alias=name,
        title=_title(name),
        min_length=1,
        description=f"{what}, in base64",
        json_schema_extra={"format": "byte"},
    )


def _options(contract: Contract) -> dict[str, Any]:
    """Return the definitions of the fields that are no conditions, for pydantic."""
    size = Field(
        "auto",
        alias="size",
        title="Size",
        description="whether the network sees the image at the model's own size or at the image's size; auto is what "
        "suits the model",
    )
    options: dict[str, Any] = {"size": (Literal["auto", "fit", "native"], size)}
    result = contract.result
    if contract.color is not None and result.kind in ("picture", "fill") and result.channels == 3:
        about = "background of the colored image"
        background = Field("white", alias="background", title="Background", description=about)
        options["background"] = (Background, background)
    if result.kind == "mask" and result.can_be_alpha:
        about = "what the answer is: the mask itself, or the image with the mask as its alpha"
        result_as = Field("result", alias="result_as", title="Result As", description=about)
        options["result_as"] = (ResultAs, result_as)
    return options


def _title(name: str) -> str:
    return name.replace("_", " ").title()


def _checked(kind: type[BaseModel], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that were given, by their names."""
    try:
        return kind.model_validate(fields, strict=True).model_dump(by_alias=True, exclude_unset=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:_MAX_TEXT_LENGTH]
        raise ProblemError("field", f"{where!r}: {first['msg']}") from error
