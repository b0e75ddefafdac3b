"""Pool of processes that decode images: an image that crashes or hangs its decoder fails alone.

A decoding process costs about 0.2 s of CPU time to start, in parallel with loading the model. A request and its answer,
for eight images at a time, cost about as much CPU time as decoding a 128x128 drawing: 0.15 to 0.2 ms an image on a
Xeon.
"""

import contextlib
import functools
import itertools
import queue
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Self

from polyexport.errors import UsageError, reason_of
from polyexport.imaging.pixels import MAX_FILE_BYTES, MAX_PIXELS
from polyexport.imaging.traits import KEEP_NOTHING, Keep
from polyexport.model.canvas import CanvasRule
from polyexport.pipeline.decoding.process import NO_RULES, Decoded, DecodingProcess, HungError, Input, Rules, Source
from polyexport.pipeline.decoding.row_stream import RowStream
from polyexport.runtime.cores import granted_cores
from polyexport.runtime.memory import granted_memory
from polyexport.storage.stores import is_url, read_url

__all__ = ["DecodingPool", "default_jobs"]

TIMEOUT_S = 60.0
"""Longest time for one image, from the request to the answer. A drawing of 8192x8192 pixels on toned paper took 10 s of
processor time, because the ink is measured for the edges of its fill."""

MAX_JOBS = 256
_MIN_IMAGES_PER_JOB = 64  # for fewer images than this, another process costs more than it gives
_WATCH_INTERVAL_S = 0.2
_BYTES_PER_PIXEL = 32  # what a whole image takes of the memory, in the decoding process and in this one


def default_jobs(images: int) -> int:
    """Return how many processes decode a run of this many images."""
    return min(granted_cores(), MAX_JOBS, 1 + images // _MIN_IMAGES_PER_JOB)


class DecodingPool:
    """Up to ``jobs`` decoding processes, each started when it is first needed. Safe to call from several threads."""

    def __init__(self, *, jobs: int, timeout_s: float = TIMEOUT_S, max_pixels: int = MAX_PIXELS) -> None:
        """Start without a process.

        Args:
            jobs: largest number of processes that decode whole images.
            timeout_s: longest time for one image, seconds.
            max_pixels: largest width times height of an image that is accepted.
        """
        if not 1 <= jobs <= MAX_JOBS or not 0 < timeout_s <= 86400:
            raise ValueError(f"jobs must be 1 to {MAX_JOBS}, timeout_s at most a day; got {jobs} and {timeout_s}")
        self.jobs = jobs
        self._timeout_s = timeout_s
        self._max_pixels = max_pixels
        self._idle: queue.LifoQueue[DecodingProcess | None] = queue.LifoQueue()
        for _ in range(jobs):
            self._idle.put(None)
        self._running: set[DecodingProcess] = set()
        self._mutex = threading.Lock()
        self._closed = threading.Event()
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    @functools.cached_property
    def _pixels_in_memory(self) -> int:
        """Number of pixels of an image that is decoded as a whole, by the memory that is granted at the first one."""
        return granted_memory() // _BYTES_PER_PIXEL

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
        keep: Keep = KEEP_NOTHING,
        frames: bool = False,
    ) -> Decoded:
        """Read and decode one image, and place it on its canvas; see ``decode_all``. ``source`` is untrusted."""
        return self.decode_all(
            [source], canvas_rule, pictures=[pictures], picture_rules=picture_rules, keep=keep, frames=frames
        )[0]

    def decode_all(
        self,
        sources: Sequence[Source],
        canvas_rule: CanvasRule,
        *,
        skip_sha256: Sequence[str] = (),
        pictures: Sequence[Sequence[Source]] = (),
        picture_rules: Mapping[str, CanvasRule] = NO_RULES,
        keep: Keep = KEEP_NOTHING,
        frames: bool = False,
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
            keep: which traits of the image files are kept.
            frames: decode every frame of animations and every page of documents, not the first alone.

        Returns:
            One outcome for each source, in order.
        """
        every = itertools.zip_longest(sources, skip_sha256, pictures, fillvalue="")
        inputs = [Input(source, str(sha256), tuple(seconds)) for source, sha256, seconds in every]
        most, large = self._max_pixels, 0
        if canvas_rule.tiles is not None:  # what does not fit the memory can be run in bands
            most, large = min(most, MAX_PIXELS, self._pixels_in_memory), most
        rules = Rules(canvas_rule, picture_rules, keep, frames, max_pixels=most, large_pixels=large)
        return self._ask(inputs, rules)

    def inspect(self, source: Source, pictures: Sequence[Source] = (), names: Sequence[str] = ()) -> Decoded:
        """Read one image file and its second pictures, whose names are given, and decode only their headers."""
        rules = Rules(None, dict.fromkeys(names), max_pixels=self._max_pixels)
        return self._ask([Input(source, "", tuple(pictures))], rules)[0]

    def open_rows(self, source: str, *, channels: int, band_rows: int, keep: Keep) -> RowStream:
        """Start a process that decodes one large image file, untrusted, in bands; see ``RowStream``.

        Raises:
            RowError: the file cannot be read, is damaged, or crashes or hangs its decoder.
        """
        process = self._new()
        try:
            return RowStream(
                process,
                source,
                channels=channels,
                band_rows=band_rows,
                max_pixels=self._max_pixels,
                keep=keep,
                timeout_s=self._timeout_s,
                on_end=self._end,
            )
        except BaseException:
            self._end(process)
            raise

    def close(self) -> None:
        """Kill every process; what they are decoding is dropped."""
        self._closed.set()
        with self._mutex:
            running, self._running = self._running, set()
        for worker in running:
            worker.end()

    def _new(self) -> DecodingProcess:
        with self._mutex:
            if self._closed.is_set():
                raise EOFError("the decoding pool is closed")
            worker = DecodingProcess()
            self._running.add(worker)
        return worker

    def _ask(self, inputs: Sequence[Input], rules: Rules) -> list[Decoded]:
        if not any(isinstance(one, str) and is_url(one) for each in inputs for one in each.sources):
            return self._ask_worker(inputs, rules)
        return [self._fetch_and_ask(each, rules) for each in inputs]

    def _fetch_and_ask(self, one: Input, rules: Rules) -> Decoded:
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
        fetched = Input(data[0], one.skip_sha256, tuple(data[1:]))
        return replace(self._ask_worker([fetched], rules)[0], read_ms=read_ms)

    def _ask_worker(self, inputs: Sequence[Input], rules: Rules) -> list[Decoded]:
        answers: list[Decoded] = []
        worker = self._idle.get()
        try:
            while len(answers) < len(inputs):
                rest = inputs[len(answers) :]
                given = [one for each in rest for one in each.sources if isinstance(one, bytes)]
                request = {
                    "timeout_s": self._timeout_s,
                    "images": [each.entries() for each in rest],
                } | rules.entries()
                try:
                    worker = worker or self._new()
                    answers.extend(worker.ask(request, given, rules, self._timeout_s))
                except HungError:
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

    def _end(self, worker: DecodingProcess | None) -> int:
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


def _exit_reason(status: int, error: Exception) -> str:
    if not isinstance(error, (EOFError, OSError)):
        return f"gave a malformed answer: {reason_of(error)}"
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"crashed with {signal.Signals(-status).name}"
    return f"ended with status {status}: {reason_of(error)}"
