"""Pool of processes that decode images: an image that crashes or hangs its decoder fails alone.

A decoding process costs about 0.2 s of CPU time to start, in parallel with loading the model. A request and its answer,
for eight images at a time, cost about as much CPU time as decoding a 128x128 drawing: 0.15 to 0.2 ms an image on a
Xeon.
"""

import contextlib
import errno
import fcntl
import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import IO, Any, Self, cast

import numpy as np

from polyexport.errors import PolyexportError, UsageError, reason_of
from polyexport.imaging.pixels import MAX_FILE_BYTES, MAX_PIXELS, Pixels
from polyexport.model.canvas import MAX_NATIVE_PIXELS, Canvas, CanvasRule
from polyexport.model.edges import InkEdges
from polyexport.pipeline.decoding.worker import ORIGINAL_CHANNELS, input_sha256, receive, receive_into, send
from polyexport.runtime.cores import granted_cores
from polyexport.storage.files import read_limited
from polyexport.storage.stores import is_url, read_url

__all__ = ["Decoded", "DecodingPool", "Source", "default_jobs"]

TIMEOUT_S = 60.0
"""Longest time for one image, from the request to the answer. A drawing of 8192x8192 pixels on toned paper took 10 s of
processor time, because the ink is measured for the edges of its fill."""

MAX_JOBS = 256
_MIN_IMAGES_PER_JOB = 64  # for fewer images than this, another process costs more than it gives
_WATCH_INTERVAL_S = 0.2
_PIPE_BYTES = 1 << 20  # the most that Linux grants every user
_WORKER_CODE = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from polyexport.pipeline.decoding.worker import main; main()"
)

Source = str | bytes
"""Path or URL of an image file, or the bytes of one."""

NO_RULES: Mapping[str, CanvasRule] = MappingProxyType({})
"""Rules for the second pictures of a model that takes none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoded:
    """Outcome of one input: a canvas, or the reason of a failure, or neither if it was skipped by its hash."""

    sha256: str
    """SHA-256 of the input's bytes, lowercase hex; with second pictures, that of all their hashes. Empty if one of them
    could not be read."""

    canvas: Canvas | None = None
    pictures: tuple[Pixels, ...] = ()
    """Its second pictures, placed on the same canvas: uint8 [H, W, channels] each."""

    reason: str = ""
    permanent: bool = False
    """Whether the failure lies in the input's bytes, so that another try would fail as well."""

    warnings: tuple[str, ...] = ()
    read_ms: float = 0.0
    decode_ms: float = 0.0


def default_jobs(images: int) -> int:
    """Return how many processes decode a run of this many images."""
    return min(granted_cores(), MAX_JOBS, 1 + images // _MIN_IMAGES_PER_JOB)


@dataclass(frozen=True, slots=True)
class _Input:
    """One image to decode, with its second pictures."""

    source: Source
    skip_sha256: str = ""
    pictures: tuple[Source, ...] = ()

    @property
    def sources(self) -> tuple[Source, ...]:
        return (self.source, *self.pictures)

    def sha256(self) -> str:
        """Return what ``Decoded.sha256`` is for this input."""
        try:
            return input_sha256(
                [one if isinstance(one, bytes) else read_limited(one, MAX_FILE_BYTES) for one in self.sources]
            )
        except OSError:
            return ""


@dataclass(frozen=True, slots=True)
class _Rules:
    """How images and their second pictures are placed; neither if only headers are read."""

    image: CanvasRule | None = None
    pictures: Mapping[str, CanvasRule | None] = field(default_factory=dict)

    def entries(self) -> dict[str, Any]:
        """Return the entries of a request."""
        return {
            "canvas_rule": self.image and asdict(self.image),
            "picture_rules": [(name, rule and asdict(rule)) for name, rule in self.pictures.items()],
        }


class _HungError(Exception):
    """A decoding process was killed because it did not answer in time."""


class _Worker:
    """One decoding process."""

    def __init__(self) -> None:
        # -I isolates: neither the working folder nor the environment decides which code decodes untrusted files.
        command = [sys.executable, "-I", "-c", _WORKER_CODE, json.dumps(sys.path)]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, with arguments of ours
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # NumPy's OpenBLAS starts a thread for every core, and a decoder multiplies no matrices.
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
            )
        except OSError as error:
            remedy = f"check that {sys.executable} can be run and that there is enough memory"
            if error.errno == errno.EMFILE:
                remedy = "raise the limit of open files (ulimit -n)"
            raise PolyexportError(
                f"cannot start a process to decode images ({error.strerror})", remedy=remedy
            ) from error
        self._requests = cast(IO[bytes], self._process.stdin)
        self._answers = cast(IO[bytes], self._process.stdout)
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            # Room for several answers: neither side waits for the other in the middle of one.
            with contextlib.suppress(OSError):
                fcntl.fcntl(self._answers, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._deadline = float("inf")
        self._hung = False

    def ask(
        self, request: dict[str, Any], given: Sequence[bytes], rules: _Rules, timeout_s: float
    ) -> Iterator[Decoded]:
        """Send one request, and yield an answer for each of its images.

        Raises:
            _HungError: the next answer did not come in time.
            EOFError, OSError, ValueError, KeyError, TypeError: the process has ended, or its answer is malformed.
        """
        try:
            self._deadline = time.monotonic() + timeout_s
            send(self._requests, request, b"".join(given))
            for _ in request["images"]:
                self._deadline = time.monotonic() + timeout_s
                answer = receive(self._answers)
                canvas, pictures = self._pixels(answer, rules) if answer["state"] == "pixels" else (None, ())
                decoded = Decoded(
                    sha256=str(answer["sha256"]),
                    canvas=canvas,
                    pictures=pictures,
                    reason=str(answer.get("reason", "")),
                    permanent=bool(answer["permanent"]),
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

    def _pixels(self, answer: dict[str, Any], rules: _Rules) -> tuple[Canvas, tuple[Pixels, ...]]:
        assert rules.image is not None
        rows, columns = (int(side) for side in answer["canvas"])
        (height, width), (inner_height, inner_width) = map(int, answer["size"]), map(int, answer["inner"])
        if not (0 < rows * columns <= MAX_NATIVE_PIXELS and 0 < inner_height <= rows and 0 < inner_width <= columns):
            raise ValueError("no canvas has this size")
        if not (height > 0 and width > 0 and height * width <= MAX_PIXELS):
            raise ValueError("no image has this size")
        pixels = self._array(rows, columns, rules.image.channels)
        canvas = Canvas(
            pixels=pixels,
            height=height,
            width=width,
            inner_height=inner_height,
            inner_width=inner_width,
            edges=self._edges(answer, height, width) if answer.get("edges") else None,
            original=self._original(str(answer["original"]), pixels, height, width) if "original" in answer else None,
        )
        return canvas, tuple(self._array(rows, columns, rule.channels) for rule in rules.pictures.values() if rule)

    def _array(self, rows: int, columns: int, channels: int) -> Pixels:
        pixels = np.empty((rows, columns, channels), np.uint8)
        receive_into(self._answers, pixels)
        return pixels

    def _original(self, which: str, canvas: Pixels, height: int, width: int) -> Pixels:
        if which == "canvas" and canvas.shape[:2] == (height, width):
            return canvas
        return self._array(height, width, ORIGINAL_CHANNELS)

    def _edges(self, answer: dict[str, Any], height: int, width: int) -> InkEdges:
        if answer["ink_bytes"] is None:
            return InkEdges(None, height, width)
        size = int(answer["ink_bytes"])
        if not 0 < size <= 2 * height * width:
            raise ValueError("no drawing has so much ink")
        ink = bytearray(size)
        receive_into(self._answers, ink)
        return InkEdges(bytes(ink), height, width)

    def kill_if_hung(self, now: float) -> None:
        if now > self._deadline:
            self._hung = True
            self._process.kill()

    def end(self) -> int:
        """Kill the process if it still runs; returns its exit status as ``subprocess.Popen.returncode`` gives it."""
        self._process.kill()
        for stream in (self._requests, self._answers):
            with contextlib.suppress(OSError):
                stream.close()
        return self._process.wait()


class DecodingPool:
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
        """Start one process now, so that it gets ready while the caller does something else."""
        self._idle.get()
        self._idle.put(self._new())

    def decode(
        self,
        source: Source,
        canvas_rule: CanvasRule,
        *,
        pictures: Sequence[Source] = (),
        picture_rules: Mapping[str, CanvasRule] = NO_RULES,
    ) -> Decoded:
        """Read and decode one image, and place it on its canvas; see ``decode_all``. ``source`` is untrusted."""
        return self.decode_all([source], canvas_rule, pictures=[pictures], picture_rules=picture_rules)[0]

    def decode_all(
        self,
        sources: Sequence[Source],
        canvas_rule: CanvasRule,
        *,
        skip_sha256: Sequence[str] = (),
        pictures: Sequence[Sequence[Source]] = (),
        picture_rules: Mapping[str, CanvasRule] = NO_RULES,
    ) -> list[Decoded]:
        """Read and decode images, one after the other in one process, and place each on its canvas.

        A request for several images spares most of the cost of a request. Each image still fails alone: after a crash
        or a hang, a new process goes on with the image after the one that caused it.

        Args:
            sources: image files, untrusted.
            canvas_rule: how every image is placed on its canvas.
            skip_sha256: for each source a SHA-256 or an empty string; an input with this hash is not decoded.
            pictures: for each source its second pictures, untrusted; none if empty. A picture of another size than its
                image is a failure.
            picture_rules: how the second pictures are placed, by their names, in their order.

        Returns:
            One outcome for each source, in order.
        """
        every = itertools.zip_longest(sources, skip_sha256, pictures, fillvalue="")
        inputs = [_Input(source, str(sha256), tuple(seconds)) for source, sha256, seconds in every]
        return self._ask(inputs, _Rules(canvas_rule, picture_rules))

    def inspect(self, source: Source, pictures: Sequence[Source] = (), names: Sequence[str] = ()) -> Decoded:
        """Read one image file and its second pictures, whose names are given, and decode only their headers."""
        return self._ask([_Input(source, "", tuple(pictures))], _Rules(None, dict.fromkeys(names)))[0]

    def close(self) -> None:
        """Kill every process; what they are decoding is dropped."""
        self._closed.set()
        with self._mutex:
            running, self._running = self._running, set()
        for worker in running:
            worker.end()

    def _new(self) -> _Worker:
        with self._mutex:
            if self._closed.is_set():
                raise EOFError("the decoding pool is closed")
            worker = _Worker()
            self._running.add(worker)
        return worker

    def _ask(self, inputs: Sequence[_Input], rules: _Rules) -> list[Decoded]:
        if not any(isinstance(one, str) and is_url(one) for each in inputs for one in each.sources):
            return self._ask_worker(inputs, rules)
        return [self._fetch_and_ask(each, rules) for each in inputs]

    def _fetch_and_ask(self, one: _Input, rules: _Rules) -> Decoded:
        """Fetch and decode one input, alone, because it may be large and fetching takes most of the time."""
        started = time.perf_counter()
        data: list[Source] = []
        for name, source in zip(("", *rules.pictures), one.sources, strict=True):
            try:
                remote = isinstance(source, str) and is_url(source)
                data.append(read_url(str(source), MAX_FILE_BYTES) if remote else source)
            except (OSError, UsageError) as error:
                reason = error.message if isinstance(error, UsageError) else error.strerror or error
                return Decoded(
                    sha256="", reason=f"{f'its {name} {source!s} ' if name else ''}cannot be read ({reason})"
                )
        read_ms = 1e3 * (time.perf_counter() - started)
        fetched = _Input(data[0], one.skip_sha256, tuple(data[1:]))
        return replace(self._ask_worker([fetched], rules)[0], read_ms=read_ms)

    def _ask_worker(self, inputs: Sequence[_Input], rules: _Rules) -> list[Decoded]:
        answers: list[Decoded] = []
        worker = self._idle.get()
        try:
            while len(answers) < len(inputs):
                rest = inputs[len(answers) :]
                given = [one for each in rest for one in each.sources if isinstance(one, bytes)]
                request = {
                    "timeout_s": self._timeout_s,
                    "max_pixels": self._max_pixels,
                    "images": [
                        {"files": [_file(one) for one in each.sources], "skip_sha256": each.skip_sha256}
                        for each in rest
                    ],
                } | rules.entries()
                try:
                    worker = worker or self._new()
                    answers.extend(worker.ask(request, given, rules, self._timeout_s))
                except _HungError:
                    self._end(worker)
                    worker = None
                    reason = f"cannot be decoded (the decoder hung for {self._timeout_s:g} s and was stopped)"
                    answers.append(Decoded(sha256=inputs[len(answers)].sha256(), reason=reason, permanent=True))
                except (EOFError, OSError, ValueError, KeyError, TypeError) as error:
                    status = self._end(worker)
                    worker = None
                    answers.append(
                        Decoded(
                            sha256=inputs[len(answers)].sha256(),
                            reason=f"cannot be decoded (the decoder {_exit_reason(status, error)})",
                            # SIGKILL comes from outside, for instance from a system that is short of memory.
                            permanent=status < 0 and status != -signal.SIGKILL,
                        )
                    )
        finally:
            self._idle.put(worker)
        return answers

    def _end(self, worker: _Worker | None) -> int:
        if worker is None:
            return 0
        with self._mutex:
            self._running.discard(worker)
        return worker.end()

    def _watch(self) -> None:
        while not self._closed.wait(_WATCH_INTERVAL_S):
            with self._mutex:
                for worker in self._running:
                    worker.kill_if_hung(time.monotonic())


def _file(source: Source) -> tuple[str | None, int]:
    """Return the entry of a request for one file: its path, or the number of its bytes, which follow the request."""
    return (source, 0) if isinstance(source, str) else (None, len(source))


def _exit_reason(status: int, error: Exception) -> str:
    if not isinstance(error, (EOFError, OSError)):
        return f"gave a malformed answer: {reason_of(error)}"
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"crashed with {signal.Signals(-status).name}"
    return f"ended with status {status}: {reason_of(error)}"
