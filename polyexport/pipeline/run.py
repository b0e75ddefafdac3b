"""Decode, batch, infer, encode and write, overlapped, with a bounded number of images in memory.

Processes decode (``decoding``), and threads call the network, encode and write; pillow, ONNX Runtime and the kernel
work without the interpreter's lock, so the stages really overlap. The calling thread only hands work from one stage to
the next, in the order of the plan: which images share a batch does not depend on timing. Finished files are synced,
journaled and named in groups (``outputs``), by a thread that waits for the disk in place of all others.

Small images are handed on several at a time. What is done once between two calls of the network finds every cache
cold and wakes a thread: writing a file of 1.5 kB took 0.1 to 0.4 ms of CPU time so, and 0.02 ms one after the other.
"""

import hashlib
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

from polyexport.errors import ImageError, PolyexportError, reason_of
from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.color import Color
from polyexport.imaging.matte import transparent
from polyexport.imaging.pixels import Pixels
from polyexport.model.canvas import Canvas, CanvasRule
from polyexport.model.model import Model
from polyexport.pipeline.decoding.pool import Decoded, Decoders
from polyexport.pipeline.outputs.disk import Outputs, Pending
from polyexport.pipeline.outputs.journal import Record, recipe_of
from polyexport.pipeline.outputs.prior_results import Standing, Survey
from polyexport.pipeline.plan import Item, Plan, output_name
from polyexport.storage.stores import is_url

__all__ = [
    "MAX_BATCH_SIZE",
    "Background",
    "ItemResult",
    "RunOptions",
    "RunReport",
    "Timings",
    "arrange",
    "recipes_of",
    "run_plan",
]

Background = Literal["white", "transparent"]

MAX_BATCH_SIZE = 1024

_GROUP = 32  # outputs that share one sync of the journal
_GROUP_S = 0.25  # and for how long the first of them waits
_TOGETHER = 8  # images that are handed on together
_TOGETHER_BYTES = 1 << 20  # and of their canvases
_MAX_WINDOWS = 16  # of inputs that an image waits for others of its shape
_FETCHERS = 16  # requests to a store at a time
_KNOWN = "known from an earlier run; --retry-failed tries it again"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """How a run uses this machine. None of it changes the outputs."""

    batch_size: int = 1
    """Images per call of the network."""

    streams: int = 1
    """Calls of the network at a time."""

    def __post_init__(self) -> None:
        if not 1 <= self.batch_size <= MAX_BATCH_SIZE or not 1 <= self.streams <= 256:
            raise ValueError(f"batch_size must be 1 to {MAX_BATCH_SIZE} and streams 1 to 256, got {self}")


@dataclass(slots=True)
class Timings:
    """Milliseconds that an input spent in each stage, all its colours together; waiting is not in it."""

    read_ms: float = 0.0
    decode_ms: float = 0.0
    infer_ms: float = 0.0
    """Its share of its batches."""

    encode_ms: float = 0.0
    write_ms: float = 0.0
    """Without the syncing, which is done for many at a time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemResult:
    """The one state that an input ends in."""

    item: Item
    status: Literal["ok", "failed", "skipped"]
    """``skipped``: every output is there, made of this input by this recipe."""

    reason: str = ""
    written: int = 0
    """Outputs of this run."""

    warnings: tuple[str, ...] = ()
    timings: Timings = field(default_factory=Timings)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunReport:
    """The end of a run. What became of each input went to ``on_result``."""

    ok: int
    failed: int
    skipped: int
    written: int
    """Output files."""

    seconds: float
    execution_provider: str

    @property
    def images(self) -> int:
        """Inputs."""
        return self.ok + self.failed + self.skipped

    @property
    def images_per_s(self) -> float:
        """Outputs written per second, decoding to writing."""
        return self.written / self.seconds if self.seconds > 0 else 0.0


@dataclass(slots=True)
class _Progressing:
    """An input on its way; it is done when as many outputs as colours are settled."""

    index: int
    item: Item
    first: int
    """Number of its first output."""

    recipes: list[str]
    settled: list[Record | None]
    """What an earlier run settled of each colour, if the input is still the same."""

    waiting: int
    sha256: str = ""
    reason: str = ""
    written: int = 0
    warnings: tuple[str, ...] = ()
    timings: Timings = field(default_factory=Timings)

    def known(self) -> str:
        """The hash of the input with which nothing is left to do; empty if there is none."""
        inputs = {record.input_sha256 if record else "" for record in self.settled}
        return inputs.pop() if len(inputs) == 1 else ""


@dataclass(frozen=True, slots=True)
class _Work:
    """One image in one colour, ready for the network."""

    owner: _Progressing
    canvas: Canvas
    number: int
    """Of the colour in its item."""

    @property
    def color(self) -> Color:
        return self.owner.item.colors[self.number]


@dataclass(frozen=True, slots=True)
class _Made:
    """What came of one image in one colour: a staged output, or why there is none."""

    pending: Pending | str
    encode_ms: float = 0.0
    write_ms: float = 0.0


def arrange(outputs: int, *, threads: int, cores: int) -> tuple[int, int]:
    """Threads per call and calls at a time on a CPU.

    Measured with the shipped models: one thread a call and a call for every core gives more images per second than one
    call on all cores, at every batch size. A handful of images is done sooner with every core on each.

    Args:
        outputs: images times colours of the run.
        threads: what the user wants for each call; 0 to choose.
        cores: that are granted.
    """
    if not threads:
        threads = 1 if outputs >= 4 * cores else cores
    return threads, max(1, cores // threads)


def recipes_of(plan: Plan, model: Model, canvas_rule: CanvasRule, background: Background) -> dict[Color, str]:
    """For each colour of a plan, the hash of everything but the input that decides an output's pixels.

    Raises:
        ColorError: a colour that the model does not know.
    """
    return {
        color: recipe_of(
            model=model.sha256,
            color=model.condition.recipe(color),
            mode=canvas_rule.mode,
            size=canvas_rule.size if canvas_rule.mode == "fit" else 0,
            background=background,
        )
        for color in plan.colors
    }


def run_plan(
    plan: Plan,
    model: Model,
    canvas_rule: CanvasRule,
    options: RunOptions,
    *,
    folder: Outputs,
    survey: Survey,
    decoders: Decoders,
    background: Background = "white",
    on_result: Callable[[ItemResult], None] = lambda result: None,
) -> RunReport:
    """Colour every input of a plan. A bad input fails alone.

    Args:
        plan: inputs and outputs.
        model: for every call.
        canvas_rule: of this model.
        options: how this machine is used.
        folder: takes the outputs.
        survey: of the plan's output folder.
        decoders: processes; they are closed only if the run ends with an error.
        background: what becomes of the paper around a drawing.
        on_result: called once per input, from the calling thread, in the order of the plan.

    Raises:
        OutputError: the output folder became unusable; what was written before is whole.
    """
    run = _Run(plan, model, canvas_rule, options, folder, survey, decoders, background, on_result)
    return run.execute()


class _Run:
    def __init__(
        self,
        plan: Plan,
        model: Model,
        canvas_rule: CanvasRule,
        options: RunOptions,
        folder: Outputs,
        survey: Survey,
        decoders: Decoders,
        background: Background,
        on_result: Callable[[ItemResult], None],
    ) -> None:
        self.plan = plan
        self.model = model
        self.canvas_rule = canvas_rule
        self.options = options
        self.folder = folder
        self.survey = survey
        self.processes = decoders
        self.background = background
        self.on_result = on_result
        self.recipes = recipes_of(plan, model, canvas_rule, background)
        self.counts = {"ok": 0, "failed": 0, "skipped": 0}
        self.written = 0
        self.reported = 0
        self.results: dict[int, ItemResult] = {}  # that wait for the result of an earlier input
        # Batches are of one canvas shape; the oldest shape goes first when too much waits.
        self.buckets: OrderedDict[tuple[int, ...], list[_Work]] = OrderedDict()
        self.calls: deque[tuple[list[_Work], Future[tuple[list[Pixels | str], float]]]] = deque()
        self.colored: list[tuple[_Work, Pixels]] = []
        self.writes: deque[tuple[list[_Work], Future[list[_Made]]]] = deque()
        self.group: list[tuple[_Progressing, Pending]] = []
        self.group_since = 0.0
        self.commits: deque[tuple[list[tuple[_Progressing, Pending]], Future[list[str]]]] = deque()
        # Whole images, where the colours of one share a run.
        colors = len(plan.colors) if model.contract.many_colors else 1
        self.batch_size = max(1, options.batch_size // colors) * colors
        self.together = self._handed_on_together()
        self.window = 2 * max(self._task(self.batch_size) * (options.streams + 1), decoders.jobs * self.together)
        # Where a store is read, most of them wait for it.
        fetchers = _FETCHERS if any(is_url(item.source) for item in plan.items[:1]) else decoders.jobs
        self.decoders = ThreadPoolExecutor(max(fetchers, decoders.jobs), thread_name_prefix="decode")
        self.networks = ThreadPoolExecutor(options.streams, thread_name_prefix="network")
        self.writers = ThreadPoolExecutor(max(folder.concurrency, decoders.jobs), thread_name_prefix="write")
        self.committer = ThreadPoolExecutor(1, thread_name_prefix="commit")

    def _handed_on_together(self) -> int:
        if self.canvas_rule.mode == "native" or len(self.plan.items) < _TOGETHER * _TOGETHER:
            return 1  # of any size, or too few to share the work evenly
        return min(_TOGETHER, max(1, _TOGETHER_BYTES // (3 * self.canvas_rule.size**2)))

    def _task(self, count: int) -> int:
        """How many images go to a thread that calls the network with ``count`` at a time."""
        return count * max(1, self.together // count)

    def execute(self) -> RunReport:
        started = time.perf_counter()
        try:
            for owner, decoded in self._decoded():
                self._accept(owner, decoded)
                while shape := self._ready(owner.index):
                    self._start(shape)
            while self.buckets:
                self._start(next(iter(self.buckets)))
            self._collect(down_to=0)
            self._write()
            self._settle(down_to=0)
            self._commit()
            self._confirm(down_to=0)
        except BaseException:
            self.processes.close()  # or a decoder that hangs would hold up the end
            raise
        finally:
            # On an error or an interrupt: no new work. What is staged already still gets its name.
            for pool in (self.decoders, self.networks, self.writers):
                pool.shutdown(wait=True, cancel_futures=True)
            self._finish_group()
        return RunReport(
            **self.counts,
            written=self.written,
            seconds=time.perf_counter() - started,
            execution_provider=self.model.session.execution_provider,
        )

    def _finish_group(self) -> None:
        """After an error: name or remove what is staged, so that nothing is left half done."""
        for works, write in self.writes:
            if not write.cancelled() and write.exception() is None:
                made = zip(works, write.result(), strict=True)
                self.group.extend((work.owner, one.pending) for work, one in made if isinstance(one.pending, Pending))
        self.writes.clear()
        if self.group:
            self._commit()
        self.committer.shutdown(wait=True)

    def _owners(self) -> Iterator[_Progressing]:
        first = 0
        for index, item in enumerate(self.plan.items):
            recipes = [self.recipes[color] for color in item.colors]
            settled = self.survey.settled(item, first, recipes)
            yield _Progressing(index, item, first, recipes, settled, len(item.colors))
            first += len(item.colors)

    def _decoded(self) -> Iterator[tuple[_Progressing, Decoded]]:
        """Inputs in the order of the plan, decoded a bounded distance ahead."""
        ahead: deque[tuple[list[_Progressing], Future[list[Decoded]]]] = deque()
        owners = self._owners()
        while some := list(islice(owners, self.together)):
            sources, known = [owner.item.source for owner in some], [owner.known() for owner in some]
            decode = self.decoders.submit(self.processes.decode_all, sources, self.canvas_rule, known=known)
            ahead.append((some, decode))
            if len(ahead) * self.together >= self.window:
                asked, decode = ahead.popleft()
                yield from zip(asked, decode.result(), strict=True)
        for asked, decode in ahead:
            yield from zip(asked, decode.result(), strict=True)

    def _accept(self, owner: _Progressing, decoded: Decoded) -> None:
        owner.sha256, owner.warnings = decoded.sha256, decoded.warnings
        owner.timings.read_ms, owner.timings.decode_ms = decoded.read_ms, decoded.decode_ms
        works: list[_Work] = []
        for number, record in enumerate(owner.settled):
            if record is not None and record.input_sha256 == decoded.sha256:
                self._settled(owner, f"{record.failed} ({_KNOWN})" if record.failed else "")
            elif decoded.canvas is None:
                self._failed(owner, number, decoded.reason, lasting=decoded.lasting)
            else:
                works.append(_Work(owner, decoded.canvas, number))
        if works:
            self.buckets.setdefault(works[0].canvas.pixels.shape, []).extend(works)

    def _failed(self, owner: _Progressing, number: int, reason: str, *, lasting: bool) -> None:
        if lasting and owner.sha256:
            output = output_name(owner.item, owner.item.colors[number])
            self._queue(owner, Pending(output, Record(owner.sha256, owner.recipes[number], "", reason)))
        else:
            self._settled(owner, reason)

    def _ready(self, index: int) -> tuple[int, ...] | None:
        """The shape whose images go to the network now, with input ``index`` accepted; None to wait for more.

        A matter of the plan alone, never of timing: a full batch, or the oldest shape when too many images wait, or one
        whose first image is so far behind that the results of those after it pile up.
        """
        for shape, bucket in self.buckets.items():
            if len(bucket) >= self._task(self.batch_size) or index - bucket[0].owner.index > _MAX_WINDOWS * self.window:
                return shape
        if sum(map(len, self.buckets.values())) > self.window:
            return next(iter(self.buckets))
        return None

    def _start(self, shape: tuple[int, ...]) -> None:
        bucket = self.buckets[shape]
        count = bucket[0].canvas.batch_limit(self.batch_size)
        some = self._task(count)
        works, rest = bucket[:some], bucket[some:]
        if rest:
            self.buckets[shape] = rest
        else:
            del self.buckets[shape]
        self.calls.append((works, self.networks.submit(self._infer, works, count)))
        # As many wait as are at work, so that none of these waits for this thread.
        self._collect(down_to=2 * self.options.streams)

    def _infer(self, works: list[_Work], count: int) -> tuple[list[Pixels | str], float]:
        """Run the network on ``count`` at a time; a canvas for each, or why there is none, and the milliseconds."""
        started = time.perf_counter()
        canvases: list[Pixels | str] = []
        for first in range(0, len(works), count):
            canvases.extend(self._canvases(works[first : first + count], count))
        return canvases, 1e3 * (time.perf_counter() - started)

    def _canvases(self, batch: list[_Work], count: int) -> list[Pixels | str]:
        # Where a new shape costs a compilation, the last batch is filled up.
        filled = self.model.session.stable_shapes and not self.model.contract.many_colors
        works = batch + batch[-1:] * (count - len(batch) if filled else 0)
        try:
            canvases = self.model.run_canvases([work.canvas for work in works], [work.color for work in works])
            return list(canvases[: len(batch)])
        except ImageError as error:  # one of them; which, the halves tell
            reason = error.message
        except PolyexportError:
            raise
        except Exception as error:  # noqa: BLE001 - ONNX Runtime raises unrelated types; memory is the usual cause
            reason = reason_of(error)
            self.batch_size = min(self.batch_size, -(-len(batch) // 2))  # what follows is tried at this size
        half = len(batch) // 2
        if half:
            return self._canvases(batch[:half], half) + self._canvases(batch[half:], len(batch) - half)
        return [f"the network failed on it ({reason})"]

    def _collect(self, *, down_to: int) -> None:
        """Hand finished canvases to the writers."""
        while len(self.calls) > down_to or (self.calls and self.calls[0][1].done()):
            works, call = self.calls.popleft()
            canvases, infer_ms = call.result()
            for work, canvas in zip(works, canvases, strict=True):
                work.owner.timings.infer_ms += infer_ms / len(works)
                if isinstance(canvas, str):
                    self._settled(work.owner, canvas)
                else:
                    self.colored.append((work, canvas))
            if len(self.colored) >= self.together:
                self._write()
        self._settle(down_to=self.window)

    def _write(self) -> None:
        colored, self.colored = self.colored, []
        self.writes.append(([work for work, _ in colored], self.writers.submit(self._make, colored)))

    def _make(self, colored: list[tuple[_Work, Pixels]]) -> list[_Made]:
        # One sort of work after the other: each is faster by what the one before of its sort left in the caches.
        encoded = [self._encode(work, canvas) for work, canvas in colored]
        return [self._stage(work, data, ms) for (work, _), (data, ms) in zip(colored, encoded, strict=True)]

    def _encode(self, work: _Work, canvas: Pixels) -> tuple[bytes | str, float]:
        """A PNG, or why there is none; and the milliseconds."""
        started = time.perf_counter()
        try:
            colored = work.canvas.restore(canvas)
            data = encode_png(transparent(colored) if self.background == "transparent" else colored)
        except Exception as error:  # noqa: BLE001 - memory, again
            return f"cannot be encoded ({reason_of(error)})", 0.0
        return data, 1e3 * (time.perf_counter() - started)

    def _stage(self, work: _Work, data: bytes | str, encode_ms: float) -> _Made:
        if isinstance(data, str):
            return _Made(data)
        owner, number = work.owner, work.number
        started = time.perf_counter()
        record = Record(owner.sha256, owner.recipes[number], hashlib.sha256(data).hexdigest())
        replace = self.survey.standing[owner.first + number] != Standing.NOTHING
        pending = Pending(output_name(owner.item, work.color), record, self.folder.stage(data), replace)
        return _Made(pending, encode_ms, 1e3 * (time.perf_counter() - started))

    def _settle(self, *, down_to: int) -> None:
        """Take staged outputs over into the group that is committed next."""
        waiting = sum(len(works) for works, _ in self.writes)
        while self.writes and (waiting > down_to or self.writes[0][1].done()):
            works, write = self.writes.popleft()
            waiting -= len(works)
            for work, made in zip(works, write.result(), strict=True):
                work.owner.timings.encode_ms += made.encode_ms
                work.owner.timings.write_ms += made.write_ms
                if isinstance(made.pending, str):
                    self._settled(work.owner, made.pending)
                else:
                    self._queue(work.owner, made.pending)
        if self.group and time.monotonic() - self.group_since > _GROUP_S:
            self._commit()
        self._confirm(down_to=1)

    def _queue(self, owner: _Progressing, pending: Pending) -> None:
        if not self.group:
            self.group_since = time.monotonic()
        self.group.append((owner, pending))
        if len(self.group) >= _GROUP:
            self._commit()

    def _commit(self) -> None:
        group, self.group = self.group, []
        self.commits.append((group, self.committer.submit(self.folder.commit, [pending for _, pending in group])))

    def _confirm(self, *, down_to: int) -> None:
        while len(self.commits) > down_to or (self.commits and self.commits[0][1].done()):
            group, commit = self.commits.popleft()
            for (owner, pending), reason in zip(group, commit.result(), strict=True):
                if pending.staged and not reason:
                    owner.written += 1
                self._settled(owner, pending.record.failed or reason)

    def _settled(self, owner: _Progressing, reason: str) -> None:
        owner.waiting -= 1
        owner.reason = owner.reason or reason
        if owner.waiting:
            return
        status: Literal["ok", "failed", "skipped"] = "ok" if owner.written else "skipped"
        self.results[owner.index] = ItemResult(
            item=owner.item,
            status="failed" if owner.reason else status,
            reason=owner.reason or ("done before" if status == "skipped" else ""),
            written=owner.written,
            warnings=owner.warnings,
            timings=owner.timings,
        )
        while self.reported in self.results:
            result = self.results.pop(self.reported)
            self.reported += 1
            self.counts[result.status] += 1
            self.written += result.written
            self.on_result(result)
