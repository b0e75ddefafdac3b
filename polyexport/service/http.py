"""The routes: what a request says -> work for the model -> an answer.

This process reads requests, has their images decoded in processes of their own, and encodes the results; LitServe
carries canvases to the process that holds the model, in batches, and back.
"""

import asyncio
import base64
import binascii
import json
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import cached_property
from typing import Any, Literal, TypeVar

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

import polyexport
from polyexport.errors import ColorError, PolyexportError, UsageError
from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.matte import transparent
from polyexport.imaging.pixels import Pixels
from polyexport.model.canvas import Canvas, CanvasRule
from polyexport.model.conditions import Conditioner
from polyexport.model.contract import Contract
from polyexport.pipeline.decoding.pool import Decoders
from polyexport.runtime.cores import granted_cores
from polyexport.service.api import Colored, Work
from polyexport.service.metrics import Metrics
from polyexport.service.options import Limits
from polyexport.service.problems import PROBLEM_SCHEMA, RESPONSES, ProblemError

__all__ = ["INFER", "Routes"]

INFER = "/infer"
_MAX_TEXT = 200
_GONE = 499  # as nginx counts clients that hang up
_KINDS = "send multipart/form-data or application/json"

Kind = TypeVar("Kind", bound="Order")


class Order(BaseModel):
    """What is wanted of an image."""

    model_config = ConfigDict(extra="forbid")

    color: str = Field(
        min_length=1, max_length=_MAX_TEXT, description="CSS name, hex, rgb() or hsl()", examples=["tomato"]
    )
    size: Literal["fit", "native"] = Field("fit", description="the model's own size, or the image's")
    background: Literal["white", "transparent"] = Field("white", description="what becomes of the paper")


class JsonOrder(Order):
    """The same, with the image."""

    image: str = Field(min_length=1, description="the image file, in base64", json_schema_extra={"format": "byte"})


class Routes:
    """The routes of one service."""

    def __init__(
        self, contract: Contract, limits: Limits, metrics: Metrics, *, info: Mapping[str, Any], submit: Any, ready: Any
    ) -> None:
        """Describe them; processes and threads start with the first request, behind every fork.

        Args:
            contract: of the model.
            limits: of a request.
            metrics: that /metrics gives.
            info: that /info gives, beside the contract.
            submit: an async function, ``Work`` -> ``Colored``.
            ready: says whether the model can be called.
        """
        self._contract = contract
        self._limits = limits
        self._metrics = metrics
        self._info = info
        self._submit = submit
        self._ready = ready

    @cached_property
    def _decoders(self) -> Decoders:
        return Decoders(jobs=granted_cores(), max_pixels=self._limits.max_pixels)

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(2 * granted_cores(), thread_name_prefix="image")

    @cached_property
    def _conditioner(self) -> Conditioner:
        return Conditioner(self._contract)

    def add_to(self, app: FastAPI) -> None:
        """Register them, and what becomes of errors."""
        app.title, app.version = "polyexport", polyexport.__version__
        app.description = "Fills outline drawings with a color."
        app.add_api_route(
            INFER, self.infer, methods=["POST"], openapi_extra={"requestBody": _request_body()}, responses=_responses(),
            response_class=Response, summary="Color one image",
        )  # fmt: skip
        plain = {"content": {"text/plain": {"schema": {"type": "string"}}}}
        problem = {"description": "Not ready", "content": {"application/problem+json": {"schema": PROBLEM_SCHEMA}}}
        app.add_api_route("/health", self.health, response_class=Response, summary="Whether it can answer",
                          responses={200: plain, 503: problem})  # fmt: skip
        app.add_api_route("/info", self.info, summary="The model, its contract, and the limits of a request")
        app.add_api_route("/metrics", self.metrics, response_class=Response, summary="For Prometheus",
                          responses={200: plain})  # fmt: skip
        app.add_exception_handler(ProblemError, self._problem)
        app.add_exception_handler(StarletteHTTPException, self._http_error)
        app.add_exception_handler(Exception, self._bug)

    async def infer(self, request: Request) -> Response:
        """Color one image: multipart in, PNG out; or JSON in, JSON out."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        try:
            if kind == "multipart/form-data":
                order, data = await _multipart(request)
            elif kind == "application/json":
                order, data = _json(await request.body())
            else:
                raise ProblemError("unsupported", f"it is {kind[:_MAX_TEXT] or 'of no type'}; {_KINDS}")
        except ClientDisconnect:
            return Response(status_code=_GONE)  # for the metrics: nobody reads it
        loop = asyncio.get_running_loop()
        work, warnings = await loop.run_in_executor(self._threads, self._work, order, data)
        colored: Colored = await self._submit(work)
        if colored.batch_size:
            self._metrics.batches.observe(colored.batch_size)
        if colored.canvas is None:
            raise ProblemError("network", colored.reason)
        png = await loop.run_in_executor(self._threads, _encode, work.canvas, colored.canvas, order.background)
        if kind == "application/json":
            return JSONResponse({"image": base64.b64encode(png).decode("ascii"), "warnings": list(warnings)})
        return Response(png, media_type="image/png")

    def _work(self, order: Order, data: bytes) -> tuple[Work, tuple[str, ...]]:
        try:
            color = self._conditioner.color(order.color)
            self._conditioner.row(color)
        except ColorError as error:
            raise ProblemError("color", str(error)) from error
        decoded = self._decoders.decode(data, self._canvas_rule(order.size))
        if decoded.canvas is None:
            raise ProblemError("image", decoded.reason)
        height, width = decoded.canvas.pixels.shape[:2]
        if order.size == "native" and height * width > self._limits.max_native_pixels:
            raise ProblemError(
                "image",
                f"{width}x{height} pixels, more than the {self._limits.max_native_pixels} that may be at their own "
                "size; with size fit it may be larger",
            )
        known = order.color.strip().lower()
        return Work(decoded.canvas, known if known in self._names else color.rgb), decoded.warnings

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(name for name, _ in self._contract.palette)

    def _canvas_rule(self, size: Literal["fit", "native"]) -> CanvasRule:
        try:
            return self._contract.canvas_rule(size)
        except UsageError as error:
            raise ProblemError("field", str(error)) from error

    async def health(self) -> Response:
        """Whether it can answer."""
        if self._ready():
            return Response("ok", media_type="text/plain")
        raise ProblemError("not_ready", "the model is not loaded")

    async def info(self) -> dict[str, Any]:
        """The model, its contract, and the limits of a request."""
        contract = json.loads(self._contract.to_json())
        contract.pop("golden", None)
        if contract.get("embedding"):
            contract["embedding"] = {"dim": contract["embedding"]["dim"]}
        return {**self._info, "version": polyexport.__version__, "limits": asdict(self._limits), "contract": contract}

    async def metrics(self) -> Response:
        """For Prometheus."""
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4")

    async def _problem(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, ProblemError)
        return self._failed(request, error.status, error.body(), error.headers)

    async def _http_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, StarletteHTTPException)
        title = "The request waited too long" if error.status_code == 504 else str(error.detail)[:_MAX_TEXT]
        code = {404: "not_found", 405: "method", 500: "internal", 504: "late"}.get(error.status_code, "http")
        body = {"type": "about:blank", "title": title, "status": error.status_code, "detail": title, "code": code}
        return self._failed(request, error.status_code, body, error.headers)

    async def _bug(self, request: Request, error: Exception) -> Response:
        logging.getLogger(__name__).error("%s failed", request.url.path, exc_info=error)
        detail = error.message if isinstance(error, PolyexportError) else "see the log of the service"
        problem = ProblemError("internal", detail)
        return self._failed(request, problem.status, problem.body())

    def _failed(
        self, request: Request, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> Response:
        if request.url.path == INFER and request.method == "POST":  # what the gate counts
            self._metrics.failures.labels(body["code"]).inc()
        return JSONResponse(body, status, dict(headers or {}), media_type="application/problem+json")


def _encode(canvas: Canvas, output: Pixels, background: str) -> bytes:
    colored = canvas.restore(output)
    return encode_png(transparent(colored) if background == "transparent" else colored)


async def _multipart(request: Request) -> tuple[Order, bytes]:
    try:
        form = await request.form(max_files=1, max_fields=8)
    except StarletteHTTPException as error:  # what the parser thinks of it
        raise ProblemError("malformed", str(error.detail)[:_MAX_TEXT]) from error
    fields: dict[str, Any] = {}
    for name, value in form.multi_items():
        if name in fields:
            raise ProblemError("field", f"{name[:_MAX_TEXT]!r} is there twice")
        fields[name] = value
    image = fields.pop("image", None)
    if not isinstance(image, UploadFile):
        raise ProblemError("field", "there is no file 'image'")
    data = await image.read()
    return _checked(Order, fields), data


def _json(body: bytes) -> tuple[Order, bytes]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ProblemError("malformed", "the body is no JSON") from error
    if not isinstance(value, dict):
        raise ProblemError("malformed", "the body is JSON, but no object")
    order = _checked(JsonOrder, value)
    try:
        data = base64.b64decode(order.image, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ProblemError("field", "'image' is no base64") from error
    return order, data


def _checked(kind: type[Kind], fields: Mapping[str, Any]) -> Kind:
    try:
        return kind.model_validate(fields, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:_MAX_TEXT]
        raise ProblemError("field", f"{where!r}: {first['msg']}") from error


def _request_body() -> dict[str, Any]:
    order, with_image = Order.model_json_schema(), JsonOrder.model_json_schema()
    file = {"type": "string", "format": "binary", "description": "the image file"}
    multipart = {**order, "properties": {"image": file, **order["properties"]}, "required": ["image", "color"]}
    return {
        "required": True,
        "content": {"multipart/form-data": {"schema": multipart}, "application/json": {"schema": with_image}},
    }


def _responses() -> dict[int | str, dict[str, Any]]:
    text = {"type": "string"}
    answer = {
        "type": "object",
        "required": ["image", "warnings"],
        "properties": {"image": {"type": "string", "format": "byte"}, "warnings": {"type": "array", "items": text}},
    }
    content = {
        "image/png": {"schema": {"type": "string", "format": "binary"}},
        "application/json": {"schema": answer},
    }
    return {200: {"description": "The colored image, of the size of the one given", "content": content}, **RESPONSES}
