"""Batches of images of one canvas shape, and the calls of the network on them."""

import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from polyexport.errors import ImageError, OutOfMemoryError, PolyexportError, out_of_memory, reason_of
from polyexport.imaging.pixels import Pixels
from polyexport.model.canvas import Canvas
from polyexport.model.model import Model
from polyexport.model.placed_run import first_looks
from polyexport.pipeline.decoding.process import Decoded
from polyexport.pipeline.frame_collection import FrameCollection
from polyexport.pipeline.progress import InputProgress, OutputTask

__all__ = ["Batcher", "images_per_network_task", "output_tasks"]

_MAX_LAG_WINDOWS = 16  # an image waits for others of its shape while at most so many windows of inputs follow it

Shape = tuple[int, ...]


def images_per_network_task(batch_size: int, images_per_task: int) -> int:
    """Return how many images one task of a network thread holds, as whole batches.

    Args:
        batch_size: images per call of the network.
        images_per_task: images that are handed from stage to stage together.
    """
    return batch_size * max(1, images_per_task // batch_size)


class Batcher:
    """Collects images by canvas shape, and runs the network on full batches.

    Which images share a batch depends on the plan alone, never on timing. All methods but ``run`` are for one thread.
    """

    def __init__(
        self, model: Model, *, batch_size: int, pixels_per_call: int, images_per_task: int, window: int, colors: int = 1
    ) -> None:
        """Start without images.

        Args:
            model: the model of every call.
            batch_size: images per call of the network, at most; a multiple of ``colors``.
            pixels_per_call: pixels of the canvases of one call, at most, for calls of more than ``colors`` images.
            images_per_task: images that are handed from stage to stage together.
            window: number of inputs that are decoded ahead, and of images that wait for a full batch.
            colors: outputs of one input that share a call.
        """
        self._model = model
        self._batch_size = batch_size
        self._pixels_per_call = pixels_per_call
        self._colors = colors
        self._images_per_task = images_per_task
        self._window = window
        # The oldest shape goes first when too many images wait.
        self._waiting: OrderedDict[Shape, list[OutputTask]] = OrderedDict()

    def add(self, tasks: list[OutputTask]) -> None:
        """Add the tasks of one input or frame, which share one canvas."""
        self._waiting.setdefault(tasks[0].canvas.pixels.shape, []).extend(tasks)

    def ready(self, index: int) -> Shape | None:
        """Find the canvas shape whose images go to the network now.

        That is the shape of a full batch, the oldest shape when too many images wait, or a shape whose first image is
        so far behind that the results of the inputs after it pile up.

        Args:
            index: position in the plan of the input that was added last.

        Returns:
            The shape, or None to wait for more images.
        """
        for shape, tasks in self._waiting.items():
            full = len(tasks) >= images_per_network_task(self._batch_size, self._images_per_task)
            if full or index - tasks[0].progress.index > _MAX_LAG_WINDOWS * self._window:
                return shape
        return self.oldest() if sum(map(len, self._waiting.values())) > self._window else None

    def oldest(self) -> Shape | None:
        """Return the shape that has waited longest, or None if no image waits."""
        return next(iter(self._waiting), None)

    def take(self, shape: Shape) -> tuple[list[OutputTask], int]:
        """Remove images of one shape, for one call of ``run``.

        Returns:
            The images, and how many of them share a call of the network.
        """
        tasks = self._waiting[shape]
        batch_size = self._images_per_call(tasks[0].canvas)
        count = images_per_network_task(batch_size, self._images_per_task)
        if len(tasks) > count:
            self._waiting[shape] = tasks[count:]
        else:
            del self._waiting[shape]
        return tasks[:count], batch_size

    def _images_per_call(self, canvas: Canvas) -> int:
        height, width = canvas.pixels.shape[:2]
        inputs = max(1, self._pixels_per_call // (height * width) // self._colors)
        return canvas.batch_limit(min(self._batch_size, inputs * self._colors))

    def run(self, tasks: list[OutputTask], batch_size: int) -> tuple[list[Pixels | str], float]:
        """Run the network. Safe to call from several threads.

        Args:
            tasks: images of one canvas shape.
            batch_size: images per call.

        Returns:
            For each image the network's output on its canvas or the reason of a failure; and the milliseconds of all
            calls.
        """
        started = time.perf_counter()
        outputs: dict[int, Pixels | str] = dict(self._first_looks(tasks))
        rest = [index for index in range(len(tasks)) if index not in outputs]
        for first in range(0, len(rest), batch_size):
            batch = rest[first : first + batch_size]
            outputs.update(zip(batch, self._outputs([tasks[index] for index in batch], batch_size), strict=True))
        return [outputs[index] for index in range(len(tasks))], 1e3 * (time.perf_counter() - started)

    def _first_looks(self, tasks: list[OutputTask]) -> dict[int, Pixels]:
        """Run all small canvases of a task in one call; without an answer, where one image is at fault."""
        if not any(task.canvas.first_look for task in tasks):
            return {}
        settings = [task.setting for task in tasks]
        try:
            rows = [self._model.rows_of(setting) for setting in settings]
            colors = [self._model.fill_color(setting) for setting in settings]
            return first_looks(self._model, [task.canvas for task in tasks], rows, colors)
        except Exception:  # noqa: BLE001 - the call on the canvases finds the reason, and which image it is
            return {}

    def _outputs(self, batch: list[OutputTask], batch_size: int) -> list[Pixels | str]:
        # Where a new shape costs a compilation, the last batch is filled up with copies of its last image.
        filled = self._model.session.stable_shapes and not self._model.contract.many_colors
        tasks = batch + batch[-1:] * (batch_size - len(batch) if filled else 0)
        try:
            outputs = self._model.run_canvases(
                [replace(task.canvas, first_look=None) for task in tasks],
                [task.setting for task in tasks],
                [task.pictures for task in tasks],
            )
            return list(outputs[: len(batch)])
        except ImageError as error:  # one image of the batch is at fault; the halves tell which
            reason = error.message
        except PolyexportError:
            raise
        except Exception as error:  # noqa: BLE001 - ONNX Runtime raises unrelated types; memory is the usual cause
            reason = reason_of(error)
            if out_of_memory(error):
                height, width = batch[0].canvas.pixels.shape[:2]
                reason = str(OutOfMemoryError(f"it ran on {width}x{height} pixels", reason))
            self._batch_size = min(self._batch_size, -(-len(batch) // 2))  # later batches start at this size
        half = len(batch) // 2
        if half:
            return self._outputs(batch[:half], half) + self._outputs(batch[half:], len(batch) - half)
        return [f"the network failed on it ({reason})"]


def output_tasks(progress: InputProgress, decoded: Decoded, numbers: Sequence[int]) -> Iterator[list[OutputTask]]:
    """Yield the work of the network on a decoded input: for each frame one task for each output.

    Args:
        progress: the input, which gets a warning about frames that are cut into tiles.
        decoded: what it was decoded to, with a canvas if there are numbers.
        numbers: indexes of the settings of the outputs.
    """
    if decoded.canvas is None or not numbers:
        return
    if not decoded.frames:
        progress.add_warnings(_tiles_note(decoded.canvas))
        yield [OutputTask(progress, decoded.canvas, decoded.pictures, number) for number in numbers]
        return
    collections = {number: FrameCollection(decoded.frames, decoded.plays) for number in numbers}
    for place, frame in enumerate(decoded.frames):
        progress.add_warnings(_tiles_note(frame.canvas))
        yield [
            OutputTask(progress, frame.canvas, decoded.pictures, number, collections[number], place)
            for number in numbers
        ]


def _tiles_note(canvas: Canvas) -> tuple[str, ...]:
    """Return a line about an image that was cut into tiles because it does not fit the memory; none for others."""
    tiles = canvas.tiles
    if tiles is None or not tiles.above:
        return ()
    return (
        f"run in tiles of {tiles.side} pixels, as a whole it takes more memory than is granted; the result is the same",
    )
