"""Run of a plan: decode, batch, infer, encode and write, overlapped, with a bounded number of images in memory.

Processes decode (``decoding``), and threads call the network (``batching``), encode and write (``encoding``). pillow,
ONNX Runtime and the kernel work without the interpreter's lock, so the stages really overlap. The calling thread only
hands work from one stage to the next, in the order of the plan: which images share a batch does not depend on timing.
Finished files are synced, journaled and named in groups (``ordering``, ``outputs``) by one thread, which waits for the
disk in place of all others.

Small images are handed on several at a time. Work that is done once between two calls of the network finds every cache
cold and wakes a thread: writing a file of 1.5 kB took 0.1 to 0.4 ms of CPU time that way, and 0.02 ms when several
files were written one after the other.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING

from polyexport.imaging.pixels import Pixels
from polyexport.model.canvas import CanvasRule
from polyexport.model.model import Model
from polyexport.pipeline.batching import Batcher, images_per_network_task, output_tasks
from polyexport.pipeline.cancellation import NEVER, Cancellation, RunCancelledError
from polyexport.pipeline.decoding.pool import DecodingPool
from polyexport.pipeline.decoding.process import Decoded
from polyexport.pipeline.encoding import EncodedOutput, OutputEncoder
from polyexport.pipeline.finishing import PLAIN, Finishing
from polyexport.pipeline.ordering import ResultsInOrder, SyncGroup
from polyexport.pipeline.outputs.disk import OutputSink, UnpublishedOutput
from polyexport.pipeline.outputs.journal import Record, recipe_of
from polyexport.pipeline.outputs.prior_results import PriorResults
from polyexport.pipeline.plan import Plan, output_name
from polyexport.pipeline.progress import InputProgress, OutputTask
from polyexport.pipeline.recipes import recipes_of
from polyexport.pipeline.results import ItemResult, RunReport
from polyexport.pipeline.run_options import RunOptions, images_per_task
from polyexport.storage.stores import is_url

if TYPE_CHECKING:
    from polyexport.pipeline.large_images import LargeImages, LargeOutput

__all__ = ["run_plan"]

_STORE_REQUESTS = 16  # concurrent requests to an object store
_FAILED_EARLIER = "failed in an earlier run; --retry-failed tries it again"

_Unpublished = tuple[InputProgress, UnpublishedOutput]


def run_plan(
    plan: Plan,
    model: Model,
    canvas_rule: CanvasRule,
    options: RunOptions,
    *,
    folder: OutputSink,
    prior_results: PriorResults,
    decoding_pool: DecodingPool,
    finishing: Finishing = PLAIN,
    on_result: Callable[[ItemResult], None] = lambda result: None,
    unrecorded: Collection[str] = (),
    cancellation: Cancellation = NEVER,
) -> RunReport:
    """Make every output of a plan. A bad input fails alone.

    Args:
        plan: inputs and outputs.
        model: the model of every call.
        canvas_rule: how this model places images on canvases.
        options: use of this machine.
        folder: takes the outputs.
        prior_results: what earlier runs left in the plan's output folder.
        decoding_pool: processes that decode; they are closed only if the run ends with an error or is cancelled.
        finishing: how the results are finished.
        on_result: called once per input, from the calling thread, in the order of the plan.
        unrecorded: sources of the inputs whose failures are not recorded in the journal, as the files may not be
            complete yet.
        cancellation: ends the run early; the report counts the inputs that were reported until then.

    Raises:
        OutputError: the output folder became unusable; outputs that were written before are whole.
    """
    run = _Run(
        plan,
        model,
        canvas_rule,
        options,
        folder,
        prior_results,
        decoding_pool,
        finishing,
        on_result,
        unrecorded,
        cancellation,
    )
    return run.execute()


class _Run:
    def __init__(
        self,
        plan: Plan,
        model: Model,
        canvas_rule: CanvasRule,
        options: RunOptions,
        folder: OutputSink,
        prior_results: PriorResults,
        decoding_pool: DecodingPool,
        finishing: Finishing,
        on_result: Callable[[ItemResult], None],
        unrecorded: Collection[str],
        cancellation: Cancellation,
    ) -> None:
        self._plan = plan
        self._model = model
        self._canvas_rule = canvas_rule
        self._picture_rules = model.picture_rules(canvas_rule)
        self._streams = options.streams
        self._folder = folder
        self._prior_results = prior_results
        self._decoding_pool = decoding_pool
        self._recipes = recipes_of(plan, model, canvas_rule, finishing)
        self._results = ResultsInOrder(on_result)
        self._unrecorded = unrecorded
        self._cancellation = cancellation
        # Whole images, where the colors of one share the network's work.
        colors = len(plan.settings) if model.contract.many_colors else 1
        batch_size = max(1, options.batch_size // colors) * colors
        self._images_per_task = 1 if finishing.all_frames else images_per_task(len(plan.items), canvas_rule)
        network_task = images_per_network_task(batch_size, self._images_per_task)
        self._window = 2 * max(
            network_task * (options.streams + 1), decoding_pool.jobs * self._images_per_task
        )  # images between two stages
        # An animation is as large as hundreds of images, and is not held back once it is decoded.
        self._ahead = 2 * decoding_pool.jobs if finishing.all_frames else self._window
        self._batcher = Batcher(
            model,
            batch_size=batch_size,
            pixels_per_call=options.pixels_per_call,
            images_per_task=self._images_per_task,
            window=self._window,
            colors=colors,
        )
        self._encoder = OutputEncoder(folder, prior_results, finishing, model)
        self._finishing = finishing
        self._large_images: LargeImages | None = None
        self._large: deque[tuple[InputProgress, int, Future[LargeOutput]]] = deque()
        self._calls: deque[tuple[list[OutputTask], Future[tuple[list[Pixels | str], float]]]] = deque()
        self._made: list[tuple[OutputTask, Pixels]] = []
        self._encodings: deque[tuple[list[OutputTask], Future[list[EncodedOutput]]]] = deque()
        self._group: SyncGroup[_Unpublished] = SyncGroup()
        self._publications: deque[tuple[list[_Unpublished], Future[list[str]]]] = deque()
        # Where a store is read, most of the decoding threads wait for it.
        requests = _STORE_REQUESTS if any(is_url(item.source) for item in plan.items[:1]) else decoding_pool.jobs
        self._decode_threads = ThreadPoolExecutor(max(requests, decoding_pool.jobs), thread_name_prefix="decode")
        self._network_threads = ThreadPoolExecutor(options.streams, thread_name_prefix="network")
        self._encode_threads = ThreadPoolExecutor(
            max(folder.concurrency, decoding_pool.jobs), thread_name_prefix="encode"
        )
        self._publish_thread = ThreadPoolExecutor(1, thread_name_prefix="publish")

    def execute(self) -> RunReport:
        started = time.perf_counter()
        cancelled = False
        try:
            for progress, decoded in self._decoded():
                self._accept(progress, decoded)
                while shape := self._batcher.oldest() if decoded.frames else self._batcher.ready(progress.index):
                    self._call_network(shape)
                self._collect_large(wait=False)
            while shape := self._batcher.oldest():
                self._call_network(shape)
            self._collect_outputs(down_to=0)
            self._encode()
            self._collect_encoded(down_to=0)
            self._collect_large(wait=True)
            self._publish()
            self._collect_published(down_to=0)
        except RunCancelledError:
            cancelled = True
            self._decoding_pool.close()
        except BaseException:
            self._decoding_pool.close()  # a decoder that hangs would hold up the end
            raise
        finally:
            if self._large_images is not None:
                self._large_images.stop()
            # On an error or an interrupt no new work is started, but what is staged already still gets its name.
            for threads in (self._decode_threads, self._network_threads, self._encode_threads):
                threads.shutdown(wait=True, cancel_futures=True)
            self._publish_rest()
        return self._results.report(
            seconds=time.perf_counter() - started,
            execution_provider=self._model.session.execution_provider,
            cancelled=cancelled,
        )

    def _publish_rest(self) -> None:
        """After an error, publish or remove what is staged, so that nothing is left half done."""
        for tasks, encoding in self._encodings:
            if not encoding.cancelled() and encoding.exception() is None:
                for task, encoded in zip(tasks, encoding.result(), strict=True):
                    if isinstance(encoded.output, UnpublishedOutput):
                        self._group.add((task.progress, encoded.output))
        self._encodings.clear()
        if self._group:
            self._publish()
        self._publish_thread.shutdown(wait=True)

    def _inputs(self) -> Iterator[InputProgress]:
        first_output = 0
        for index, item in enumerate(self._plan.items):
            recipes = [self._recipes[setting] for setting in item.settings]
            records = self._prior_results.finished_records(item, first_output, recipes)
            yield InputProgress(index, item, first_output, recipes, records, len(item.settings))
            first_output += len(item.settings)

    def _decoded(self) -> Iterator[tuple[InputProgress, Decoded]]:
        """Yield the inputs in the order of the plan, decoded a bounded distance ahead."""
        ahead: deque[tuple[list[InputProgress], Future[list[Decoded]]]] = deque()
        inputs = self._inputs()
        decode_all = self._decoding_pool.decode_all
        while some := list(islice(inputs, self._images_per_task)):
            sources = [progress.item.source for progress in some]
            finished = [progress.finished_sha256() for progress in some]
            future = self._decode_threads.submit(
                decode_all,
                sources,
                self._canvas_rule,
                skip_sha256=finished,
                pictures=[progress.item.pictures for progress in some] if self._picture_rules else (),
                picture_rules=self._picture_rules,
                keep=self._finishing.keep,
                frames=self._finishing.all_frames,
            )
            ahead.append((some, future))
            if len(ahead) * self._images_per_task >= self._ahead:
                asked, decoding = ahead.popleft()
                answers = self._cancellation.result_of(decoding)
                yield from zip(asked, answers, strict=True)
        for asked, decoding in ahead:
            answers = self._cancellation.result_of(decoding)
            yield from zip(asked, answers, strict=True)

    def _accept(self, progress: InputProgress, decoded: Decoded) -> None:
        """Hand a decoded input to the network, for each output that is not finished or failed."""
        progress.sha256, progress.warnings, progress.traits = decoded.sha256, decoded.warnings, decoded.traits
        progress.timings.read_ms, progress.timings.decode_ms = decoded.read_ms, decoded.decode_ms
        if decoded.large:
            self._accept_large(progress)
            return
        numbers: list[int] = []
        refusal = self._finishing.refusal(decoded, progress.item.name)
        for number, record in enumerate(progress.finished_records):
            if progress.item.clash:
                self._fail_clash(progress, number, decoded.reason)
            elif record is not None and record.input_sha256 == decoded.sha256:
                self._finish_output(progress, f"{record.failed} ({_FAILED_EARLIER})" if record.failed else "")
            elif refusal:
                self._finish_output(progress, str(refusal))
            elif decoded.canvas is not None:
                numbers.append(number)
            elif decoded.permanent and decoded.sha256 and progress.item.source not in self._unrecorded:
                self._add_to_group(progress, _failure(progress, number, decoded.reason))
            else:
                self._finish_output(progress, decoded.reason)
        for tasks in output_tasks(progress, decoded, numbers):
            self._batcher.add(tasks)

    def _accept_large(self, progress: InputProgress) -> None:
        """Have each output made of an image that does not fit the memory, by a thread of the network."""
        if self._large_images is None:
            from polyexport.pipeline.large_images import LargeImages  # most runs need none of what it imports

            self._large_images = LargeImages(
                self._model,
                self._canvas_rule,
                decoding_pool=self._decoding_pool,
                folder=self._folder,
                finishing=self._finishing,
            )
        for number, record in enumerate(progress.finished_records):
            if progress.item.clash:
                self._finish_output(progress, progress.item.clash)
                continue
            future = self._network_threads.submit(
                self._large_images.make,
                progress.item,
                progress.item.settings[number],
                finished_sha256=record.input_sha256 if record is not None else "",
            )
            self._large.append((progress, number, future))

    def _collect_large(self, *, wait: bool) -> None:
        """Add the outputs of large images to the next group, those that are there or all of them."""
        while self._large and (wait or self._large[0][2].done()):
            progress, number, future = self._large.popleft()
            made, record = self._cancellation.result_of(future), progress.finished_records[number]
            if made.staged:
                made.warnings.append("run in bands, as it does not fit the memory; the result is the same")
            progress.sha256, progress.timings.infer_ms = made.sha256, progress.timings.infer_ms + 1e3 * made.seconds
            progress.warnings = tuple(dict.fromkeys((*progress.warnings, *made.warnings)))
            if made.staged:
                self._add_to_group(
                    progress, self._encoder.unpublished(progress, number, made.staged, made.output_sha256)
                )
            elif made.reason and made.permanent and progress.item.source not in self._unrecorded:
                self._add_to_group(progress, _failure(progress, number, made.reason))
            elif record is not None and record.failed and not made.reason:
                self._finish_output(progress, f"{record.failed} ({_FAILED_EARLIER})")
            else:
                self._finish_output(progress, made.reason)

    def _fail_clash(self, progress: InputProgress, number: int, unreadable: str) -> None:
        """Record that an output cannot have its name, with a recipe of its own: a run after a renaming makes it."""
        if not progress.sha256:
            self._finish_output(progress, unreadable)
            return
        output = output_name(progress.item, progress.item.settings[number])
        record = Record(progress.sha256, recipe_of(clash=True), "", progress.item.clash)
        self._add_to_group(progress, UnpublishedOutput(output, record))

    def _call_network(self, shape: tuple[int, ...]) -> None:
        tasks, batch_size = self._batcher.take(shape)
        self._calls.append((tasks, self._network_threads.submit(self._batcher.run, tasks, batch_size)))
        # As many calls wait as are at work, so that no network thread waits for this one.
        self._collect_outputs(down_to=2 * self._streams)

    def _collect_outputs(self, *, down_to: int) -> None:
        """Hand the network's outputs to the encoders until at most ``down_to`` calls are under way."""
        while len(self._calls) > down_to or (self._calls and self._calls[0][1].done()):
            tasks, call = self._calls.popleft()
            outputs, infer_ms = self._cancellation.result_of(call)
            for task, output in zip(tasks, outputs, strict=True):
                task.progress.timings.infer_ms += infer_ms / len(tasks)
                made = output if task.collection is None else task.collection.add(task.frame, output)
                if isinstance(made, str):
                    self._finish_output(task.progress, made)
                elif made is not None:
                    self._made.append((task, made))
            if len(self._made) >= self._images_per_task:
                self._encode()
        self._collect_encoded(down_to=self._ahead)

    def _encode(self) -> None:
        made, self._made = self._made, []
        future = self._encode_threads.submit(self._encoder.stage, made)
        self._encodings.append(([task for task, _ in made], future))

    def _collect_encoded(self, *, down_to: int) -> None:
        """Add staged outputs to the next group until at most ``down_to`` images are being encoded."""
        waiting = sum(len(tasks) for tasks, _ in self._encodings)
        while self._encodings and (waiting > down_to or self._encodings[0][1].done()):
            tasks, encoding = self._encodings.popleft()
            waiting -= len(tasks)
            answers = self._cancellation.result_of(encoding)
            for task, encoded in zip(tasks, answers, strict=True):
                task.progress.timings.encode_ms += encoded.encode_ms
                task.progress.timings.write_ms += encoded.write_ms
                task.progress.add_warnings(encoded.warnings)
                if isinstance(encoded.output, str):
                    self._finish_output(task.progress, encoded.output)
                else:
                    self._add_to_group(task.progress, encoded.output)
        if self._group.overdue:
            self._publish()
        self._collect_published(down_to=1)

    def _add_to_group(self, progress: InputProgress, output: UnpublishedOutput) -> None:
        if self._group.add((progress, output)):
            self._publish()

    def _publish(self) -> None:
        group = self._group.take()
        future = self._publish_thread.submit(self._folder.publish, [output for _, output in group])
        self._publications.append((group, future))

    def _collect_published(self, *, down_to: int) -> None:
        """Finish published outputs until at most ``down_to`` groups are being published."""
        while len(self._publications) > down_to or (self._publications and self._publications[0][1].done()):
            group, publication = self._publications.popleft()
            reasons = self._cancellation.result_of(publication)
            for (progress, output), reason in zip(group, reasons, strict=True):
                if output.staged and not reason:
                    progress.written += 1
                self._finish_output(progress, output.record.failed or reason)

    def _finish_output(self, progress: InputProgress, reason: str) -> None:
        if progress.finish_output(reason):
            self._results.add(progress.index, progress.result())


def _failure(progress: InputProgress, number: int, reason: str) -> UnpublishedOutput:
    """Return the record of an output that can never be made from these bytes."""
    output = output_name(progress.item, progress.item.settings[number])
    return UnpublishedOutput(output, Record(progress.sha256, progress.recipes[number], "", reason))
