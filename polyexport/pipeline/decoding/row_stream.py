"""The rows of one large image, decoded in bands by a process of its own while they are read."""

from collections.abc import Callable
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

from polyexport.errors import ImageError
from polyexport.imaging.pixels import Pixels
from polyexport.imaging.traits import NO_TRAITS, Keep, Traits
from polyexport.pipeline.decoding.process import DecodingProcess, HungError

__all__ = ["RowError", "RowStream"]


class RowError(ImageError):
    """An image whose rows cannot be read."""

    def __init__(self, message: str, *, permanent: bool) -> None:
        super().__init__(message, remedy="give another image")
        self.permanent = permanent
        """Whether the fault lies in the bytes of the file, so that another try would fail as well."""


class RowStream:
    """The rows of one image, from top to bottom. One thread at a time."""

    height: int
    """Height of the upright image, pixels."""

    width: int
    """Width of the upright image, pixels."""

    warnings: tuple[str, ...]
    """One line for each thing that was dropped from the file."""

    traits: Traits
    """Traits of the file, as far as they were asked for, without alpha."""

    def __init__(
        self,
        process: DecodingProcess,
        path: str,
        *,
        channels: int,
        band_rows: int,
        max_pixels: int,
        keep: Keep,
        timeout_s: float,
        on_end: Callable[[DecodingProcess], object],
    ) -> None:
        """Ask a process for the rows of an image.

        Args:
            process: decoding process that does nothing else from now on.
            path: path of the image file, untrusted.
            channels: channels of the rows.
            band_rows: number of rows that are decoded at a time.
            max_pixels: largest width times height that is accepted.
            keep: traits of the file that are kept.
            timeout_s: longest time for one band, seconds.
            on_end: called with the process when no more rows are wanted.

        Raises:
            RowError: the file cannot be read, is damaged, or crashes or hangs its decoder.
        """
        self._process = process
        self._channels = channels
        self._band_rows = band_rows
        self._timeout_s = timeout_s
        self._on_end = on_end
        self._read = 0
        process.send(
            {
                "rows": path,
                "channels": channels,
                "band_rows": band_rows,
                "max_pixels": max_pixels,
                "keep": asdict(keep),
                "timeout_s": timeout_s,
            }
        )
        answer = self._receive("rows")
        try:
            self.height, self.width = (int(side) for side in answer["size"])
            if not (self.height > 0 and self.width > 0 and self.height * self.width <= max_pixels):
                raise ValueError("no image has this size")  # noqa: TRY301
            self.warnings = tuple(map(str, answer["warnings"]))
            self.traits = process.receive_traits(answer["traits"], keep) if keep.anything else NO_TRAITS
        except (EOFError, OSError, ValueError, KeyError, TypeError) as error:
            raise RowError("cannot be decoded (the decoder gave a malformed answer)", permanent=False) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._on_end(self._process)

    def band(self) -> Pixels:
        """Read the next rows, uint8 [n, width, channels]; none are left once ``height`` of them were read.

        Raises:
            RowError: the file is damaged here, or its decoder crashed or hung.
        """
        answer = self._receive("band")
        try:
            count = int(answer["rows"])
            if not 0 < count <= min(self._band_rows, self.height - self._read):
                raise ValueError("no such rows were asked for")  # noqa: TRY301
            rows = self._process.receive_array(count, self.width, self._channels)
        except (EOFError, OSError, ValueError, KeyError, TypeError) as error:
            raise RowError("cannot be decoded (the decoder gave a malformed answer)", permanent=False) from error
        self._read += count
        return rows

    def _receive(self, state: str) -> dict[str, Any]:
        try:
            answer = self._process.receive(self._timeout_s)
        except HungError as error:
            reason = f"cannot be decoded (the decoder hung for {self._timeout_s:g} s and was stopped)"
            raise RowError(reason, permanent=True) from error
        except (EOFError, OSError) as error:
            raise RowError("cannot be decoded (the decoder crashed)", permanent=False) from error
        if answer.get("state") == "failed":
            raise RowError(str(answer.get("reason", "")), permanent=bool(answer.get("permanent")))
        if answer.get("state") != state:
            raise RowError("cannot be decoded (the decoder gave a malformed answer)", permanent=False)
        return answer
