"""A Ray cluster to work on: this machine's cores, or one that runs already."""

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

_REACH_S = 5.0
_START_S = 60.0  # a machine under load takes 10 to start Ray
_END_S = 20.0
_ADDRESS = re.compile(r"(?P<host>[A-Za-z0-9._\-]+|\[[0-9A-Fa-f:]+\]):(?P<port>[0-9]{1,5})")
_REMEDY = "see that `ray status` works on this machine, or leave --ray-address out"


@contextlib.contextmanager
def connected(address: str | None, *, timeout_s: float = _START_S) -> Iterator[Any]:
    """Ray, connected; the actors of this run end with the block.

    Args:
        address: ``HOST:PORT`` of a cluster's head, ``auto`` for the cluster that this machine belongs to, or None for
            this machine alone.
        timeout_s: after which a cluster's answer is not waited for any more.

    Raises:
        UsageError: no address.
        PolyexportError: no cluster answers there.
    """
    # Ray reports how it is used to its makers unless it is told not to, before it is imported.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is not None and address != "auto":
        _reach(address)
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # The thread that reads the answers outlives the connection for a moment: it must not start Ray anew.
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"
    warnings.filterwarnings("ignore", module=r"ray(\.|$)")  # it warns of itself
    import ray
    import ray.data

    # What goes wrong on the machines comes back with the results; Ray's own words to it are in its log files.
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    with contextlib.ExitStack() as stack:
        stack.enter_context(_own_stdout())
        folder = ""
        if address is None:
            # Its sockets want a short path.
            folder = tempfile.mkdtemp(prefix="ray-", dir=os.environ.get("RAY_TMPDIR"))
            # Nobody else may reach it: Ray asks no one for a password.
            options |= {"num_cpus": granted_cores(), "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
            options["_temp_dir"] = folder
        thread = _RayThread(ray, address or "local", options)
        with captured_stderr():  # it tells of its log level
            try:
                thread.begin(_START_S if address is None else min(timeout_s, _START_S))
            except BaseException as error:
                # What is only half started cannot be taken away from under it: it would end this process.
                ended = thread.end(0.0 if isinstance(error, TimeoutError) else _END_S)
                if not ended and address is None:
                    _kill_descendants()
                if isinstance(error, (ConnectionError, RuntimeError, ValueError, TimeoutError, OSError)):
                    where = f"the Ray cluster at {address}" if address else "Ray on this machine"
                    remedy = _REMEDY if address else f"see what it says in {folder}/session_latest/logs"
                    raise PolyexportError(f"cannot use {where} ({reason_of(error)})", remedy=remedy) from error
                shutil.rmtree(folder, ignore_errors=True)
                raise
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.callback(thread.end)
        yield ray


def reachable(ray: Any) -> bool:
    """Whether the head of the cluster can still be connected to. Ray itself ends the whole process when it has missed
    it for a minute.
    """
    try:
        _reach(ray.get_runtime_context().gcs_address)
    except PolyexportError:
        return False
    return True


class _RayThread(threading.Thread):
    """Starts Ray, and ends it.

    Both may take for ever, where the main one must keep the time and hear signals; and in the main one Ray would put
    handlers of its own in place of ours. It lives as long as the connection, because Ray's servers end with the thread
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
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            self._error = error
        self._begun.set()
        self._over.wait()
        with contextlib.suppress(Exception):  # there is nobody left to tell
            self._ray.shutdown()
        self._ended.set()

    def begin(self, timeout_s: float) -> None:
        """Raises what Ray raised, or TimeoutError."""
        self.start()
        if not self._begun.wait(timeout_s):
            raise TimeoutError(f"no answer in {timeout_s:g} s")
        if self._error is not None:
            raise self._error

    def end(self, timeout_s: float = _END_S) -> bool:
        """Whether it has ended. Without the head of its cluster Ray waits for ever; that is not waited for."""
        self._over.set()
        return self._ended.wait(timeout_s)


def _kill_descendants() -> None:
    """Ray's servers, each with children of its own, of a start that did not come to its end."""
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


class _OneThread(io.TextIOBase):
    """A stream that takes what the thread that made it writes, and drops the rest."""

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


@contextlib.contextmanager
def _own_stdout() -> Iterator[None]:
    """Threads of Ray print what its machines suffer to stdout, which is for results."""
    if sys.stdout is None:
        yield
        return
    with contextlib.redirect_stdout(_OneThread(sys.stdout)):
        yield


def _reach(address: str) -> None:
    """Ray itself tries an address that does not answer for minutes."""
    match = _ADDRESS.fullmatch(address)
    if match is None or not 0 < int(match["port"]) < 65536:
        raise UsageError(f"{address!r} is no address of a Ray cluster", remedy="give HOST:PORT, or auto")
    try:
        socket.create_connection((match["host"].strip("[]"), int(match["port"])), _REACH_S).close()
    except OSError as error:
        raise PolyexportError(
            f"no Ray cluster answers at {address} ({error.strerror or error})", remedy=_REMEDY
        ) from error
