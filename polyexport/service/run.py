"""A service from its start to its end: LitServe's processes, and how they all end with this one.

    this process         holds the port, starts the others, hears signals
    ├── HTTP             reads, decodes (in processes of its own), encodes, answers
    ├── model            calls the network
    └── manager          LitServe's queues

Told to stop, it lets the HTTP process finish what was accepted before anything else is ended. Killed, it takes the
others along: the kernel ends each when its parent ends.
"""

import contextlib
import errno
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import util
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from typing import Any, NoReturn

import litserve as ls
from litserve.server import RegularRequestHandler

from polyexport.errors import ExitCode, PolyexportError, UsageError
from polyexport.model.contract import METADATA_KEY, Contract
from polyexport.model.model import load_model, read_model
from polyexport.runtime.onnx_bytes import metadata_props
from polyexport.service.api import ColorApi, Colored, Work, end_with_parent
from polyexport.service.connection import MAX_HEAD_BYTES, Connection
from polyexport.service.gate import Gate
from polyexport.service.http import INFER, Routes
from polyexport.service.metrics import Metrics
from polyexport.service.options import ServiceOptions

__all__ = ["serve"]

_CLOSES_S = 0.25  # uvicorn looks ten times a second whether it should stop
_SEEN_S = 1.0  # from the end of a connection to the end of its process
_LOST_ERRORS = (EOFError, OSError, RuntimeError)
_HTTP, _MODEL = "the process that answers HTTP", "the process that holds the model"
_QUEUES = "the process that holds the queues"
_END_S = 10.0  # for processes that have nothing left to do
_MEMORY = "see that there is memory for it, and start again"


@dataclass(frozen=True, slots=True)
class _Checked:
    """What a process that ends at once found out about the model: this one must stay free of its threads."""

    execution_provider: str = ""
    fallback_reason: str = ""
    sha256: str = ""
    error: str = ""
    remedy: str = ""
    exit_code: int = 0


def serve(options: ServiceOptions, *, on_ready: Callable[[str, str], None]) -> None:
    """Serve until a signal ends it.

    Args:
        options: what, where and how.
        on_ready: called with the execution provider, and why it is no better one, when requests are taken.

    Raises:
        UsageError: the port is in use.
        ModelError: a model that is refused.
        ProviderError: an execution provider that cannot be used.
        PolyexportError: one of its processes has ended.
    """
    warnings.filterwarnings("ignore", module="litserve")  # it takes a batch of one for a mistake
    _check_port(options.host, options.port)
    checked = _check_model(options)
    contract = Contract.from_json(metadata_props(read_model(options.model))[METADATA_KEY])
    server = _Server(ColorApi(options), options, lambda: on_ready(checked.execution_provider, checked.fallback_reason))
    info = {
        "model": options.model.name,
        "sha256": checked.sha256,
        "execution_provider": checked.execution_provider,
        "max_batch_size": options.max_batch_size,
    }
    server.add_routes(contract, options, info)
    util.register_after_fork(server, _in_child)
    try:
        server.run(
            host=options.host,
            port=options.port,
            num_api_servers=1,
            log_level="critical",
            generate_client_file=False,
            pretty_logs=False,
            api_server_worker_type="process",
            access_log=False,
            http=Connection,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        )
    except SystemExit as error:  # uvicorn's way to say that somebody was quicker
        _cannot_listen(options.host, options.port, os.strerror(errno.EADDRINUSE), error)
    except _LOST_ERRORS as error:
        raise PolyexportError(f"{server.lost} has ended", remedy=_MEMORY) from error
    finally:
        # At once: they would complain of what this process takes away when it ends.
        for child in multiprocessing.active_children():
            child.kill()


class _Server(ls.LitServer):  # type: ignore[misc] # litserve has no types
    """LitServe with our routes, and an end that loses nothing."""

    def __init__(self, api: ColorApi, options: ServiceOptions, on_ready: Callable[[], None]) -> None:
        super().__init__(api, accelerator="cpu", devices=1, workers_per_device=1, timeout=options.grace_s)
        self.uvicorn_graceful_timeout = options.grace_s
        self._api = api
        self._on_ready = on_ready
        self._options = options
        self.lost = _MODEL
        """What ended without being told to."""

        self._http: list[Any] = []
        self._queues: list[Any] = []
        self._manager: Any = None
        self._sockets: list[socket.socket] = []
        self._ended = False

    def register_endpoints(self) -> None:
        """None of LitServe's: what they take is not checked."""

    def add_routes(self, contract: Contract, options: ServiceOptions, info: dict[str, Any]) -> None:
        """Ours, without the pages of FastAPI that fetch their scripts from elsewhere."""
        app, metrics = self.app, Metrics()
        app.router.routes = [route for route in app.router.routes if getattr(route, "path", "") == app.openapi_url]
        routes = Routes(contract, options.limits, metrics, info=info, submit=self._submit, ready=self._ready)
        routes.add_to(app)
        app.add_middleware(Gate, path=INFER, limits=options.limits, metrics=metrics)

    async def _submit(self, work: Work) -> Colored:
        colored: Colored = await RegularRequestHandler(self._api, self).handle_request(work, Work)
        return colored

    def _ready(self) -> bool:
        return any(status == "ready" for status in map(str, self.workers_setup_status.values()))

    def _init_manager(self, num_api_servers: int) -> Any:
        before = multiprocessing.active_children()
        self._manager = super()._init_manager(num_api_servers)
        self._queues = [process for process in multiprocessing.active_children() if process not in before]
        return self._manager

    def _start_server(
        self, port: int, servers: int, log_level: str, sockets: list[socket.socket], *rest: Any, **more: Any
    ) -> Any:
        for each in sockets:
            try:
                each.listen(128)  # from here on nobody is turned away
            except OSError as error:
                _cannot_listen(self._options.host, port, error.strerror or str(error), error)
        self._sockets = sockets
        started = super()._start_server(port, servers, log_level, sockets, *rest, **more)
        self._http = list(started.values())
        threading.Thread(target=self._watch, daemon=True).start()
        self._on_ready()
        return started

    def _gone(self, timeout_s: float) -> list[str]:
        """Which of its processes have ended, or do so first: a connection to one may end a moment before it does."""
        groups = {_QUEUES: self._queues, _HTTP: self._http, _MODEL: self.inference_workers}
        by_sentinel = {process.sentinel: name for name, processes in groups.items() for process in processes}
        ended = {by_sentinel[sentinel] for sentinel in wait(list(by_sentinel), timeout_s)}
        return [name for name in groups if name in ended]

    def _watch(self) -> None:
        """LitServe looks after the process with the model alone; without one of the others it would hang."""
        wait([process.sentinel for process in (*self._http, *self._queues)])
        self._perform_graceful_shutdown(self._manager, {}, "one of its processes has ended")

    def _end_rest(self, manager: Any, workers: Any, shutdown_reason: str) -> None:
        with contextlib.suppress(EOFError, OSError):
            super()._perform_graceful_shutdown(manager, workers, shutdown_reason)

    def _perform_graceful_shutdown(self, manager: Any, workers: Any, shutdown_reason: str = "normal") -> None:
        if self._ended:  # from a thread that saw a process end, and then from the main one
            return
        self._ended = True
        error = sys.exc_info()[1]
        asked = error is not None and not isinstance(error, _LOST_ERRORS)
        gone = self._gone(0.0 if asked else _SEEN_S)
        self.lost = next(iter(gone), self.lost)
        whole = not {_MODEL, _QUEUES} & set(gone)
        for process in self._http:
            # It closes the port, answers what it has accepted, and ends; if there is somebody to ask.
            process.terminate() if whole else process.kill()
        # The other processes have copies of its port, in which connections would wait for nobody.
        time.sleep(_CLOSES_S)
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for process in self._http:
            process.join(self.uvicorn_graceful_timeout + 1)
        # In another thread: this one's connection to the manager may have been cut off in the middle of a question.
        rest = threading.Thread(target=self._end_rest, args=(manager, workers, shutdown_reason), daemon=True)
        rest.start()
        rest.join(_END_S)
        for child in multiprocessing.active_children():
            child.kill()


def _in_child(_server: object) -> None:
    """In each process that is forked from this one: end with it, and leave its signals to it."""
    end_with_parent()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as uvicorn does
        try:
            probe.bind((host, port))
        except OSError as error:
            _cannot_listen(host, port, error.strerror or str(error), error)


def _cannot_listen(host: str, port: int, reason: str, error: BaseException) -> NoReturn:
    raise UsageError(f"cannot listen on {host}:{port} ({reason})", remedy="choose another --port") from error


def _check_model(options: ServiceOptions) -> _Checked:
    context = multiprocessing.get_context("spawn")
    answer, ours = context.Pipe(duplex=False)
    process = context.Process(target=_look, args=(options, ours))
    process.start()
    ours.close()
    try:
        checked: _Checked = answer.recv()
    except EOFError as error:
        raise PolyexportError(f"loading {options.model} ended its process", remedy=_MEMORY) from error
    finally:
        process.kill()
        process.join()
    if checked.error:
        failure = PolyexportError(checked.error, remedy=checked.remedy)
        failure.exit_code = ExitCode(checked.exit_code)
        raise failure
    return checked


def _look(options: ServiceOptions, answer: "Pipe[_Checked, None]") -> None:
    end_with_parent()
    try:
        model = load_model(options.model, provider=options.provider, device_id=options.device_id)
    except PolyexportError as error:
        answer.send(_Checked(error=error.message, remedy=error.remedy, exit_code=int(error.exit_code)))
    else:
        session = model.session
        answer.send(_Checked(session.execution_provider, session.fallback_reason, model.sha256))
