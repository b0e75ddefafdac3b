"""A Ray cluster to work on: this machine's cores, or one that runs already."""

import contextlib
import io
import logging
import os
import re
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any, TextIO

from polyexport.cores import granted_cores
from polyexport.errors import PolyexportError, UsageError, reason_of
from polyexport.native_log import captured_stderr

__all__ = ["connected"]

_CONNECT_S = 5.0
_ADDRESS = re.compile(r"(?P<host>[A-Za-z0-9.\-]+|\[[0-9A-Fa-f:]+\]):(?P<port>[0-9]{1,5})")
_REMEDY = "see that `ray status` works on this machine, or leave --ray-address out"


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """Ray, connected; the actors of this run end with the block.

    Args:
        address: ``HOST:PORT`` of a cluster's head, ``auto`` for the cluster that this machine belongs to, or None for
            this machine alone.

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
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # Nobody else may reach it: Ray asks no one for a password.
    own: dict[str, Any] = {"num_cpus": granted_cores(), "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    with _own_stdout():
        try:
            try:
                with captured_stderr():  # it tells of its log level
                    ray.init(
                        address or "local",
                        log_to_driver=False,
                        logging_level=logging.CRITICAL,
                        **(own if address is None else {}),
                    )
            except (ConnectionError, RuntimeError, ValueError, TimeoutError, OSError) as error:
                where = f"the Ray cluster at {address}" if address else "Ray on this machine"
                raise PolyexportError(f"cannot use {where} ({reason_of(error)})", remedy=_REMEDY) from error
            for number, handler in handlers.items():  # Ray puts its own in their place
                signal.signal(number, handler)
            yield ray
        finally:
            with contextlib.redirect_stdout(io.StringIO()):  # what its threads held back, it says now, from this one
                ray.shutdown()
            for number, handler in handlers.items():
                signal.signal(number, handler)


class _OneThread(io.TextIOBase):
    """A stream that takes what the thread that made it writes, and drops the rest."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._thread = threading.get_ident()

    def write(self, text: str) -> int:
        return self._stream.write(text) if threading.get_ident() == self._thread else len(text)

    def flush(self) -> None:
        self._stream.flush()


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
        socket.create_connection((match["host"].strip("[]"), int(match["port"])), _CONNECT_S).close()
    except OSError as error:
        raise PolyexportError(
            f"no Ray cluster answers at {address} ({error.strerror or error})", remedy=_REMEDY
        ) from error
