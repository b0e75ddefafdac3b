"""Decode, batch, infer, encode and write, overlapped, with a bounded number of images in memory.

Three pools of threads: to decode, to run the network, to encode and write. Pillow and ONNX Runtime release the
interpreter's lock, so the stages really overlap. The calling thread only hands work from one pool to the next.
"""

import errno
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from polyexport.color import Color
from polyexport.errors import ImageError, OutputError, PolyexportError, reason_of
from polyexport.files import write_atomic
from polyexport.framing import Framed, Framing
from polyexport.image import Pixels, encode_png, read_image
from polyexport.model import Model
from polyexport.pipeline.plan import Item, Plan

__all__ = ["ItemResult", "RunOptions", "RunReport", "arrange", "run_plan"]

# Errors of one name; any other means that the output folder itself is unusable, and that ends the run.
_ONE_FILE_ERRNOS = frozenset((errno.ENAMETOOLONG, errno.EISDIR, errno.EINVAL, errno.EILSEQ))


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """How a run uses this machine. None of it changes the outputs."""

    batch_size: int = 4
    """Images per call of the network."""

    jobs: int = 2
    """Threads that decode, and as many that encode and write."""

    streams: int = 1
    """Calls of the network at a time."""

    def __post_init__(self) -> None:
        if not 1 <= self.batch_size <= 1024 or not 1 <= self.jobs <= 256 or not 1 <= self.streams <= 256:
            raise ValueError(f"batch_size must be 1 to 1024, jobs and streams 1 to 256; got {self}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemResult:
    """The one state that an input ends in."""

    item: Item
    status: Literal["ok", "failed"]
    reason: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class RunReport:
    """The end of a run."""

    results: tuple[ItemResult, ...]
    """In the order of the plan."""

    written: int
    """Output files."""

    seconds: float
    execution_provider: str

    @property
    def failed(self) -> int:
        return sum(result.status == "failed" for result in self.results)

    @property
    def images_per_s(self) -> float:
        """Outputs written per second, decoding to writing."""
        return self.written / self.seconds if self.seconds > 0 else 0.0


@dataclass(slots=True)
class _Progressing:
    """An input on its way; it is done when as many outputs as colours are settled."""

    item: Item
    warnings: tuple[str, ...]
    waiting: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Work:
    """One image in one colour, ready for the network."""

    owner: _Progressing
    framed: Framed
    color: Color


def arrange(outputs: int, *, threads: int, cores: int) -> tuple[int, int]:
    """Threads per call and calls at a time on a CPU.

    Measured on two cores with the shipped model: two calls of one thread each give about 15 % more images per second
    than one call of two threads, whatever the batch size. A handful of images is done sooner with every core on each.

    Args:
        outputs: images times colours of the run.
        threads: what the user wants for each call; 0 to choose.
        cores: that are granted.
    """
    if not threads:
        threads = 1 if outputs >= 4 * cores else cores
    return threads, max(1, cores // threads)


def run_plan(
    plan: Plan,
    model: Model,
    framing: Framing,
    options: RunOptions,
    *,
    on_result: Callable[[ItemResult], None] = lambda result: None,
) -> RunReport:
    """Colour every input of a plan. A bad input fails alone.

    Args:
        on_result: called once per input, from the calling thread, as it is settled.

    Raises:
        OutputError: the output folder became unusable; what was written before is whole.
    """
    run = _Run(plan, model, framing, options, on_result)
    return run.execute()


class _Run:
    def __init__(
        self,
        plan: Plan,
        model: Model,
        framing: Framing,
        options: RunOptions,
        on_result: Callable[[ItemResult], None],
    ) -> None:
        self.plan = plan
        self.model = model
        self.framing = framing
        self.options = options
        self.on_result = on_result
        self.results: dict[Item, ItemResult] = {}
        self.written = 0
        # Batches are of one canvas shape; the oldest shape goes first when too much waits.
        self.buckets: OrderedDict[tuple[int, ...], list[_Work]] = OrderedDict()
        self.inferences: deque[tuple[list[_Work], Future[list[Pixels | str]]]] = deque()
        self.writes: deque[tuple[_Progressing, Future[str]]] = deque()
        # Whole images, where the colours of one share a run.
        colors = len(plan.colors) if model.contract.many_colors else 1
        self.batch_size = max(1, options.batch_size // colors) * colors
        self.window = 2 * max(self.batch_size * (options.streams + 1), options.jobs)
        self.decoders = ThreadPoolExecutor(options.jobs, thread_name_prefix="decode")
        self.networks = ThreadPoolExecutor(options.streams, thread_name_prefix="network")
        self.writers = ThreadPoolExecutor(options.jobs, thread_name_prefix="write")

    def execute(self) -> RunReport:
        started = time.perf_counter()
        try:
            for item, decoded in self._decoded():
                self._accept(item, decoded)
                while self._waiting() > self.window or self._full_bucket():
                    self._infer_oldest()
                self._settle(down_to=self.window)
            while self.buckets:
                self._infer_oldest()
                self._settle(down_to=self.window)
            self._collect(down_to=0)
            self._settle(down_to=0)
        finally:
            # On an error or an interrupt: no new work; writes under way finish, so that no file is left half named.
            for pool in (self.decoders, self.networks, self.writers):
                pool.shutdown(wait=True, cancel_futures=True)
        return RunReport(
            results=tuple(self.results[item] for item in self.plan.items),
            written=self.written,
            seconds=time.perf_counter() - started,
            execution_provider=self.model.session.execution_provider,
        )

    def _decode(self, item: Item) -> tuple[Framed, tuple[str, ...]]:
        decoded = read_image(item.source)
        return self.framing.frame(decoded.pixels), decoded.warnings

    def _decoded(self) -> Iterator[tuple[Item, Future[tuple[Framed, tuple[str, ...]]]]]:
        """Inputs in the order of the plan, decoded a bounded distance ahead."""
        ahead: deque[tuple[Item, Future[tuple[Framed, tuple[str, ...]]]]] = deque()
        for item in self.plan.items:
            ahead.append((item, self.decoders.submit(self._decode, item)))
            if len(ahead) >= self.window:
                yield ahead.popleft()
        while ahead:
            yield ahead.popleft()

    def _accept(self, item: Item, decoded: Future[tuple[Framed, tuple[str, ...]]]) -> None:
        owner = _Progressing(item, (), len(self.plan.colors))
        try:
            framed, owner.warnings = decoded.result()
        except ImageError as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001 - no input may take the others with it; memory is the usual cause
            reason = f"cannot be decoded ({reason_of(error)})"
        else:
            bucket = self.buckets.setdefault(framed.canvas.shape, [])
            bucket.extend(_Work(owner, framed, color) for color in self.plan.colors)
            return
        owner.waiting, owner.reason = 0, reason
        self._finish(owner)

    def _waiting(self) -> int:
        return sum(map(len, self.buckets.values()))

    def _full_bucket(self) -> bool:
        for shape, bucket in self.buckets.items():
            if len(bucket) >= self.batch_size:
                self.buckets.move_to_end(shape, last=False)
                return True
        return False

    def _infer_oldest(self) -> None:
        shape, bucket = next(iter(self.buckets.items()))
        count = bucket[0].framed.batch_limit(self.batch_size)
        batch, rest = bucket[:count], bucket[count:]
        if rest:
            self.buckets[shape] = rest
        else:
            del self.buckets[shape]
        self.inferences.append((batch, self.networks.submit(self._infer, batch)))
        self._collect(down_to=self.options.streams)

    def _infer(self, batch: list[_Work]) -> list[Pixels | str]:
        """Run the network; for each image its canvas, or why there is none."""
        try:
            return list(self.model.run_canvases([work.framed for work in batch], [work.color for work in batch]))
        except PolyexportError:
            raise
        except Exception as error:  # noqa: BLE001 - ONNX Runtime raises unrelated types; memory is the usual cause
            half = len(batch) // 2
            if half:
                return self._infer(batch[:half]) + self._infer(batch[half:])
            return [f"the network failed on it ({reason_of(error)})"]

    def _collect(self, *, down_to: int) -> None:
        """Hand finished canvases to the writers."""
        while len(self.inferences) > down_to or (self.inferences and self.inferences[0][1].done()):
            batch, inference = self.inferences.popleft()
            for work, canvas in zip(batch, inference.result(), strict=True):
                if isinstance(canvas, str):
                    self._settled(work.owner, canvas)
                else:
                    self.writes.append((work.owner, self.writers.submit(self._write, work, canvas)))

    def _write(self, work: _Work, canvas: Pixels) -> str:
        """Restore, encode and write one output; returns why this one alone cannot be written, or nothing."""
        try:
            data = encode_png(work.framed.restore(canvas))
        except Exception as error:  # noqa: BLE001 - memory, again
            return f"cannot be encoded ({reason_of(error)})"
        try:
            write_atomic(self.plan.destination(work.owner.item, work.color), data)
        except OutputError as error:
            cause = error.__cause__
            if isinstance(cause, OSError) and cause.errno in _ONE_FILE_ERRNOS:
                return str(error)
            raise
        return ""

    def _settle(self, *, down_to: int) -> None:
        while len(self.writes) > down_to or (self.writes and self.writes[0][1].done()):
            owner, write = self.writes.popleft()
            reason = write.result()
            self.written += not reason
            self._settled(owner, reason)

    def _settled(self, owner: _Progressing, reason: str) -> None:
        owner.waiting -= 1
        owner.reason = owner.reason or reason
        if not owner.waiting:
            self._finish(owner)

    def _finish(self, owner: _Progressing) -> None:
        result = ItemResult(
            item=owner.item,
            status="failed" if owner.reason else "ok",
            reason=owner.reason,
            warnings=owner.warnings,
        )
        self.results[owner.item] = result
        self.on_result(result)
