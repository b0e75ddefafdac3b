"""Connection to a Ray cluster: one that runs already, or one started for this run on this machine's cores."""

import contextlib
import io
import logging
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from polyexport.errors import PolyexportError, UsageError, reason_of
from polyexport.runtime.cores import granted_cores
from polyexport.runtime.native_log import captured_stderr

__all__ = ["connected", "reachable"]

_CONNECT_TIMEOUT_S = 5.0
_START_TIMEOUT_S = 60.0  # a machine under load takes 10 s to start Ray
_END_TIMEOUT_S = 20.0
_ADDRESS = re.compile(r"(?P<host>[A-Za-z0-9._\-]+|\[[0-9A-Fa-f:]+\]):(?P<port>[0-9]{1,5})")
_REMEDY = "check that `ray status` works on this machine, or leave --ray-address out"


@contextlib.contextmanager
def connected(address: str | None, *, timeout_s: float = _START_TIMEOUT_S) -> Iterator[Any]:
    """Connect to Ray; the connection and the actors of this run end with the block.

    Args:
        address: ``HOST:PORT`` of a cluster's head, ``auto`` for the cluster that this machine belongs to, or None for
            this machine alone.
        timeout_s: longest time that a cluster may take to answer.

    Yields:
        The module ``ray``, connected.

    Raises:
        UsageError: a malformed address.
        PolyexportError: no cluster answers at the address.
    """
    # Ray reports usage statistics unless this is set before it is imported.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is not None and address != "auto":
        _connect_once(address)
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # Where Ray hangs, a thread that talks to it outlives the connection, and must not start Ray again.
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"
    warnings.filterwarnings("ignore", module=r"ray(\.|$)")  # Ray warns about its own code
    import ray

    # Errors on the machines come back with the results; Ray's own messages about them are in its log files.
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    with contextlib.ExitStack() as stack:
        stack.enter_context(_stdout_of_this_thread())
        folder = ""
        if address is None:
            # The paths of Ray's sockets must be short.
            folder = tempfile.mkdtemp(prefix="ray-", dir=os.environ.get("RAY_TMPDIR"))
            # Ray has no passwords, so no other machine may be able to connect.
            options |= {"num_cpus": granted_cores(), "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
            options["_temp_dir"] = folder
        thread = _RayThread(ray, address or "local", options)
        with captured_stderr():  # Ray prints its log level
            try:
                thread.begin(_START_TIMEOUT_S if address is None else min(timeout_s, _START_TIMEOUT_S))
            except BaseException as error:
                # Ray's files must stay while it is only half started, or it would end this process.
                ended = thread.end(0.0 if isinstance(error, TimeoutError) else _END_TIMEOUT_S)
                if not ended and address is None:
                    _kill_descendants()
                if isinstance(error, (ConnectionError, RuntimeError, ValueError, TimeoutError, OSError)):
                    where = f"the Ray cluster at {address}" if address else "Ray on this machine"
                    remedy = _REMEDY if address else f"see the logs in {folder}/session_latest/logs"
                    raise PolyexportError(f"cannot use {where} ({reason_of(error)})", remedy=remedy) from error
                shutil.rmtree(folder, ignore_errors=True)
                raise
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.callback(thread.end)
        yield ray


def reachable(ray: Any) -> bool:
    """Return whether the head of the cluster still accepts connections.

    Ray itself ends the whole process when the head has not answered for a minute.
    """
    try:
        _connect_once(ray.get_runtime_context().gcs_address)
    except PolyexportError:
        return False
    return True


class _RayThread(threading.Thread):
    """Thread that starts Ray and ends it.

    Both may block for ever, while the main thread must keep time and receive signals; and in the main thread Ray would
    replace the signal handlers. The thread lives as long as the connection, because Ray's servers end with the thread
    that started them.
    """

    def __init__(self, ray: Any, address: str, options: dict[str, Any]) -> None:
        super().__init__(name="ray", daemon=True)
        self._ray, self._address, self._options = ray, address, options
        self._begun, self._over, self._ended = threading.Event(), threading.Event(), threading.Event()
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._ray.init(self._address, **self._options)
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            self._error = error
        self._begun.set()
        self._over.wait()
        with contextlib.suppress(Exception):  # nobody waits for the outcome any more
            self._ray.shutdown()
        self._ended.set()

    def begin(self, timeout_s: float) -> None:
        """Start Ray, and raise what Ray raised, or TimeoutError."""
        self.start()
        if not self._begun.wait(timeout_s):
            raise TimeoutError(f"no answer in {timeout_s:g} s")
        if self._error is not None:
            raise self._error

    def end(self, timeout_s: float = _END_TIMEOUT_S) -> bool:
        """End Ray; returns whether it has ended in time. Without the head of its cluster Ray would wait for ever."""
        self._over.set()
        return self._ended.wait(timeout_s)


def _kill_descendants() -> None:
    """Kill the servers of a Ray that was started only in part, and their children."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    for pid in found - {os.getpid()}:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


class _OneThreadStream(io.TextIOBase):
    """Stream that passes on what the thread that created it writes, and drops what other threads write."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._thread = threading.get_ident()

    def write(self, text: str) -> int:
        return self._stream.write(text) if threading.get_ident() == self._thread else len(text)

    def flush(self) -> None:
        if threading.get_ident() == self._thread:
            self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()

    @property
    def closed(self) -> bool:
        return self._stream.closed


@contextlib.contextmanager
def _stdout_of_this_thread() -> Iterator[None]:
    """Keep stdout for results: threads of Ray print the errors of its machines there."""
    if sys.stdout is None:
        yield
        return
    with contextlib.redirect_stdout(_OneThreadStream(sys.stdout)):
        yield


def _connect_once(address: str) -> None:
    """Connect to an address once, because Ray itself tries for minutes if there is no answer."""
    match = _ADDRESS.fullmatch(address)
    if match is None or not 0 < int(match["port"]) < 65536:
        raise UsageError(f"{address!r} is not an address of a Ray cluster", remedy="give HOST:PORT, or auto")
    try:
        socket.create_connection((match["host"].strip("[]"), int(match["port"])), _CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise PolyexportError(
            f"no Ray cluster answers at {address} ({error.strerror or error})", remedy=_REMEDY
        ) from error
