"""What runs in the process that holds the model: canvases and colours in, canvases out."""

import ctypes
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import litserve as ls

from polyexport.errors import reason_of
from polyexport.imaging.pixels import Pixels
from polyexport.model.canvas import Canvas
from polyexport.model.model import Model, read_model
from polyexport.runtime.session import SessionOptions
from polyexport.service.options import ServiceOptions

__all__ = ["ColorApi", "Colored", "Work", "end_with_parent"]

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Work:
    """One image in one colour, ready for the network."""

    canvas: Canvas
    color: tuple[int, int, int] | str
    """sRGB, or a name of the model's own palette."""


@dataclass(frozen=True, slots=True)
class Colored:
    """What came of it."""

    canvas: Pixels | None
    reason: str
    """Why there is none."""

    batch_size: int
    """Images of the call, on the first of them; 0 on the others."""


class ColorApi(ls.LitAPI):  # type: ignore[misc] # litserve has no types
    """LitServe's side of the model."""

    def __init__(self, options: ServiceOptions) -> None:
        super().__init__(
            max_batch_size=options.max_batch_size, batch_timeout=options.batch_timeout_ms / 1e3, api_path="/work"
        )
        self._options = options
        self._model: Model | None = None

    def setup(self, device: str) -> None:
        """Load the model; in the process that calls it."""
        end_with_parent()
        # Ctrl-C goes to the whole group: this process is needed until what was accepted is answered.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        options = self._options
        session = SessionOptions(
            provider=options.provider, threads=options.threads, device_id=options.device_id, releases_memory=True
        )
        self._model = Model.from_bytes(read_model(options.model), session, name=str(options.model))

    def decode_request(self, request: Work) -> Work:
        """Decoded already: what is bad has failed before it came here."""
        return request

    def batch(self, inputs: Sequence[Work]) -> Sequence[Work]:
        """They are put together by shape in ``predict``."""
        return inputs

    def predict(self, x: Work | Sequence[Work]) -> Any:
        """Call the network once for all canvases of one shape."""
        works = [x] if isinstance(x, Work) else list(x)  # LitServe gives one alone where batches have one
        results: list[Colored | None] = [None] * len(works)
        shapes = {work.canvas.pixels.shape: None for work in works}
        for shape in shapes:
            alike = [index for index, work in enumerate(works) if work.canvas.pixels.shape == shape]
            limit = works[alike[0]].canvas.batch_limit(len(alike))
            for some in (alike[first : first + limit] for first in range(0, len(alike), limit)):
                for index, result in zip(some, self._call([works[index] for index in some]), strict=True):
                    results[index] = result
        return results[0] if isinstance(x, Work) else results

    def unbatch(self, output: Sequence[Colored]) -> Sequence[Colored]:
        """One for each request."""
        return output

    def encode_response(self, output: Colored) -> Colored:
        """The picture is made where the request is answered."""
        return output

    def _call(self, works: Sequence[Work]) -> list[Colored]:
        assert self._model is not None
        try:
            canvases = self._model.run_canvases([work.canvas for work in works], [work.color for work in works])
        except Exception as error:  # noqa: BLE001 - ONNX Runtime raises unrelated types; memory is the usual cause
            if len(works) == 1:
                return [Colored(None, reason_of(error), 1)]
            half = len(works) // 2  # one image must not take the others with it
            return [*self._call(works[:half]), *self._call(works[half:])]
        return [Colored(canvas, "", 0 if index else len(works)) for index, canvas in enumerate(canvases)]


def end_with_parent() -> None:
    """Let the kernel end this process when the one that started it ends, however that ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
