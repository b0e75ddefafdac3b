"""Scenarios that call the network in this process: from uint8 in host memory to uint8 in host memory."""

import functools
import itertools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from polyexport.bench.document import Row
from polyexport.bench.measure import BLOCKS, callers, closed_loop, open_loop, peak_rss_mib, take_windows, warm_up
from polyexport.bench.options import BenchOptions, Subject
from polyexport.bench.rows import make_row, noted
from polyexport.errors import UsageError
from polyexport.imaging.color import parse_color
from polyexport.model.conditions import ColorRow
from polyexport.model.model import Model
from polyexport.runtime.cores import granted_cores

__all__ = ["checked_size", "inputs", "latency", "palette", "throughput"]

_MAX_PIXELS = 16 * 1024 * 1024  # activations of a full-width network take about 2 KiB per pixel
_NAMES = ("tomato", "lime", "blue", "gold", "teal", "purple", "red", "navy")


def checked_size(model: Model, options: BenchOptions) -> int:
    """Height and width to run at.

    Raises:
        UsageError: the network cannot take it, or it is too much.
    """
    size = options.size or model.contract.training_size
    if size % model.contract.size_multiple:
        raise UsageError(
            f"the network cannot take size {size}", remedy=f"give a multiple of {model.contract.size_multiple}"
        )
    if model.contract.fixed_size and size != model.contract.training_size:
        raise UsageError(f"the network takes size {model.contract.training_size} alone", remedy="leave out --size")
    most = max(*options.batch_sizes, options.colors if "palette" in options.scenarios else 1)
    if most * size * size > _MAX_PIXELS:
        raise UsageError(
            f"{most} images of {size}x{size} are more than {_MAX_PIXELS} pixels",
            remedy="give a smaller --batch-size or --size",
        )
    return size


def inputs(model: Model, size: int, batch_size: int = 1) -> tuple[NDArray[np.uint8], ColorRow]:
    """A batch of one outline, uint8 [N, size, size, 3], and rows of a colour for ``Model.run``.

    An outline and not noise, though a convolution takes as long on either.
    """
    image = np.repeat(_outline(size)[None], batch_size, axis=0)
    color = np.repeat(_color_rows(model, 1), batch_size, axis=0)
    return image, color[:, None] if model.contract.many_colors else color


def latency(subject: Subject, options: BenchOptions, report: Callable[[str], None]) -> list[Row]:
    threads = subject.threads or granted_cores()
    model = subject.load(threads=threads, streams=1, images=0)
    size = checked_size(model, options)
    image, color = inputs(model, size)
    call = functools.partial(model.run, image, color)
    name = f"{options.rate:g} requests/s" if options.rate else "closed loop"
    report(f"latency, {name}, at {size}x{size}")
    peak_rss_mib(reset=True)
    warm_up(call)
    loop = open_loop(call, options.rate) if options.rate else closed_loop(call)
    # A schedule that is cut into blocks begins anew in each, and forgets how late it was.
    windows = take_windows(
        loop, seconds=options.seconds, blocks=1 if options.rate else BLOCKS, calibrate=subject.calibrate
    )
    row = make_row("latency", name, windows, subject, options, size=size, threads=threads)
    served = row.images_per_s or 0.0
    if options.rate and row.stable and served < 0.95 * options.rate:
        return [noted(row, f"SATURATED: {served:.1f} of {options.rate:g} requests/s were served")]
    return [row]


def throughput(subject: Subject, options: BenchOptions, report: Callable[[str], None]) -> list[Row]:
    cores = granted_cores()
    threads = subject.threads or 1
    streams = max(1, cores // threads)
    model = subject.load(threads=threads, streams=streams, images=0)
    size = checked_size(model, options)
    number = (1 if model.session.stable_shapes else streams) + model.session.computes_elsewhere
    rows = []
    for batch_size in options.batch_sizes:
        report(f"throughput, batch {batch_size}, at {size}x{size}")
        image, color = inputs(model, size, batch_size)
        call = functools.partial(model.run, image, color)
        peak_rss_mib(reset=True)
        with callers(call, number) as loop:
            warm_up(call)
            # Blocks of many calls: at the end of each, callers wait for the last one.
            calls_s = 5e-3 * max(loop(0.0))
            blocks = max(1, min(BLOCKS, int(options.seconds / calls_s)))
            windows = take_windows(loop, seconds=options.seconds, blocks=blocks, calibrate=subject.calibrate)
        row = make_row(
            "throughput",
            f"batch {batch_size}",
            windows,
            subject,
            options,
            size=size,
            images=batch_size,
            callers=number,
            threads=threads,
        )
        rows.append(row)
    return rows


def palette(subject: Subject, options: BenchOptions, report: Callable[[str], None]) -> list[Row]:
    threads = subject.threads or granted_cores()
    model = subject.load(threads=threads, streams=1, images=0)
    size = checked_size(model, options)
    many = model.contract.many_colors
    rows = []
    for colors in sorted({1, options.colors}):
        report(f"palette, {colors} colors, at {size}x{size}")
        image = np.repeat(_outline(size)[None], 1 if many else colors, axis=0)
        values = _color_rows(model, colors)
        values = values[None] if many else values
        call = functools.partial(model.run, image, values)
        peak_rss_mib(reset=True)
        warm_up(call)
        windows = take_windows(closed_loop(call), seconds=options.seconds, calibrate=subject.calibrate)
        name = f"{colors} color{'s' if colors > 1 else ''}"
        row = make_row("palette", name, windows, subject, options, size=size, images=colors, threads=threads)
        rows.append(noted(row, "shared network" if many else "no palette graph"))
    return rows


def _color_rows(model: Model, colors: int) -> ColorRow:
    """Rows of the second input, one for each colour; from the first on where the model knows fewer."""
    known = [rgb for _, rgb in model.contract.palette] or [parse_color(name).rgb for name in _NAMES]
    return np.stack([model.color_value(rgb) for rgb in itertools.islice(itertools.cycle(known), colors)])


def _outline(size: int) -> NDArray[np.uint8]:
    page = Image.new("RGB", (size, size), "white")
    margin = size // 8
    ImageDraw.Draw(page).regular_polygon((size / 2, size / 2, size / 2 - margin), 5, outline="black")
    return np.asarray(page)
