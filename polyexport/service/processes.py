"""A service of several processes: each has the model, a share of the cores, and an interpreter's lock of its own.

This process accepts connections, and hands them to the others in turn. It knows nothing of HTTP. Every process has its
share of the limits; their metrics are added up through files in a folder that all of them map
(https://prometheus.github.io/client_python/multiprocess/).
"""

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import FrameType
from typing import Self

from polyexport.errors import ExitCode, PolyexportError, UsageError
from polyexport.runtime.cores import granted_cores
from polyexport.service.metrics import METRICS_FOLDER
from polyexport.service.options import MAX_OPTIONS_BYTES, ServiceOptions

__all__ = ["serve_in_processes"]

_CODE = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from polyexport.service.part import answer_connections; answer_connections(int(sys.argv[2]))"
)
_END_TIMEOUT_S = 5.0  # beyond the time that requests have to end
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def serve_in_processes(
    options: ServiceOptions,
    listener: socket.socket,
    *,
    listen: Callable[[], None],
    on_ready: Callable[[str, str], None],
) -> None:
    """Answer requests in several processes until a signal ends the service, as ``polyexport.service.server.serve``.

    Args:
        options: the service's options.
        listener: socket on the service's port.
        listen: makes it listen; called when all processes are ready.
        on_ready: called when requests are accepted, with the execution provider and the reason why it is not a faster
            one.

    Raises:
        UsageError: more processes than cores, or a system on which processes cannot be told their cores.
        PolyexportError: a process could not start, with its own reason and exit code, or ended by itself.
    """
    shares = _shares(options.processes)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="polyexport-metrics-"))
        # What one process may have is rounded up, so that a limit of one stays one.
        limits = replace(
            options.limits,
            **{
                name: -(-getattr(options.limits, name) // options.processes)
                for name in ("max_requests", "max_connections", "max_connections_per_address")
            },
        )
        processes = [
            stack.enter_context(_Process(replace(options, processes=1, limits=limits), cores, folder))
            for cores in shares
        ]
        provider, reason = max(process.wait_until_ready() for process in processes)  # all have the same
        with _signals() as received:
            listen()
            on_ready(provider, reason)
            _hand_over(listener, processes, received)
            listener.close()
            for process in processes:
                process.end()
            for process in processes:
                process.wait(options.grace_s + _END_TIMEOUT_S)
    for number in received.numbers:
        signal.raise_signal(number)


def _shares(processes: int) -> list[list[int]]:
    """Return the cores of each process."""
    if not hasattr(os, "sched_setaffinity"):
        raise UsageError("several processes need a system that binds them to cores", remedy="leave --processes out")
    if processes > granted_cores():
        raise UsageError(
            f"{processes} processes for {granted_cores()} cores", remedy=f"give --processes {granted_cores()} or less"
        )
    cores = sorted(os.sched_getaffinity(0))
    return [cores[number::processes] for number in range(processes)]


class _Received:
    """Signals to end, which a file descriptor tells of."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.readable, self._writable = os.pipe()

    def note(self, number: int, frame: FrameType | None) -> None:
        for each in _SIGNALS:  # a second signal ends the process at once
            signal.signal(each, signal.SIG_DFL)
        self.numbers.append(number)
        os.write(self._writable, b"\0")

    def close(self) -> None:
        os.close(self.readable)
        os.close(self._writable)


@contextlib.contextmanager
def _signals() -> Iterator[_Received]:
    """Note signals to end, but none that this process was told to ignore."""
    received = _Received()
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # a shell ignores SIGINT for programs in the background
            signal.signal(number, received.note)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        received.close()


def _hand_over(listener: socket.socket, processes: "Sequence[_Process]", received: _Received) -> None:
    """Accept connections for the processes in turn, until a signal comes.

    Raises:
        PolyexportError: a process has ended by itself.
    """
    listener.setblocking(False)
    turn = 0
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ, None)
        selector.register(received.readable, selectors.EVENT_READ, None)
        for process in processes:
            selector.register(process.channel, selectors.EVENT_READ, process)
        while not received.numbers:
            for key, _ in selector.select():
                if key.data is not None:
                    raise PolyexportError(
                        f"a process of the service has ended ({key.data.status()})", remedy="start the service again"
                    )
            with contextlib.suppress(BlockingIOError, ConnectionError):
                while not received.numbers:
                    connection, _ = listener.accept()
                    with connection:
                        turn = _give(connection, processes, turn)


def _give(connection: socket.socket, processes: "Sequence[_Process]", turn: int) -> int:
    """Give a connection to the next process that takes it; none does if all are stopped. Returns whose turn it is."""
    for number in range(len(processes)):
        process = processes[(turn + number) % len(processes)]
        with contextlib.suppress(BlockingIOError, ConnectionError):
            socket.send_fds(process.channel, [b"\0"], [connection.fileno()])
            return turn + number + 1
    return turn


class _Process:
    """One process that answers, and the channel to it."""

    def __init__(self, options: ServiceOptions, cores: Sequence[int], metrics_folder: str) -> None:
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter and code of this module
                [sys.executable, "-c", _CODE, json.dumps(sys.path), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=os.environ | {METRICS_FOLDER: metrics_folder},
            )
        message = {"options": options.to_entries(), "cores": list(cores)}
        self.channel.sendall(json.dumps(message).encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def wait_until_ready(self) -> tuple[str, str]:
        """Wait until the process has loaded the model; returns its execution provider and why it is no faster one.

        Raises:
            PolyexportError: the process's own error.
        """
        data = self.channel.recv(MAX_OPTIONS_BYTES)
        if not data:
            raise PolyexportError(
                f"a process of the service cannot start ({self.status()})", remedy="leave --processes out"
            )
        answer = json.loads(data)
        if "error" in answer:
            error = PolyexportError(answer["error"], remedy=answer["remedy"])
            error.exit_code = ExitCode(answer["exit_code"])
            raise error
        self.channel.setblocking(False)
        return answer["provider"], answer["reason"]

    def end(self) -> None:
        """Have the process answer what it has accepted, and end."""
        self._process.terminate()

    def wait(self, timeout_s: float) -> None:
        """Wait for the process to end."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)

    def status(self) -> str:
        """Return how the process has ended, in words."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(_END_TIMEOUT_S)
            return signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return "it closed its channel"
