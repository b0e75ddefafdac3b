"""Decoding process: a hostile image that crashes a decoder crashes this process and nothing else.

The process reads requests from stdin and answers on stdout until stdin ends. In both directions a message is a length,
a JSON object and the bytes that the object announces. ``decoding.pool`` starts and watches the process.
"""

import contextlib
import hashlib
import json
import os
import signal
import struct
import time
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from polyexport.errors import ImageError, OutOfMemoryError, out_of_memory, reason_of
from polyexport.imaging.pixels import MAX_FILE_BYTES, decode, inspect_header
from polyexport.model.canvas import CanvasRule
from polyexport.storage.files import read_limited

__all__ = ["MAX_HEADER_BYTES", "MAX_MEMORY_BYTES", "main", "receive", "receive_into", "send"]

MAX_MEMORY_BYTES = 4 * 1024**3
"""Limit of the process's address space. An RGBA PNG of 8192x8192, the largest that is accepted, took 1.6 GB of
it, and 2.2 GB with the ink of toned paper."""

MAX_HEADER_BYTES = 256 * 1024

_ANSWER_BUFFER_BYTES = 256 * 1024  # a small answer is one write, so that its reader wakes up once

_PREFIX = struct.Struct(">I")


def send(stream: IO[bytes], header: dict[str, Any], *payloads: bytes | NDArray[np.uint8]) -> None:
    """Write one message."""
    data = json.dumps(header).encode("ascii")
    stream.write(_PREFIX.pack(len(data)) + data)
    for payload in payloads:
        if len(payload):
            stream.write(payload.data if isinstance(payload, np.ndarray) else payload)
    stream.flush()


def receive(stream: IO[bytes]) -> dict[str, Any]:
    """Read the JSON object of one message; the bytes that it announces are still to be read.

    Raises:
        EOFError: the other side has ended, or its message is malformed.
    """
    (length,) = _PREFIX.unpack(_exactly(stream, _PREFIX.size))
    if length > MAX_HEADER_BYTES:
        raise EOFError
    try:
        return dict(json.loads(_exactly(stream, length)))
    except (ValueError, TypeError) as error:
        raise EOFError from error


def receive_into(stream: IO[bytes], buffer: bytearray | NDArray[np.uint8]) -> None:
    """Read bytes until a buffer is full.

    Raises:
        EOFError: the other side ended before that.
    """
    view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
    while view:
        count = stream.readinto(view)  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        view = view[count:]


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data


def main() -> None:
    """Answer requests until stdin ends."""
    # A terminal's Ctrl-C and a service manager signal the whole process group; this process ends when its parent does.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb", buffering=_ANSWER_BUFFER_BYTES)
    # Native decoders may print to stdout, so the answers go to a descriptor that the decoders do not have.
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    _limit()
    try:
        while True:
            _serve(requests, answers)
    except (EOFError, BrokenPipeError):
        os._exit(0)  # the parent needs no more answers


def _limit() -> None:
    try:
        import resource
    except ImportError:  # no such limits on this system
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    # A lower limit of the process that started this one stays.
    wanted = MAX_MEMORY_BYTES if soft == resource.RLIM_INFINITY else min(soft, MAX_MEMORY_BYTES)
    for limit, value in ((resource.RLIMIT_AS, (wanted, hard)), (resource.RLIMIT_CORE, (0, 0))):
        with contextlib.suppress(OSError, ValueError):  # some systems have the limit and do not let it be changed
            resource.setrlimit(limit, value)


def _serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    request = receive(requests)
    canvas_rule = request["canvas_rule"] and CanvasRule(**request["canvas_rule"])
    images = [(image, bytearray(int(image["given_bytes"]))) for image in request["images"]]
    # The whole request is read before the first answer, or both sides might wait for each other to read.
    for _, given in images:
        receive_into(requests, given)
    for image, given in images:
        # A process without a parent must not hang for ever: the default action of SIGALRM ends even a decoder that
        # never returns to Python.
        signal.alarm(int(request["timeout_s"]) + 5)
        answer, *payload = _answer(image, bytes(given), canvas_rule, request["max_pixels"])
        send(answers, answer, *payload)
    signal.alarm(0)


def _answer(
    image: dict[str, Any], given: bytes, canvas_rule: CanvasRule | None, max_pixels: int
) -> tuple[dict[str, Any], NDArray[np.uint8] | bytes, bytes]:
    """Decode one image, or only its header if there is no canvas rule."""
    started = time.perf_counter()
    answer: dict[str, Any] = {"state": "failed", "sha256": "", "warnings": [], "permanent": False}
    try:
        data = given or (b"" if image["path"] is None else read_limited(image["path"], MAX_FILE_BYTES))
        answer["sha256"] = hashlib.sha256(data).hexdigest()
        answer["read_ms"] = 1e3 * (time.perf_counter() - started)
        if answer["sha256"] == image["skip_sha256"]:
            return answer | {"state": "skipped"}, b"", b""
        if canvas_rule is None:
            width, height = inspect_header(data)
            return answer | {"state": "header", "size": [height, width]}, b"", b""
        started = time.perf_counter()
        decoded = decode(data, max_pixels=max_pixels)
        del data
        canvas = canvas_rule.place(decoded.pixels)
        answer["decode_ms"] = 1e3 * (time.perf_counter() - started)
    except OSError as error:
        return answer | {"reason": f"cannot be read ({error.strerror or error}); give a readable image file"}, b"", b""
    except ImageError as error:
        return answer | {"reason": str(error), "permanent": True}, b"", b""
    except Exception as error:  # noqa: BLE001 - no input may take the others with it; memory is the usual cause
        short = out_of_memory(error)
        reason = str(OutOfMemoryError("it was decoded", reason_of(error))) if short else reason_of(error)
        return answer | {"reason": f"cannot be decoded ({reason})"}, b"", b""
    pixels = np.ascontiguousarray(canvas.pixels)
    answer |= {
        "state": "pixels",
        "warnings": decoded.warnings,
        "size": [canvas.height, canvas.width],
        "inner": [canvas.inner_height, canvas.inner_width],
        "canvas": list(pixels.shape[:2]),
        "edges": canvas.edges is not None,
    }
    ink = None if canvas.edges is None else canvas.edges.ink
    return answer | {"ink_bytes": None if ink is None else len(ink)}, pixels, ink or b""
