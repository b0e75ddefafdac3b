"""Images too large for the memory: decoded, run and encoded in bands of rows, from a file on a disk to another.

A band is one row of tiles. Rows come from a decoding process that reads ahead no further than its pipe, tiles go to the
network, and rows of the result go to the encoder at once, so that memory is bounded by the band and not by the picture.
"""

import hashlib
import math
import os
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import IO

import numpy as np

from polyexport.errors import ImageError, OutputError, PolyexportError, out_of_memory, reason_of
from polyexport.imaging.encoders import encoder_of
from polyexport.imaging.encoders.rows import RowWriter, open_row_writer
from polyexport.imaging.encoders.write import in_profile, traits_for_file
from polyexport.imaging.pixels import Pixels
from polyexport.model.canvas import CanvasRule, check_same_size
from polyexport.model.model import Model
from polyexport.model.settings import Setting
from polyexport.model.tiled_run import tiled_output
from polyexport.pipeline.decoding.pool import DecodingPool
from polyexport.pipeline.decoding.row_stream import RowError, RowStream
from polyexport.pipeline.decoding.worker import combined_sha256
from polyexport.pipeline.finishing import Finishing
from polyexport.pipeline.outputs.disk import OutputFolder, OutputSink
from polyexport.pipeline.plan import Item
from polyexport.storage.files import open_regular
from polyexport.storage.stores import is_url

__all__ = ["LargeImages", "LargeOutput"]

_HASH_BYTES = 1 << 20
_WHITE = 255
_STOPPED = "the run was stopped"


@dataclass(slots=True)
class LargeOutput:
    """Outcome of one output of a large image."""

    sha256: str = ""
    """SHA-256 of the input file, lowercase hex; empty if it could not be read."""

    staged: str = ""
    """Temporary name of the output file; empty if there is none."""

    output_sha256: str = ""
    """SHA-256 of the output file, lowercase hex."""

    reason: str = ""
    """Reason why there is no output; empty if there is one, or if it was not wanted."""

    permanent: bool = False
    """Whether the failure lies in the input's bytes, so that another try would fail as well."""

    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0


class LargeImages:
    """Makes the outputs of large images. Safe to call from several threads."""

    def __init__(
        self,
        model: Model,
        canvas_rule: CanvasRule,
        *,
        decoding_pool: DecodingPool,
        folder: OutputSink,
        finishing: Finishing,
    ) -> None:
        """Prepare for the large images of one run.

        Args:
            model: model of the run.
            canvas_rule: how it places images, with a rule for tiles.
            decoding_pool: starts the processes that decode.
            folder: takes the outputs.
            finishing: how the results are finished.
        """
        self._model = model
        self._rule = canvas_rule
        self._picture_rules = model.picture_rules(canvas_rule)
        self._pool = decoding_pool
        self._folder = folder
        self._finishing = finishing
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End what is under way as soon as possible; its outputs fail."""
        self._stopped.set()

    def make(self, item: Item, setting: Setting, *, finished_sha256: str) -> LargeOutput:
        """Make one output.

        Args:
            item: the input.
            setting: values of the model's conditions.
            finished_sha256: SHA-256 of the input with which nothing is to be done; empty if there is none.

        Raises:
            OutputError: the output folder cannot be written.
        """
        made, started = LargeOutput(), time.perf_counter()
        try:
            self._check(item)
            with open(open_regular(item.source), "rb") as file:  # noqa: PTH123 - it was opened without waiting for it
                made.sha256 = self._hashed(item, file)
                if made.sha256 != finished_sha256:
                    self._make(item, setting, made, os.fstat(file.fileno()))
        except OutputError:
            raise
        except OSError as error:
            made.reason = f"cannot be read ({error.strerror or error}); give a readable image file"
        except RowError as error:
            made.reason, made.permanent = error.message, error.permanent and bool(made.sha256)
        except ImageError as error:
            made.reason = str(error)
        except PolyexportError:
            raise
        except Exception as error:  # noqa: BLE001 - no input may take the others with it; memory is the usual cause
            made.reason = f"the network failed on it ({reason_of(error)})"
            if out_of_memory(error):
                made.reason = f"it needs more memory than there is ({reason_of(error)}); give a smaller --tile"
        made.seconds = time.perf_counter() - started
        return made

    def _check(self, item: Item) -> None:
        if not isinstance(self._folder, OutputFolder) or any(map(is_url, (item.source, *item.pictures))):
            raise ImageError(
                "it is too large for the memory, and is run in bands only from a disk to a disk",
                remedy="give a local file and a local -o",
            )
        if self._finishing.needs_whole_picture or self._model.contract.result.kind == "alpha":
            raise ImageError(
                "it is too large for the memory, and alpha needs the whole picture",
                remedy="leave out --alpha, --background and --result-as",
            )

    def _hashed(self, item: Item, image: IO[bytes]) -> str:
        """Return the SHA-256 of an input, as ``decoding.worker.input_sha256`` has it."""
        hashes = [self._hash_of(image)]
        for picture in item.pictures:
            with open(open_regular(picture), "rb") as file:  # noqa: PTH123 - it was opened without waiting for it
                hashes.append(self._hash_of(file))
        return combined_sha256(hashes)

    def _hash_of(self, file: IO[bytes]) -> str:
        digest = hashlib.sha256()
        while block := file.read(_HASH_BYTES):
            digest.update(block)
            if self._stopped.is_set():
                raise ImageError(_STOPPED, remedy="run the same command again")
        return digest.hexdigest()

    def _make(self, item: Item, setting: Setting, made: LargeOutput, before: os.stat_result) -> None:
        with ExitStack() as stack:
            rules = [self._rule, *self._picture_rules.values()]
            streams = [
                stack.enter_context(
                    self._pool.open_rows(
                        source,
                        channels=rule.channels,
                        band_rows=_band_rows(self._rule),
                        keep=replace(self._finishing.keep, alpha=False),
                    )
                )
                for source, rule in zip((item.source, *item.pictures), rules, strict=True)
            ]
            image, *pictures = streams
            for name, picture in zip(self._picture_rules, pictures, strict=True):
                check_same_size(name, (picture.height, picture.width), (image.height, image.width))
            made.warnings += image.warnings
            result, ratio = self._model.contract.result, self._model.contract.result.ratio
            height, width = math.ceil(image.height * ratio), math.ceil(image.width * ratio)
            assert isinstance(self._folder, OutputFolder)
            with self._folder.stage_file() as (staged, file):
                colors = result.kind not in ("mask", "labels")
                output, suffix = self._finishing.output, os.path.splitext(item.name)[1]  # noqa: PTH122 - text stays text
                traits = traits_for_file(
                    output,
                    image.traits,
                    channels=result.channels,
                    colors=colors,
                    most_bytes=encoder_of(output.format, suffix, image.traits.format).profile_bytes,
                    notes=made.warnings,
                )
                writer = open_row_writer(
                    file,
                    (height, width, result.channels),
                    output,
                    traits,
                    made.warnings,
                    suffix=suffix,
                )
                try:
                    self._write(writer, streams, setting, (height, width), traits.icc_profile)
                    writer.close()
                except BaseException:
                    writer.abort()
                    raise
                if _state(before) != _state(os.stat(item.source)):  # noqa: PTH116 - text stays text
                    raise ImageError("it changed while it was read", remedy="run the same command again")
                file.seek(0)
                made.output_sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            made.staged = staged

    def _write(
        self, writer: RowWriter, streams: Sequence[RowStream], setting: Setting, size: tuple[int, int], profile: bytes
    ) -> None:
        """Run the network, and write the rows of the result."""
        assert self._rule.tiles is not None
        height, width = size
        rules = [self._rule, *self._picture_rules.values()]
        canvases = [_CanvasRows(stream, rule) for stream, rule in zip(streams, rules, strict=True)]
        left = height
        for band in tiled_output(
            self._model,
            lambda first, end: [canvas.take(first, end) for canvas in canvases],
            canvases[0].height,
            canvases[0].width,
            self._rule.tiles,
            setting,
        ):
            if self._stopped.is_set():
                raise ImageError(_STOPPED, remedy="run the same command again")
            kept = band[:left, :width]
            left -= len(kept)
            if len(kept):
                writer.write(in_profile(np.ascontiguousarray(kept), self._finishing.output, profile))


def _state(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_mtime_ns, status.st_size


def _band_rows(rule: CanvasRule) -> int:
    """Return how many rows are decoded at a time: no more than a quarter of a tile's, as they are held beside it."""
    assert rule.tiles is not None
    return max(1, min(256, rule.tiles.side // 4))


class _CanvasRows:
    """Rows of the canvas of one picture, of which those stay in memory that tiles still need."""

    def __init__(self, stream: RowStream, rule: CanvasRule) -> None:
        self._stream = stream
        self._white = rule.white
        self.height, self.width = rule.padded_size(stream.height, stream.width)
        self._first = 0
        self._rows = np.empty((0, self.width, rule.channels), np.uint8)

    def take(self, first: int, end: int) -> Pixels:
        """Return rows of the canvas, uint8 [end - first, width, C]; rows before the first one are given up."""
        pieces = [self._rows[first - self._first :]]
        have = first + len(pieces[0])
        while have < min(end, self._stream.height):
            pieces.append(self._padded(self._stream.band()))
            have += len(pieces[-1])
        if have < end:
            last = pieces[-1][-1:]
            pieces.append(np.repeat(np.full_like(last, _WHITE) if self._white else last, end - have, axis=0))
        self._first, self._rows = first, np.concatenate(pieces)
        return self._rows[: end - first]

    def _padded(self, band: Pixels) -> Pixels:
        missing = self.width - band.shape[1]
        if not missing:
            return band
        last = band[:, -1:]
        return np.concatenate(
            [band, np.repeat(np.full_like(last, _WHITE) if self._white else last, missing, axis=1)], 1
        )
