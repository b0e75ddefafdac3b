"""The routes of the service: a request is read, decoded, run through the network, encoded and answered.

The event loop reads and writes; decoding waits in threads for processes of their own, the network runs in the
batcher's threads, and encoding in further threads.
"""

import asyncio
import base64
import json
import logging
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

import polyexport
from polyexport.errors import ColorError, PolyexportError, UsageError
from polyexport.imaging.pixels import Pixels
from polyexport.model.canvas import Canvas, CanvasRule
from polyexport.model.conditions.color_condition import ColorCondition
from polyexport.model.model import ConditionRows, Model
from polyexport.model.settings import Setting, describe_conditions, setting_from
from polyexport.pipeline.decoding.pool import DecodingPool
from polyexport.pipeline.decoding.process import Decoded
from polyexport.pipeline.finishing import Finishing
from polyexport.runtime.cores import granted_cores
from polyexport.service.batcher import Batcher, NetworkError, QueueFullError, QueueTimeoutError
from polyexport.service.body import JSON_TYPE, BodyRule, BodyType, InferRequest, body_type
from polyexport.service.body_buffer import BodyBuffer
from polyexport.service.groups import Groups, attempt
from polyexport.service.metrics import Metrics
from polyexport.service.options import ServiceOptions
from polyexport.service.problems import COMMON_RESPONSES, PROBLEM_SCHEMA, RESPONSES, ProblemError

__all__ = ["INFER_PATH", "Routes"]

INFER_PATH = "/infer"
_CLIENT_GONE_STATUS = 499  # nginx's status for clients that close their connection before the answer
_MAX_TITLE_LENGTH = 200

_SHORT_BODY_BYTES = 64 * 1024
"""Largest body that the event loop parses itself. A form of this size takes 0.2 ms, less than the way to a thread and
back, where both wait for the interpreter's lock; the slowest body that was tried took 5 ms."""

_MAX_GROUP = 8
"""Largest number of requests that are decoded or encoded together."""

_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Order:
    """A request that was read and decoded: what the network gets, and what becomes of its output."""

    canvas: Canvas
    rows: ConditionRows
    setting: Setting
    finishing: Finishing
    warnings: tuple[str, ...]


class Routes:
    """The routes of one service, and the answers to its errors."""

    def __init__(
        self, model: Model, decoding_pool: DecodingPool, batcher: Batcher, metrics: Metrics, options: ServiceOptions
    ) -> None:
        """Prepare the routes, and start their threads.

        Args:
            model: the loaded model, for its contract and for reading colors; its session is the batcher's.
            decoding_pool: processes that decode the images of requests.
            batcher: calls the network.
            metrics: counters that /metrics shows.
            options: the service's options.
        """
        self._model = model
        self._decoding_pool = decoding_pool
        self._batcher = batcher
        self._metrics = metrics
        self._options = options
        self._limits = options.limits
        self._body_rule = BodyRule(model.contract)
        self._colors = any(isinstance(condition, ColorCondition) for condition in model.conditions)
        # One thread parses large bodies: the event loop needs the interpreter's lock as well.
        self._parsing_thread = ThreadPoolExecutor(1, thread_name_prefix="parse")
        # Two pools: slow decoding of some images does not hold up the encoding of others.
        self._decoding: Groups[tuple[InferRequest, CanvasRule], _Order] = Groups(
            self._decode, threads=decoding_pool.jobs, most=_MAX_GROUP, name="decode"
        )
        self._encoding: Groups[tuple[_Order, Pixels, bool], bytes] = Groups(
            self._encode, threads=granted_cores(), most=_MAX_GROUP, name="encode"
        )

    @property
    def purpose(self) -> str:
        """Purpose of the service, in a sentence."""
        return "Fills outline drawings with a color." if self._colors else "Runs a model on images."

    def add_to(self, app: FastAPI) -> None:
        """Register the routes and the handlers of errors."""
        app.add_api_route(
            INFER_PATH, self.infer, methods=["POST"], openapi_extra={"requestBody": self._body_rule.schema()},
            responses=_infer_responses(self._about_result()), response_class=Response,
            summary="Color one image" if self._colors else "Run the model on one image",
            description=f"The model takes {describe_conditions(self._model.conditions)}.",
        )  # fmt: skip
        plain = {"content": {"text/plain": {"schema": {"type": "string"}}}}
        problem = {"description": "Not ready", "content": {"application/problem+json": {"schema": PROBLEM_SCHEMA}}}
        app.add_api_route("/health", self.health, response_class=Response, summary="Whether the service can answer",
                          responses={200: plain, 503: problem, **COMMON_RESPONSES})  # fmt: skip
        app.add_api_route("/info", self.info, summary="The model, its contract, and the limits of a request",
                          responses=COMMON_RESPONSES)  # fmt: skip
        app.add_api_route("/metrics", self.metrics, response_class=Response, summary="Metrics for Prometheus",
                          responses={200: plain, **COMMON_RESPONSES})  # fmt: skip
        app.add_exception_handler(ProblemError, self._problem)
        app.add_exception_handler(StarletteHTTPException, self._http_error)
        app.add_exception_handler(Exception, self._bug)

    async def infer(self, request: Request) -> Response:
        """Run the model on one image: a form is answered with a PNG file, JSON with JSON."""
        kind = body_type(request)
        try:
            order = await self._read(request, kind)
            work = self._batcher.submit(order.canvas, order.rows, self._model.fill_color(order.setting))
            output = await _while_connected(request, work)
        except ClientDisconnect:
            return Response(status_code=_CLIENT_GONE_STATUS)  # nobody reads it, but the metrics count it
        except QueueFullError as error:
            raise ProblemError("busy", "the queue of the network is full") from error
        except QueueTimeoutError as error:
            raise ProblemError(
                "late", f"the request waited more than {self._options.grace_s:g} s for the network"
            ) from error
        except NetworkError as error:
            raise ProblemError("network", str(error)) from error
        is_json = kind.media_type == JSON_TYPE
        answer = await self._encoding.submit((order, output, is_json))
        return Response(answer, media_type=JSON_TYPE if is_json else "image/png")

    async def _read(self, request: Request, kind: BodyType) -> _Order:
        """Read, parse and decode a request; when the canvas is there, nothing else of the body takes memory."""
        loop = asyncio.get_running_loop()
        declared = request.headers.get("content-length")
        with BodyBuffer(int(declared) if declared else self._limits.max_bytes) as body:
            async for chunk in request.stream():
                body.append(chunk)
            short = body.size <= _SHORT_BODY_BYTES
            if short:
                parsed = self._body_rule.parse(kind, body)
            else:
                parsed = await loop.run_in_executor(self._parsing_thread, self._body_rule.parse, kind, body)
        rule = self._canvas_rule(parsed)
        # What is large may take long, and would hold up what is decoded with it.
        return await self._decoding.submit((parsed, rule), kind=rule if short else object())

    def _decode(self, requests: Sequence[tuple[InferRequest, CanvasRule]]) -> list[_Order | Exception]:
        """Decode the images of requests that have one rule for the canvas."""
        rule = requests[0][1]
        settings = [attempt(self._setting, request) for request, _ in requests]
        right = [
            request for (request, _), setting in zip(requests, settings, strict=True) if isinstance(setting, Setting)
        ]
        decoded = iter(
            self._decoding_pool.decode_all(
                [request.image for request in right],
                rule,
                pictures=[request.pictures for request in right],
                picture_rules=self._model.picture_rules(rule),
            )
        )
        return [
            attempt(self._order, request, rule, setting, next(decoded)) if isinstance(setting, Setting) else setting
            for (request, _), setting in zip(requests, settings, strict=True)
        ]

    def _setting(self, request: InferRequest) -> Setting:
        try:
            setting = setting_from(self._model.conditions, request.values)
            self._model.recipe_of(setting)  # raises for a color that the model does not know
        except ColorError as error:
            raise ProblemError("color", str(error)) from error
        except UsageError as error:
            raise ProblemError("field", str(error)) from error
        return setting

    def _order(self, request: InferRequest, rule: CanvasRule, setting: Setting, decoded: Decoded) -> _Order:
        if decoded.canvas is None:
            raise ProblemError("image", decoded.reason)
        self._check_size(decoded.canvas, rule)
        return _Order(
            canvas=decoded.canvas,
            rows=self._model.rows_of(setting, decoded.pictures),
            setting=setting,
            finishing=request.finishing,
            warnings=decoded.warnings,
        )

    def _canvas_rule(self, request: InferRequest) -> CanvasRule:
        try:
            return self._model.contract.canvas_rule(request.size, keep_original=request.finishing.as_alpha)
        except UsageError as error:
            raise ProblemError("field", str(error)) from error

    def _check_size(self, canvas: Canvas, rule: CanvasRule) -> None:
        """Refuse an image that would take more memory than one request may.

        Raises:
            ProblemError: the canvas at the image's own size, or the result, is too large.
        """
        height, width = canvas.pixels.shape[:2]
        if rule.mode == "native" and height * width > self._limits.max_native_pixels:
            raise ProblemError(
                "image",
                f"the image takes a canvas of {width}x{height} pixels, more than the {self._limits.max_native_pixels} "
                "that size native allows; send a smaller image, or size fit",
            )
        ratio = self._model.contract.result.ratio
        if canvas.height * canvas.width * ratio**2 > self._limits.max_pixels:
            raise ProblemError(
                "image",
                f"the result would have {ratio} times the image's {canvas.width}x{canvas.height} pixels, more than "
                f"{self._limits.max_pixels} pixels; send a smaller image",
            )

    def _encode(self, results: Sequence[tuple[_Order, Pixels, bool]]) -> list[bytes | Exception]:
        return [attempt(self._encode_one, *result) for result in results]

    def _encode_one(self, order: _Order, output: Pixels, is_json: bool) -> bytes:
        """Encode the result as a PNG file, or with warnings as the JSON text of an answer."""
        png = order.finishing.encode(self._model, order.canvas, output, order.setting).data
        if not is_json:
            return png
        return b'{"image":"%b","warnings":%b}' % (base64.b64encode(png), json.dumps(order.warnings).encode())

    def _about_result(self) -> str:
        result = self._model.contract.result
        what = "The colored image" if self._colors else f"The {result.kind}"
        return f"{what}, of the size of the given one{'' if result.scale == '1' else f' times {result.scale}'}"

    async def health(self) -> Response:
        """Say whether the service can answer."""
        if self._batcher.is_running:
            return Response("ok", media_type="text/plain")
        raise ProblemError("not_ready", "a thread that calls the network has ended; start the service again")

    async def info(self) -> dict[str, Any]:
        """Describe the model, its contract, and the limits of a request."""
        contract = json.loads(self._model.contract.to_json())
        contract.pop("golden", None)
        for entries in (contract, *contract.get("conditions", ())):
            if entries.get("embedding"):
                entries["embedding"] = {"dim": entries["embedding"]["dim"]}
        return {
            "model": self._options.model.name,
            "sha256": self._model.sha256,
            "execution_provider": self._model.session.execution_provider,
            "max_batch_size": self._options.max_batch_size,
            "version": polyexport.__version__,
            "limits": asdict(self._limits),
            "contract": contract,
        }

    async def metrics(self) -> Response:
        """Give the metrics in Prometheus's text format."""
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4")

    async def _problem(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, ProblemError)
        return self._failed(request, error.status, error.body(), error.headers)

    async def _http_error(self, request: Request, error: Exception) -> Response:
        """Answer an error that FastAPI raised, such as an unknown path."""
        assert isinstance(error, StarletteHTTPException)
        title = str(error.detail)[:_MAX_TITLE_LENGTH]
        code = {404: "not_found", 405: "method", 500: "internal"}.get(error.status_code, "http")
        body = {"type": "about:blank", "title": title, "status": error.status_code, "detail": title, "code": code}
        return self._failed(request, error.status_code, body, error.headers)

    async def _bug(self, request: Request, error: Exception) -> Response:
        logging.getLogger(__name__).error("%r failed", request.scope["path"], exc_info=error)
        detail = error.message if isinstance(error, PolyexportError) else "see the log of the service"
        problem = ProblemError("internal", detail)
        return self._failed(request, problem.status, problem.body())

    def _failed(
        self, request: Request, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> Response:
        if request.scope["path"] == INFER_PATH and request.method == "POST":  # the requests that the metrics count
            self._metrics.failures.labels(body["code"]).inc()
        return JSONResponse(body, status, dict(headers or {}), media_type="application/problem+json")


async def _while_connected(request: Request, work: Coroutine[Any, Any, _Result]) -> _Result:
    """Await ``work``, or cancel it when the client closes its connection first.

    Raises:
        ClientDisconnect: the client has closed its connection.
    """
    working = asyncio.create_task(work)
    disconnect = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait((working, disconnect), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        disconnect.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _infer_responses(about: str) -> dict[int | str, dict[str, Any]]:
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
    return {200: {"description": about, "content": content}, **RESPONSES}
