"""Choice of batch size, threads and concurrent calls of the network for the machine that a run uses."""

from dataclasses import dataclass

from polyexport.model.canvas import MAX_NATIVE_PIXELS, CanvasRule
from polyexport.model.model import Model
from polyexport.runtime.session import Session

__all__ = ["MAX_BATCH_SIZE", "RunOptions", "images_per_task", "options_for", "threads_and_streams"]

MAX_BATCH_SIZE = 1024

_MAX_STREAMS = 256
_MAX_IMAGES_PER_TASK = 8  # images that are handed from stage to stage together
_MAX_TASK_BYTES = 1 << 20  # bytes of the canvases that are handed on together
_OUTPUTS_PER_CORE = 4  # with fewer outputs than this, a call takes every core


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """Use of this machine by a run. No option changes the outputs."""

    batch_size: int = 1
    """Images per call of the network, at most."""

    pixels_per_call: int = MAX_NATIVE_PIXELS
    """Pixels of the canvases of one call of several images, at most."""

    streams: int = 1
    """Concurrent calls of the network."""

    def __post_init__(self) -> None:
        if not 1 <= self.batch_size <= MAX_BATCH_SIZE or not 1 <= self.streams <= _MAX_STREAMS:
            raise ValueError(f"batch_size must be 1 to {MAX_BATCH_SIZE} and streams 1 to {_MAX_STREAMS}, got {self}")
        if self.pixels_per_call < 1:
            raise ValueError(f"pixels_per_call must be positive, got {self}")


def threads_and_streams(outputs: int, *, threads: int, cores: int) -> tuple[int, int]:
    """Choose the threads per call and the number of concurrent calls on a CPU.

    Measured with the shipped models: one thread a call and a call for every core gives more images per second than one
    call on all cores, at every batch size. A handful of images is done sooner with every core on each.

    Args:
        outputs: number of outputs of the run.
        threads: threads per call that the user asked for, or 0 to choose.
        cores: cores that this process may use.

    Returns:
        Threads per call, and concurrent calls.
    """
    if not threads:
        threads = 1 if outputs >= _OUTPUTS_PER_CORE * cores else cores
    return threads, max(1, cores // threads)


def options_for(model: Model, canvas_rule: CanvasRule, *, batch_size: int, streams: int) -> RunOptions:
    """Choose the options of a run with a loaded model.

    Args:
        model: loaded for ``streams`` concurrent calls.
        canvas_rule: how this model places images on canvases.
        batch_size: images per call that the user asked for, or 0 to choose.
        streams: concurrent calls on a CPU.
    """
    session = model.session
    return RunOptions(
        # A graph that takes one image at a time gains nothing from a batch that has to be taken apart again.
        batch_size=1 if model.contract.batch_one else batch_size or _images_per_call(session, canvas_rule),
        pixels_per_call=MAX_NATIVE_PIXELS if batch_size or canvas_rule.mode == "native" else session.pixels_per_call,
        # On a device one batch is copied while the other is computed.
        streams=(1 if session.stable_shapes else streams) + session.computes_elsewhere,
    )


def images_per_task(inputs: int, canvas_rule: CanvasRule) -> int:
    """Choose how many images are handed from stage to stage together.

    Args:
        inputs: number of inputs of the run.
        canvas_rule: how the model places images on canvases.
    """
    if canvas_rule.mode == "native" or inputs < _MAX_IMAGES_PER_TASK**2:
        return 1  # images of any size, or too few of them to share the work evenly
    return min(_MAX_IMAGES_PER_TASK, max(1, _MAX_TASK_BYTES // (canvas_rule.channels * canvas_rule.area)))


def _images_per_call(session: Session, canvas_rule: CanvasRule) -> int:
    if canvas_rule.mode == "native":  # a batch that is too large for a device is tried again in halves
        return session.images_per_call if session.stable_shapes else 1
    return session.images_per_call
