"""The process of the service: it loads the model, listens, answers, and ends after its last answer.

Nothing runs outside this process but the processes that decode images, and those of ``polyexport.service.processes``;
they end when their pipes from this process close, however it ends.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import NoReturn

import uvicorn
from fastapi import FastAPI

from polyexport.errors import UsageError
from polyexport.model.file import read_model
from polyexport.model.loading.load import open_model
from polyexport.model.model import Model
from polyexport.model.placed_run import run_placed
from polyexport.pipeline.decoding.pool import DecodingPool
from polyexport.runtime.allocator import return_freed_memory
from polyexport.runtime.cores import granted_cores
from polyexport.runtime.session import Session, SessionOptions
from polyexport.service.app import build_app
from polyexport.service.batcher import Batcher
from polyexport.service.connection import MAX_HEAD_BYTES, Connection, table_for
from polyexport.service.metrics import Metrics
from polyexport.service.options import Limits, ServiceOptions
from polyexport.service.processes import serve_in_processes
from polyexport.service.routes import Routes
from polyexport.web.descriptors import free_descriptors

__all__ = ["Server", "serve", "serve_connections"]

_LISTEN_BACKLOG = 256
_BACKLOGS_AT_A_TIME = 4  # the event loop accepts so many full queues before it has closed a connection
_SPARE_DESCRIPTORS = 32  # for decoding processes that are replaced
_SWITCH_INTERVAL_S = 0.001  # the event loop waits so long for a thread that parses or encodes
_LARGE_BYTES = 1 << 20
_DECODING_ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": str(_LARGE_BYTES), "MALLOC_TRIM_THRESHOLD_": str(_LARGE_BYTES)}
"""Variables for the processes that decode images: after large images they give their memory back as well."""

_READ_BEFORE_CLOSING_S = 0.05  # time to read what clients sent before the signal to end
_LAST_ANSWERS_TIMEOUT_S = 1.0  # time to tell clients that the service ends before their request was complete


def serve(options: ServiceOptions, *, on_ready: Callable[[str, str], None]) -> None:
    """Answer requests until a signal ends the service.

    SIGINT and SIGTERM close the port and let accepted requests finish within ``options.grace_s``; then the signal goes
    to the handler that the caller had installed. A second signal ends the process at once.

    Args:
        options: the service's options.
        on_ready: called when requests are accepted, with the execution provider and the reason why it is not a faster
            one.

    Raises:
        UsageError: the port is in use.
        ModelError: the model is refused.
        ProviderError: the execution provider cannot be used.
        PolyexportError: no process can be started to decode images.
    """
    with _bound_socket(options) as listener:
        backlog, max_connections = _capacity(options.limits)

        def listen() -> None:
            try:
                listener.listen(backlog)
            except OSError as error:  # another process listens on the port by now
                _cannot_listen(options, error)

        if options.processes > 1:
            serve_in_processes(options, listener, listen=listen, on_ready=on_ready)
            return
        with _application(options) as (app, session):
            listen()
            ready = partial(on_ready, session.execution_provider, session.fallback_reason)
            Server(app, options, ready, max_connections=max_connections, backlog=backlog).run([listener])


def serve_connections(options: ServiceOptions, channel: socket.socket, *, on_ready: Callable[[str, str], None]) -> None:
    """Answer the requests of connections that another process has accepted, until a signal or that process ends it.

    Args:
        options: options of this part of the service.
        channel: brings a message with a file descriptor for each connection.
        on_ready: called when connections are taken, as of ``serve``.

    Raises:
        ModelError: the model is refused.
        ProviderError: the execution provider cannot be used.
        PolyexportError: no process can be started to decode images.
    """
    with _application(options) as (app, session):
        backlog, max_connections = _capacity(options.limits)
        ready = partial(on_ready, session.execution_provider, session.fallback_reason)
        Server(app, options, ready, max_connections=max_connections, backlog=backlog, channel=channel).run([])


@contextlib.contextmanager
def _application(options: ServiceOptions) -> Iterator[tuple[FastAPI, Session]]:
    """Load the model and start everything that answers requests but the event loop."""
    with contextlib.ExitStack() as stack:
        limits = options.limits
        os.environ.update(_DECODING_ENVIRONMENT)
        decoding_pool = stack.enter_context(DecodingPool(jobs=granted_cores(), max_pixels=limits.max_pixels))
        decoding_pool.start()
        model, alone, calls = _models(options)
        metrics = Metrics()
        batcher = stack.enter_context(
            Batcher(
                partial(run_placed, model),
                run_alone=partial(run_placed, alone),
                calls=calls,
                max_batch_size=options.max_batch_size,
                max_wait_ms=options.batch_timeout_ms,
                max_queued=limits.max_requests,
                max_queued_s=options.grace_s,
                on_call=metrics.batches.observe,
            )
        )
        app = build_app(Routes(model, decoding_pool, batcher, metrics, options), metrics, options)
        _prepare_interpreter()
        yield app, model.session


def _models(options: ServiceOptions) -> tuple[Model, Model, int]:
    """Load the model for calls side by side and for calls that are alone, and return how many run side by side.

    Raises:
        ModelError: the model is refused.
        ProviderError: the execution provider cannot be used.
    """
    data = read_model(options.model, signed_by=options.signed_by)

    def opened(threads: int, streams: int) -> Model:
        session = SessionOptions(
            provider=options.provider,
            threads=threads,
            streams=streams,
            device_id=options.device_id,
            releases_memory=True,
            cache=True,
        )
        return open_model(data, session, name=str(options.model), limits=options.load_limits)

    cores = granted_cores()
    calls = max(1, cores // (options.threads or 1))
    model = opened(options.threads or 1, calls)
    if model.session.computes_elsewhere:  # a device takes one call after the other
        return model, model, 1
    return model, model if options.threads or calls == 1 else opened(cores, 1), calls


def _prepare_interpreter() -> None:
    """Keep pauses of the event loop short, and give the memory of large requests back to the system."""
    gc.collect()
    gc.freeze()  # what is loaded by now stays; looking through it took 50 ms now and then
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    return_freed_memory(_LARGE_BYTES)


def _capacity(limits: Limits) -> tuple[int, int]:
    """Length of the queue of new connections and number of open ones, by the file descriptors of this process."""
    wanted = limits.max_connections + _BACKLOGS_AT_A_TIME * _LISTEN_BACKLOG + _SPARE_DESCRIPTORS
    free = free_descriptors(wanted)
    if free == wanted:
        return _LISTEN_BACKLOG, limits.max_connections
    backlog = min(_LISTEN_BACKLOG, free // 8)
    spare = min(_SPARE_DESCRIPTORS, free // 4)
    max_connections = min(limits.max_connections, free - _BACKLOGS_AT_A_TIME * backlog - spare)
    if max_connections == limits.max_connections:
        return backlog, max_connections
    logging.getLogger(__name__).warning(
        "warning: at most %d connections can be open, not %d; raise the limit of open files (ulimit -n)",
        max_connections,
        limits.max_connections,
    )
    return backlog, max_connections


class Server(uvicorn.Server):
    """uvicorn, with an end that loses no accepted request."""

    def __init__(
        self,
        app: FastAPI,
        options: ServiceOptions,
        on_ready: Callable[[], None],
        *,
        max_connections: int,
        backlog: int,
        channel: socket.socket | None = None,
    ) -> None:
        """Prepare the server.

        Args:
            app: the application.
            options: the service's options.
            on_ready: called when requests are accepted.
            max_connections: largest number of open connections, which may be lower than in the options.
            backlog: length of the queue of connections that are not accepted yet.
            channel: brings connections that another process has accepted; None where this one accepts them.
        """
        table = table_for(options.limits, max_connections)
        config = uvicorn.Config(
            app,
            loop="asyncio",  # uvloop took as much CPU time a request, and is one package more
            http=partial(Connection, table=table, limits=options.limits),  # type: ignore[arg-type] # it makes one
            backlog=backlog,
            ws="none",
            lifespan="off",
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            timeout_graceful_shutdown=options.grace_s,  # type: ignore[arg-type] # asyncio takes fractions, too
            log_level="critical",
            access_log=False,
        )
        super().__init__(config)
        self._on_ready = on_ready
        self._channel = channel
        self._connections: set[asyncio.Future[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        if self._channel is not None:
            self._channel.setblocking(False)
            asyncio.get_running_loop().add_reader(self._channel, self._take_connections, self._channel)
        self._on_ready()

    def _take_connections(self, channel: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            while not self.should_exit:
                message, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
                if not message:  # the process that accepts them has ended
                    self.should_exit = True
                for descriptor in descriptors:
                    self._connections.add(task := asyncio.ensure_future(self._connect(descriptor)))
                    task.add_done_callback(self._connections.discard)

    async def _connect(self, descriptor: int) -> None:
        connection = socket.socket(fileno=descriptor)
        connection.setblocking(False)
        with contextlib.suppress(OSError):  # the client has gone
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the port and wait for the answers, at last for those that say that the service ends."""
        # uvicorn closes connections whose next request it has not read yet, so what was sent is read first.
        await asyncio.sleep(_READ_BEFORE_CLOSING_S)
        await super().shutdown(sockets)
        if cancelled := tuple(self.server_state.tasks):  # after the grace period; each still sends an answer
            await asyncio.wait(cancelled, timeout=_LAST_ANSWERS_TIMEOUT_S)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals, but none that this process was told to ignore."""
        ignored = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is signal.SIG_IGN]
        with super().capture_signals():
            for number in ignored:  # a shell ignores SIGINT for programs in the background
                signal.signal(number, signal.SIG_IGN)
            yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end."""
        for number in (signal.SIGINT, signal.SIGTERM):  # a second signal ends the process at once
            signal.signal(number, signal.SIG_DFL)
        super().handle_exit(sig, frame)


def _bound_socket(options: ServiceOptions) -> socket.socket:
    """A socket on the service's port that does not listen yet: clients are refused until the model is loaded."""
    # With the protocol named, asyncio sets TCP_NODELAY on every connection. Without it the kernel holds the body of an
    # answer back until the client has acknowledged its head, which takes a client 40 ms.
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((options.host, options.port))
    except OSError as error:
        bound.close()
        _cannot_listen(options, error)
    return bound


def _cannot_listen(options: ServiceOptions, error: OSError) -> NoReturn:
    reason = error.strerror or str(error)
    raise UsageError(
        f"cannot listen on {options.host}:{options.port} ({reason})", remedy="choose another --port"
    ) from error
