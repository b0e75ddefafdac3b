"""Images decoded in processes of their own: one that crashes or hangs a decoder fails alone.

A decoding process costs about 0.2 s of CPU time to start, in parallel with loading the model; asking it, eight images
at a time, costs about as much CPU time as decoding a 128x128 drawing: 0.15 to 0.2 ms an image on a Xeon.
"""

import contextlib
import fcntl
import hashlib
import itertools
import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import IO, Any, Self, cast

import numpy as np

from polyexport.errors import PolyexportError, UsageError, reason_of
from polyexport.imaging.pixels import MAX_FILE_BYTES, MAX_PIXELS
from polyexport.model.canvas import MAX_NATIVE_PIXELS, Canvas, CanvasRule
from polyexport.pipeline.decoding.worker import receive, receive_into, send
from polyexport.runtime.cores import granted_cores
from polyexport.storage.files import read_limited
from polyexport.storage.stores import is_url, read_url

__all__ = ["Decoded", "Decoders", "Source", "default_jobs"]

TIMEOUT_S = 30.0
"""For one image, from the request to the answer. An RGBA PNG of 8192x8192 took 4.6 s."""

MAX_JOBS = 256
_IMAGES_PER_JOB = 64  # below that another process costs more than it gives
_WATCH_S = 0.2
_PIPE_BYTES = 1 << 20  # as much as Linux grants everybody
_START = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from polyexport.pipeline.decoding.worker import main; main()"
)

Source = str | bytes
"""The path or URL of a file, or the bytes of one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoded:
    """What came of one input: a canvas, or a reason, or neither, if it was known."""

    sha256: str
    """Of the input's bytes; empty if it could not be read."""

    canvas: Canvas | None = None
    reason: str = ""
    lasting: bool = False
    """Whether the reason lies in the bytes, so that another try comes to the same end."""

    warnings: tuple[str, ...] = ()
    read_ms: float = 0.0
    decode_ms: float = 0.0


def default_jobs(images: int) -> int:
    """How many processes decode a run of this many images."""
    return min(granted_cores(), MAX_JOBS, 1 + images // _IMAGES_PER_JOB)


class _HungError(Exception):
    """The process was killed because it did not answer."""


class _Worker:
    """One decoding process."""

    def __init__(self) -> None:
        # Isolated (-I): neither the working folder nor the environment decides which code decodes untrusted files.
        command = [sys.executable, "-I", "-c", _START, json.dumps(sys.path)]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, with arguments of ours
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        except OSError as error:
            raise PolyexportError(
                f"cannot start a process to decode images ({error.strerror})",
                remedy=f"see that {sys.executable} can be run, and that there is memory for it",
            ) from error
        self._requests = cast(IO[bytes], self._process.stdin)
        self._answers = cast(IO[bytes], self._process.stdout)
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            # Room for several answers: neither side waits for the other in the middle of one.
            with contextlib.suppress(OSError):
                fcntl.fcntl(self._answers, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._deadline = float("inf")
        self._hung = False

    def ask(self, request: dict[str, Any], given: Sequence[bytes], timeout_s: float) -> Iterator[Decoded]:
        """One request, an answer for each of its images.

        Raises:
            _HungError: the next one did not come in time.
            EOFError, OSError, ValueError, KeyError, TypeError: the process has ended or talks nonsense.
        """
        try:
            self._deadline = time.monotonic() + timeout_s
            send(self._requests, request, b"".join(given))
            for _ in request["images"]:
                self._deadline = time.monotonic() + timeout_s
                answer = receive(self._answers)
                decoded = Decoded(
                    sha256=str(answer["sha256"]),
                    canvas=self._canvas(answer) if answer["state"] == "pixels" else None,
                    reason=str(answer.get("reason", "")),
                    lasting=bool(answer["lasting"]),
                    warnings=tuple(map(str, answer["warnings"])),
                    read_ms=float(answer.get("read_ms", 0.0)),
                    decode_ms=float(answer.get("decode_ms", 0.0)),
                )
                self._deadline = float("inf")
                yield decoded
        except (EOFError, OSError) as error:
            if self._hung:
                raise _HungError from error
            raise
        finally:
            self._deadline = float("inf")

    def _canvas(self, answer: dict[str, Any]) -> Canvas:
        rows, columns = (int(side) for side in answer["canvas"])
        (height, width), (inner_height, inner_width) = map(int, answer["size"]), map(int, answer["inner"])
        if not (0 < rows * columns <= MAX_NATIVE_PIXELS and 0 < inner_height <= rows and 0 < inner_width <= columns):
            raise ValueError("no canvas has this size")
        pixels = np.empty((rows, columns, 3), np.uint8)
        receive_into(self._answers, pixels)
        return Canvas(pixels=pixels, height=height, width=width, inner_height=inner_height, inner_width=inner_width)

    def kill_if_hung(self, now: float) -> None:
        if now > self._deadline:
            self._hung = True
            self._process.kill()

    def end(self) -> int:
        """End it; returns its exit status as ``subprocess`` gives it, which stays what it was if it has ended."""
        self._process.kill()
        for stream in (self._requests, self._answers):
            with contextlib.suppress(OSError):
                stream.close()
        return self._process.wait()


class Decoders:
    """Up to ``jobs`` decoding processes, each started when it is first needed. Safe to call from several threads."""

    def __init__(self, *, jobs: int, timeout_s: float = TIMEOUT_S, max_pixels: int = MAX_PIXELS) -> None:
        if not 1 <= jobs <= MAX_JOBS or not 0 < timeout_s <= 86400:
            raise ValueError(f"jobs must be 1 to {MAX_JOBS}, timeout_s at most a day; got {jobs} and {timeout_s}")
        self.jobs = jobs
        self._timeout_s = timeout_s
        self._max_pixels = max_pixels
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(jobs):
            self._idle.put(None)
        self._running: set[_Worker] = set()
        self._mutex = threading.Lock()
        self._closed = threading.Event()
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start one process now; it gets ready while the caller does something else."""
        self._idle.get()
        self._idle.put(self._new())

    def decode(self, source: Source, canvas_rule: CanvasRule) -> Decoded:
        """Read and decode one image, and put it on its canvas. ``source`` is untrusted."""
        return self.decode_all([source], canvas_rule)[0]

    def decode_all(
        self, sources: Sequence[Source], canvas_rule: CanvasRule, *, known: Sequence[str] = ()
    ) -> list[Decoded]:
        """Read and decode images, one after the other in one process, and put each on its canvas.

        Several at once spare most of the cost of asking. Each still fails alone: the process that follows one that
        crashed or hung goes on behind the image that it ended with.

        Args:
            sources: untrusted.
            canvas_rule: of each.
            known: for each a SHA-256, or nothing; an input with this hash is not decoded.

        Returns:
            One for each source, in order.
        """
        return self._ask(sources, known, asdict(canvas_rule))

    def inspect(self, source: Source) -> Decoded:
        """Read one image file, and decode no more than its header."""
        return self._ask([source], (), None)[0]

    def close(self) -> None:
        """End every process; whatever they are at is dropped."""
        self._closed.set()
        with self._mutex:
            running, self._running = self._running, set()
        for worker in running:
            worker.end()

    def _new(self) -> _Worker:
        with self._mutex:
            if self._closed.is_set():
                raise EOFError("the decoders are closed")
            worker = _Worker()
            self._running.add(worker)
        return worker

    def _ask(
        self, sources: Sequence[Source], known: Sequence[str], canvas_rule: dict[str, Any] | None
    ) -> list[Decoded]:
        if not any(isinstance(source, str) and is_url(source) for source in sources):
            return self._ask_worker(sources, known, canvas_rule)
        pairs = itertools.zip_longest(sources, known, fillvalue="")
        return [self._ask_fetched(source, str(hashed), canvas_rule) for source, hashed in pairs]

    def _ask_fetched(self, source: Source, known: str, canvas_rule: dict[str, Any] | None) -> Decoded:
        """One at a time: each may be large, and it is the network that takes the time."""
        started = time.perf_counter()
        try:
            data = read_url(source, MAX_FILE_BYTES) if isinstance(source, str) else source
        except (OSError, UsageError) as error:
            reason = error.message if isinstance(error, UsageError) else error.strerror or error
            return Decoded(sha256="", reason=f"cannot be read ({reason})")
        read_ms = 1e3 * (time.perf_counter() - started)
        return replace(self._ask_worker([data], [known], canvas_rule)[0], read_ms=read_ms)

    def _ask_worker(
        self, sources: Sequence[Source], known: Sequence[str], canvas_rule: dict[str, Any] | None
    ) -> list[Decoded]:
        answers: list[Decoded] = []
        worker = self._idle.get()
        try:
            while len(answers) < len(sources):
                rest = slice(len(answers), None)
                given = [b"" if isinstance(source, str) else source for source in sources[rest]]
                images = [
                    {"path": source if isinstance(source, str) else None, "given_bytes": len(data), "known": hashed}
                    for source, data, hashed in itertools.zip_longest(sources[rest], given, known[rest], fillvalue="")
                ]
                request = {
                    "timeout_s": self._timeout_s,
                    "max_pixels": self._max_pixels,
                    "canvas_rule": canvas_rule,
                    "images": images,
                }
                try:
                    worker = worker or self._new()
                    answers.extend(worker.ask(request, given, self._timeout_s))
                except _HungError:
                    self._bury(worker)
                    worker = None
                    reason = f"cannot be decoded (the decoder hung for {self._timeout_s:g} s and was stopped)"
                    answers.append(Decoded(sha256=_sha256(sources[len(answers)]), reason=reason, lasting=True))
                except (EOFError, OSError, ValueError, KeyError, TypeError) as error:
                    status = self._bury(worker)
                    worker = None
                    answers.append(
                        Decoded(
                            sha256=_sha256(sources[len(answers)]),
                            reason=f"cannot be decoded (the decoder {_obituary(status, error)})",
                            # A kill comes from outside: from us, from somebody, or from the system, short of memory.
                            lasting=status < 0 and status != -signal.SIGKILL,
                        )
                    )
        finally:
            self._idle.put(worker)
        return answers

    def _bury(self, worker: _Worker | None) -> int:
        if worker is None:
            return 0
        with self._mutex:
            self._running.discard(worker)
        return worker.end()

    def _watch(self) -> None:
        while not self._closed.wait(_WATCH_S):
            with self._mutex:
                for worker in self._running:
                    worker.kill_if_hung(time.monotonic())


def _sha256(source: Source) -> str:
    try:
        data = source if isinstance(source, bytes) else read_limited(source, MAX_FILE_BYTES)
    except OSError:
        return ""
    return hashlib.sha256(data).hexdigest()


def _obituary(status: int, error: Exception) -> str:
    if not isinstance(error, (EOFError, OSError)):
        return f"gave no sensible answer: {reason_of(error)}"
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"crashed with {signal.Signals(-status).name}"
    return f"ended with status {status}: {reason_of(error)}"
