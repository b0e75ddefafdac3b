"""Experiment tracking: configuration, metrics by step, sample grids, the model's card and its best scores.

Every training keeps a local record, plain files that need no account and no network; Weights & Biases or TensorBoard
can mirror it. The record is part of the result: where it cannot be written, the training ends with an ``OutputError``,
as it does for its checkpoint. A mirror that fails is given up, with one line of report, and the training goes on.

Metrics are named ``<phase>/<quantity>``. These have a panel in the curves; any other is recorded all the same:

    train/loss, train/loss_<term>      validation/loss
    train/learning_rate                validation/psnr_db    mean, dB
    train/gradient_norm                validation/mae        mean absolute error, levels of 255
    train/images_per_s                 validation/within_8   fraction of values that are off by 8 levels or less
"""

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from polyexport.errors import OutputError, UsageError, reason_of
from polyexport.imaging.codecs.png import encode_png
from polyexport.storage.files import check_writable, read_limited, write_atomic
from trainer.charts import Series, curves_png
from trainer.mirrors import TensorBoardMirror, WandbMirror, missing

__all__ = ["Tracker", "TrackerKind", "open_tracker", "read_metrics"]

TrackerKind = Literal["local", "wandb", "tensorboard"]
"""What a training is tracked with; the last two mirror the local record."""

_HEADER = "step,metric,value\n"
_METRIC = re.compile(r"[\w/.\-]+")
_ROW = re.compile(rf"(\d+),({_METRIC.pattern}),(-?(?:\d+(?:\.\d+)?(?:e[+-]\d+)?|inf|nan))\n")
_SAMPLE = re.compile(r"step_(\d{7,})\.png")
_MAX_METRICS_BYTES = 1 << 30


class Tracker(Protocol):
    """Records one training, from one thread. At one step the metrics come first: images redraw the curves."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Record values after ``step`` optimizer steps; steps never decrease."""

    def images(self, step: int, name: str, grid: NDArray[np.uint8]) -> None:
        """Record one picture, uint8 [H, W, 3], RGB."""

    def card(self, text: str, scores: Mapping[str, float]) -> None:
        """Record the finished model's card, Markdown, and its best scores."""

    def close(self, *, failed: bool = False) -> None:
        """End the record, however the training ended; a second call does nothing.

        ``failed`` says that an error or a signal is on its way up: nothing is raised that would hide it.
        """


def _whole_rows(path: Path) -> Iterator[tuple[int, str, str]]:
    for line in read_limited(path, _MAX_METRICS_BYTES).decode(errors="replace").splitlines(keepends=True):
        if row := _ROW.fullmatch(line):
            yield int(row[1]), row[2], row[3]


def read_metrics(path: Path) -> dict[str, Series]:
    """Read a ``metrics.csv``, also that of a killed training: a row that is not whole is left out.

    Raises:
        OSError: it cannot be read.
    """
    series: dict[str, Series] = {}
    for step, metric, value in _whole_rows(path):
        series.setdefault(metric, []).append((step, float(value)))
    return series


class _LocalRecord:
    """Files in one folder.

    ``config.json``, ``metrics.csv``, ``<images>/step_0000500.png`` and ``curves.png``; at the end ``card.md`` and
    ``scores.json``. A metric is one row, written at once: a kill at any moment costs one torn row at most.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any], name: str, resumed_step: int | None) -> None:
        self.folder = folder
        self.name = name
        self.path = folder / "metrics.csv"
        self.series: dict[str, Series] = {}
        self.drawn = True
        last_step = -1 if resumed_step is None else resumed_step
        lines = [_HEADER]
        with _writing(folder):
            if resumed_step is not None and self.path.exists():
                for step, metric, value in _whole_rows(self.path):
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
            self.file = self.path.open("ab", buffering=0)
        if self.series:
            self.draw()

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        rows = ""
        for metric, value in values.items():
            assert _METRIC.fullmatch(metric), metric
            written = f"{float(value):.9g}"  # whole float32
            rows += f"{step},{metric},{written}\n"
            # As a resumed training would read it, so that both draw the same curves.
            self.series.setdefault(metric, []).append((step, float(written)))
        data = rows.encode()
        with _writing(self.path):
            while data:  # a full disk takes part of it first, and then refuses
                data = data[self.file.write(data) :]
        self.drawn = False

    def images(self, step: int, name: str, grid: NDArray[np.uint8]) -> None:
        write_atomic(self.folder / name / f"step_{step:07d}.png", encode_png(grid))
        self.draw()

    def draw(self) -> None:
        write_atomic(self.folder / "curves.png", curves_png(self.series, self.name))
        self.drawn = True

    def card(self, text: str, scores: Mapping[str, float]) -> None:
        write_atomic(self.folder / "card.md", text.encode())
        write_atomic(self.folder / "scores.json", _json(scores))

    def close(self, *, failed: bool = False) -> None:
        self.file.close()
        if not self.drawn:
            with contextlib.suppress(OutputError) if failed else contextlib.nullcontext():
                self.draw()


class _Mirrored:
    """A local record, and a mirror of it that may fail."""

    def __init__(self, record: Tracker, mirror: Tracker | None, name: str, report: Callable[[str], None]) -> None:
        self.record = record
        self.mirror = mirror
        self.name = name
        self.report = report
        self.closed = False

    def _reflect(self, act: Callable[[Tracker], None]) -> None:
        if self.mirror is None:
            return
        try:
            act(self.mirror)
        except Exception as error:  # noqa: BLE001  a foreign service may raise anything, the training is worth more
            mirror, self.mirror = self.mirror, None
            self.report(f"{self.name} tracking ended ({reason_of(error)}); the local record goes on")
            with contextlib.suppress(Exception):
                mirror.close(failed=True)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self.record.metrics(step, values)
        self._reflect(lambda mirror: mirror.metrics(step, values))

    def images(self, step: int, name: str, grid: NDArray[np.uint8]) -> None:
        self.record.images(step, name, grid)
        self._reflect(lambda mirror: mirror.images(step, name, grid))

    def card(self, text: str, scores: Mapping[str, float]) -> None:
        self.record.card(text, scores)
        self._reflect(lambda mirror: mirror.card(text, scores))

    def close(self, *, failed: bool = False) -> None:
        if self.closed:
            return
        self.closed = True
        try:
            self.record.close(failed=failed)
        finally:
            self._reflect(lambda mirror: mirror.close(failed=failed))


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
    """Begin the record of a training, or go on with one.

    Args:
        kind: ``local``, or what mirrors it.
        folder: takes every file of the record; made if it is missing.
        config: JSON-able; everything that decides the result.
        name: of the training, for people.
        offline: Weights & Biases writes files alone, which `wandb sync` uploads later.
        resumed_step: the step that the training goes on from: what was recorded after it is dropped, so that the record
            reads as if nothing had happened. None begins a new record.
        overwrite: a new record may replace one that is in the folder.
        report: called with one line of text when a mirror fails.

    Raises:
        UsageError: the folder holds another record, the tracker's package is missing, or its account is.
        OutputError: the record cannot be written.
    """
    check_writable(folder)
    if resumed_step is None and not overwrite and (folder / "metrics.csv").exists():
        raise UsageError(
            f"{folder} holds the record of another training",
            remedy="--resume carries that on, --overwrite replaces it",
        )
    if find_spec("matplotlib") is None:  # now, rather than at the first validation
        raise missing("train", package="matplotlib")
    # The mirror first: if it cannot start, the record that is in the folder stays as it is.
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
    return _Mirrored(record, mirror, kind, report)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Report whatever the file system refuses as the output's error."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot write {path} ({error.strerror or error})", remedy="free space there or choose another output"
        ) from error


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(dict(value), indent=2).encode() + b"\n"
