"""Experiment tracking: configuration, metrics by step, sample pictures, the model card and the best scores.

Every training keeps a local record: plain files that need no account and no network. Weights & Biases or TensorBoard
can mirror it. The record is part of the result: if it cannot be written, the training ends with an ``OutputError``, as
for its checkpoint. A mirror that fails is dropped with one line of report, and the training continues.

Metrics are named ``<phase>/<quantity>``. These have a panel in the curves; others are recorded without one:

    train/loss, train/loss_<term>      validation/loss
    train/learning_rate                validation/psnr_db    mean, dB
    train/gradient_norm                validation/mae        mean absolute error, levels of 255
    train/images_per_s                 validation/within_8   fraction of pixels that are off by 8 levels or less

The phase is ``training_pairs`` instead of ``validation`` if all drawings that are scored are trained on too.
"""

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from polyexport.errors import OutputError, UsageError, reason_of
from polyexport.imaging.codecs.png import encode_png
from polyexport.storage.files import check_writable, open_regular, read_limited, write_atomic
from trainer.charts import Series, curves_png
from trainer.mirrors import TensorBoardMirror, WandbMirror, missing

__all__ = ["Tracker", "TrackerKind", "open_tracker", "read_metrics"]

TrackerKind = Literal["local", "wandb", "tensorboard"]
"""Name of a tracker; ``wandb`` and ``tensorboard`` mirror the local record."""

_HEADER = "step,metric,value\n"
_METRIC = re.compile(r"[\w/.\-]+")
_ROW = re.compile(rf"(\d+),({_METRIC.pattern}),(-?(?:\d+(?:\.\d+)?(?:e[+-]\d+)?|inf|nan))\n")
_SAMPLE = re.compile(r"step_(\d{7,})\.png")
_MAX_METRICS_BYTES = 1 << 30


class Tracker(Protocol):
    """Record of one training, written from one thread.

    The metrics of a step must come before its images, because images redraw the curves.
    """

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Record values after ``step`` optimizer steps; ``step`` must not decrease from call to call."""

    def images(self, step: int, name: str, grid: NDArray[np.uint8]) -> None:
        """Record one picture, uint8 [H, W, 3], RGB, under ``name``."""

    def card(self, text: str, scores: Mapping[str, float]) -> None:
        """Record the model card of the finished model, Markdown, and its best scores."""

    def close(self, *, failed: bool = False) -> None:
        """End the record, whether the training succeeded or not; a second call does nothing.

        Args:
            failed: An error or a signal ends the training: raise nothing that would hide it.
        """


def _complete_rows(path: Path) -> Iterator[tuple[int, str, str]]:
    """Read step, metric and value of every row that was written completely."""
    for line in read_limited(path, _MAX_METRICS_BYTES).decode(errors="replace").splitlines(keepends=True):
        if row := _ROW.fullmatch(line):
            yield int(row[1]), row[2], row[3]


def read_metrics(path: Path) -> dict[str, Series]:
    """Read the ``metrics.csv`` of a record.

    A row that was cut off, because the training was killed while it wrote, is left out.

    Raises:
        OSError: The file cannot be read.
    """
    series: dict[str, Series] = {}
    for step, metric, value in _complete_rows(path):
        series.setdefault(metric, []).append((step, float(value)))
    return series


class _LocalRecord:
    """Record in the files of one folder.

    The files are ``config.json``, ``metrics.csv``, ``<images>/step_0000500.png`` and ``curves.png``, and at the end of
    the training ``card.md`` and ``scores.json``. A metric is one row, written in one call, so a kill at any moment cuts
    off at most one row.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any], name: str, resumed_step: int | None) -> None:
        self.folder = folder
        self.name = name
        self.path = folder / "metrics.csv"
        self.series: dict[str, Series] = {}
        self.curves_current = True
        last_step = -1 if resumed_step is None else resumed_step
        lines = [_HEADER]
        with _writing(folder):
            if resumed_step is not None and self.path.exists():
                for step, metric, value in _complete_rows(self.path):
                    if step <= last_step:
                        lines.append(f"{step},{metric},{value}\n")
                        self.series.setdefault(metric, []).append((step, float(value)))
            for picture in folder.glob("*/step_*.png"):
                number = _SAMPLE.fullmatch(picture.name)
                if number and int(number[1]) > last_step:
                    picture.unlink()
            for later in ("curves.png", "card.md", "scores.json"):
                (folder / later).unlink(missing_ok=True)
        write_atomic(folder / "config.json", _json(config))
        write_atomic(self.path, "".join(lines).encode())
        with _writing(self.path):
            self.file = os.fdopen(open_regular(self.path, os.O_WRONLY | os.O_APPEND), "ab", buffering=0)
        if self.series:
            self.draw()

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        rows = ""
        for metric, value in values.items():
            assert _METRIC.fullmatch(metric), metric
            written = f"{float(value):.9g}"  # nine digits hold a float32 exactly
            rows += f"{step},{metric},{written}\n"
            # The value as a resumed training reads it back, so that both draw the same curves.
            self.series.setdefault(metric, []).append((step, float(written)))
        data = rows.encode()
        with _writing(self.path):
            while data:  # a disk that runs full accepts a part first and fails at the next write
                data = data[self.file.write(data) :]
        self.curves_current = False

    def images(self, step: int, name: str, grid: NDArray[np.uint8]) -> None:
        write_atomic(self.folder / name / f"step_{step:07d}.png", encode_png(grid))
        self.draw()

    def draw(self) -> None:
        write_atomic(self.folder / "curves.png", curves_png(self.series, self.name))
        self.curves_current = True

    def card(self, text: str, scores: Mapping[str, float]) -> None:
        write_atomic(self.folder / "card.md", text.encode())
        write_atomic(self.folder / "scores.json", _json(scores))

    def close(self, *, failed: bool = False) -> None:
        self.file.close()
        if not self.curves_current:
            with contextlib.suppress(OutputError) if failed else contextlib.nullcontext():
                self.draw()


class _MirroredRecord:
    """A local record and a mirror of it, which may fail without ending the training."""

    def __init__(self, record: Tracker, mirror: Tracker | None, name: str, report: Callable[[str], None]) -> None:
        self.record = record
        self.mirror = mirror
        self.name = name
        self.report = report
        self.closed = False

    def _in_mirror(self, action: Callable[[Tracker], None]) -> None:
        """Repeat an action in the mirror; drop the mirror if that fails."""
        if self.mirror is None:
            return
        try:
            action(self.mirror)
        except Exception as error:  # noqa: BLE001  a service may raise anything, and must not end the training
            mirror, self.mirror = self.mirror, None
            self.report(f"{self.name} tracking ended ({reason_of(error)}); the local record continues")
            with contextlib.suppress(Exception):
                mirror.close(failed=True)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self.record.metrics(step, values)
        self._in_mirror(lambda mirror: mirror.metrics(step, values))

    def images(self, step: int, name: str, grid: NDArray[np.uint8]) -> None:
        self.record.images(step, name, grid)
        self._in_mirror(lambda mirror: mirror.images(step, name, grid))

    def card(self, text: str, scores: Mapping[str, float]) -> None:
        self.record.card(text, scores)
        self._in_mirror(lambda mirror: mirror.card(text, scores))

    def close(self, *, failed: bool = False) -> None:
        if self.closed:
            return
        self.closed = True
        try:
            self.record.close(failed=failed)
        finally:
            self._in_mirror(lambda mirror: mirror.close(failed=failed))


def open_tracker(
    kind: TrackerKind,
    folder: Path,
    config: Mapping[str, Any],
    *,
    name: str,
    offline: bool = False,
    resumed_step: int | None = None,
    overwrite: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> Tracker:
    """Open the record of a new or a resumed training.

    Args:
        kind: Tracker to use; every one keeps the local record.
        folder: Folder for every file of the record; created if it is missing.
        config: Everything that decides the training's result, as JSON represents it.
        name: Name of the training, for display.
        offline: Let Weights & Biases write files only, which `wandb sync` uploads later.
        resumed_step: Step that the training is resumed at. Later entries of the record are dropped, so that it equals
            the record of a training without interruption. None begins a new record.
        overwrite: Allow a new record to replace the one that is in the folder.
        report: Called with one line of text when a mirror fails.

    Raises:
        UsageError: The folder holds another record, or the tracker's package or account is missing.
        OutputError: The record cannot be written.
    """
    check_writable(folder)
    if resumed_step is None and not overwrite and (folder / "metrics.csv").exists():
        raise UsageError(
            f"{folder} holds the record of another training",
            remedy="continue that training with --resume, or replace it with --overwrite",
        )
    if find_spec("matplotlib") is None:  # checked here, before the training, not at the first validation
        raise missing("train", package="matplotlib")
    # The mirror is started first: if that fails, an earlier record in the folder stays as it is.
    mirror: Tracker | None = None
    if kind == "wandb":
        mirror = WandbMirror(folder, config, name, resumed_step, offline=offline)
    elif kind == "tensorboard":
        mirror = TensorBoardMirror(folder, config, resumed_step)
    try:
        record = _LocalRecord(folder, config, name, resumed_step)
    except BaseException:
        if mirror is not None:
            mirror.close(failed=True)
        raise
    return _MirroredRecord(record, mirror, kind, report)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Raise an error of the file system as an ``OutputError`` that names ``path``."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot write {path} ({error.strerror or error})", remedy="free space there or choose another output"
        ) from error


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(dict(value), indent=2).encode() + b"\n"
