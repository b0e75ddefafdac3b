"""Reports of `polyexport infer`: progress, one line or JSON object for each image, and the totals."""

import contextlib
import io
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image

from polyexport.cli.console import console
from polyexport.errors import ExitCode, ImageError, UsageError
from polyexport.imaging.codecs import FORMATS
from polyexport.imaging.color import Color
from polyexport.imaging.pixels import MAX_FILE_BYTES, decode
from polyexport.pipeline.decoding.pool import DecodingPool
from polyexport.pipeline.events import (
    Event,
    ImageFinished,
    NotificationsFailed,
    OnEvent,
    ProviderChosen,
    TilesDiffer,
    WatchWaiting,
)
from polyexport.pipeline.job import Job, LoadModel
from polyexport.pipeline.plan import Item, colored, output_name
from polyexport.pipeline.results import ItemResult, RunReport
from polyexport.storage.files import check_output_file, read_limited, write_atomic
from polyexport.storage.stores import is_url, read_url

__all__ = ["ReportOptions", "RunJob", "report_preview", "report_run"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportOptions:
    """Reports that the user asked for besides the outputs."""

    json: bool
    """Whether stdout gets one JSON object a line: one for each image, and one for the run."""

    contact_sheet: Path | None
    """PNG file for a picture of the first inputs and outputs, or None."""


class RunJob(Protocol):
    """Function that does a job."""

    def __call__(self, *, on_event: OnEvent) -> RunReport:
        """Do the job, and report what happens on the way."""
        ...


def report_run(job: Job, run: RunJob, options: ReportOptions, *, watches: bool = False) -> ExitCode:
    """Do a job and print its results.

    Args:
        job: inputs, outputs and settings.
        run: does the job.
        options: reports that the user asked for.
        watches: whether the inputs are those that appear, so that the run ends only by an interrupt or an error; the
            totals are printed then, too.

    Returns:
        The exit code of the process.
    """
    if options.contact_sheet is not None:
        _check_sheet(options.contact_sheet)
    label = "coloring" if colored(job.plan.settings) else "running"
    with contextlib.nullcontext(None) if watches else _progress(len(job.plan.items), label) as advance:
        printer = _Printer(options, advance)
        try:
            report = run(on_event=printer)
        except BaseException:
            if watches and printer.started:
                _print_totals(job, printer.totals(), options, rate=False)
            raise
    if options.contact_sheet is not None:
        _write_sheet(options.contact_sheet, job, printer.shown, total=report.images)
    _print_totals(job, report, options)
    return ExitCode.SOME_FAILED if report.failed else ExitCode.OK


class _Printer:
    """Prints the events of a run, and counts the images."""

    def __init__(self, options: ReportOptions, advance: Callable[[], None] | None) -> None:
        self._options = options
        self._advance = advance
        self._started_at = time.monotonic()
        self._counts = {"ok": 0, "failed": 0, "skipped": 0}
        self._written = 0
        self._execution_provider = ""
        self._waits = False
        self.shown: list[Item] = []
        """Inputs of the contact sheet."""
        self._most_shown = 0
        if options.contact_sheet is not None:
            from polyexport.pipeline.contact_sheet import ContactSheet  # which most runs don't need

            self._most_shown = ContactSheet.MAX_IMAGES

    @property
    def started(self) -> bool:
        """Whether the model is loaded."""
        return bool(self._execution_provider)

    def __call__(self, event: Event) -> None:
        if isinstance(event, ImageFinished):
            self._image(event.result)
        elif isinstance(event, ProviderChosen):
            self._execution_provider = event.execution_provider
            _print_provider(event.execution_provider, event.fallback_reason)
        elif isinstance(event, TilesDiffer):
            console.info(f"warning: {event.difference.describe()}")
        elif isinstance(event, WatchWaiting) and not self._waits:
            self._waits = True
            console.info(f"watching {event.folder}; an interrupt (Ctrl-C) ends it")
        elif isinstance(event, NotificationsFailed):
            console.info(f"warning: the system tells of no changes, so they are found later ({event.reason})")

    def _image(self, result: ItemResult) -> None:
        self._counts[result.status] += 1
        self._written += result.written
        if result.status == "failed":
            console.error(f"failed: {result.item.source}: {result.reason}")
        elif len(self.shown) < self._most_shown:
            self.shown.append(result.item)
        if self._advance is not None:
            self._advance()
        elif result.status != "failed" and not self._options.json:
            console.info(f"{result.status}: {result.item.source}")
        for warning in result.warnings:
            console.info(f"warning: {result.item.source}: {warning}")
        if self._options.json:
            _json_line({"type": "image", **_item_fields(result.item)}, result)

    def totals(self) -> RunReport:
        """Return the totals of a run that an interrupt or an error has ended."""
        return RunReport(
            **self._counts,
            written=self._written,
            seconds=time.monotonic() - self._started_at,
            execution_provider=self._execution_provider,
            cancelled=True,
        )


def _print_totals(job: Job, report: RunReport, options: ReportOptions, *, rate: bool = True) -> None:
    if options.json:
        totals = {"type": "run", "output": str(job.plan.output), "images": report.images, **asdict(report)}
        console.data(json.dumps(totals | {"images_per_s": report.images_per_s}))
    elif not console.quiet:
        skipped = f", {report.skipped} skipped" if report.skipped else ""
        console.data(
            f"{report.images} images: {report.ok} ok{skipped}, {report.failed} failed; "
            f"{report.written} written to {job.plan.output} in {report.seconds:.2f} s"
            f"{f', {report.images_per_s:.1f} images/s' if rate else ''} on {report.execution_provider}"
        )


def report_preview(job: Job, load: LoadModel, decoding_pool: DecodingPool, *, json_report: bool) -> ExitCode:
    """Print what a job would do.

    Args:
        job: inputs, outputs and settings.
        load: loads the model.
        decoding_pool: processes that read the headers of the inputs.
        json_report: whether stdout gets one JSON object a line.

    Returns:
        The exit code of the process.
    """
    from polyexport.pipeline.preview import Preview, preview  # which most runs don't need

    model = load(threads=1, streams=1, images=job.plan.outputs)
    _print_provider(model.session.execution_provider, model.session.fallback_reason)
    counts = Preview()
    for one in preview(job, model, decoding_pool, counts):
        if json_report:
            outputs = [{"output": output, "state": state} for output, state in one.outputs]
            console.data(
                json.dumps({"type": "image", **_item_fields(one.item), "outputs": outputs, "reason": one.reason})
            )
            continue
        for output, state in one.outputs:
            because = f": {one.reason}" if state in ("unreadable", "failed before", "clashing") else ""
            console.data(f"{one.item.source} -> {job.plan.output / output} ({state}{because})")
    if json_report:
        console.data(json.dumps({"type": "preview", "output": str(job.plan.output), **asdict(counts)}))
    elif not console.quiet:
        states = ", ".join(
            f"{count} to {state}" if state in ("make", "replace") else f"{count} {state}"
            for state, count in counts.outputs.items()
        )
        console.data(
            f"{counts.images} images, {counts.unreadable} of them unreadable; outputs: {states}; "
            f"about {counts.estimated_s:.1f} s on {model.session.execution_provider}; nothing was written"
        )
    fails = counts.unreadable or counts.outputs.get("failed before") or counts.outputs.get("clashing")
    return ExitCode.SOME_FAILED if fails else ExitCode.OK


def _print_provider(execution_provider: str, fallback_reason: str) -> None:
    if fallback_reason:
        console.info(f"running on {execution_provider} ({fallback_reason})")


def _item_fields(item: Item) -> dict[str, Any]:
    colors = all(len(setting.values) == 1 and isinstance(setting.values[0], Color) for setting in item.settings)
    key = "colors" if colors else "settings"
    return {"source": item.source, "name": item.name, key: [setting.folder for setting in item.settings]}


def _json_line(head: dict[str, Any], result: ItemResult) -> None:
    timings = {name: round(value, 3) for name, value in asdict(result.timings).items()}
    values = {"status": result.status, "reason": result.reason, "written": result.written}
    console.data(json.dumps({**head, **values, "warnings": result.warnings, **timings}))


def _check_sheet(path: Path) -> None:
    if path.suffix.lower() != ".png":
        raise UsageError(f"the contact sheet {path} is not a PNG file", remedy="give it a name that ends in .png")
    if path.is_dir():
        raise UsageError(f"the contact sheet {path} is a folder", remedy="choose another name")
    check_output_file(path)


def _write_sheet(path: Path, job: Job, items: list[Item], *, total: int) -> None:
    """Write a picture of the outputs, read back from their files."""
    from polyexport.pipeline.contact_sheet import ContactSheet  # which most runs don't need

    sheet = ContactSheet(total=total)
    for index, item in enumerate(items):
        with contextlib.suppress(ImageError, OSError):  # a file has been removed since
            pictures = [
                (name, decode(_read(path)).pixels) for name, path in zip(job.plan.pictures, item.pictures, strict=True)
            ]
            outputs = [
                (setting.folder or "result", _read_output(str(job.plan.output / output_name(item, setting))))
                for setting in item.settings
            ]
            sheet.add(index, item.name, decode(_read(item.source)).pixels, [*pictures, *outputs])
    write_atomic(path, sheet.to_png())
    console.info(f"contact sheet: {path}")


def _read_output(source: str) -> NDArray[np.uint8]:
    """Read an output with its transparency."""
    with Image.open(io.BytesIO(_read(source)), formats=FORMATS) as image:
        return np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))


def _read(source: str) -> bytes:
    return read_url(source, MAX_FILE_BYTES) if is_url(source) else read_limited(source, MAX_FILE_BYTES)


@contextlib.contextmanager
def _progress(total: int, label: str) -> Iterator[Callable[[], None]]:
    if not console.shows_progress:
        yield lambda: None
        return
    with typer.progressbar(length=total, label=label, file=sys.stderr, show_pos=True) as bar:
        yield lambda: bar.update(1)
