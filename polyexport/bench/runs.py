"""Scenarios that run whole programs: files to files, and processes from nothing."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from polyexport.bench.document import Row
from polyexport.bench.measure import Block, Window, peak_rss_mib, take_windows
from polyexport.bench.options import BenchOptions, Subject
from polyexport.bench.rows import make_row, noted
from polyexport.bench.statistics import WINDOWS
from polyexport.data.drawings import draw
from polyexport.errors import PolyexportError, UsageError
from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.color import parse_color
from polyexport.model.model import Model
from polyexport.pipeline.decoding.pool import Decoders, default_jobs
from polyexport.pipeline.job import Job, run_job
from polyexport.pipeline.outputs.store import open_folder
from polyexport.pipeline.plan import make_plan

__all__ = ["cold_start", "end_to_end"]

_GENERATED = 256


def end_to_end(subject: Subject, options: BenchOptions, report: Callable[[str], None]) -> list[Row]:
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="polyexport-bench-")))
        folder = options.images or _generated(scratch / "drawings", options.size or 128)
        plan = make_plan([str(folder)], [parse_color("tomato")], output=scratch / "probe", recursive=True)
        report(f"end-to-end, {len(plan.items)} files of {folder if options.images else 'generated drawings'}")
        loaded: dict[tuple[int, int], Model] = {}

        def load(*, threads: int, streams: int, images: int) -> Model:
            key = (threads, streams)
            if key not in loaded:
                loaded[key] = subject.load(threads=threads, streams=streams, images=images)
            return loaded[key]

        failed = 0
        outputs = iter(range(sys.maxsize))

        def run(_: float) -> list[float]:
            nonlocal failed
            target = make_plan(
                [str(folder)], [parse_color("tomato")], output=scratch / f"run-{next(outputs)}", recursive=True
            )
            job = Job(plan=target, size=options.size or "fit", threads=subject.threads)
            started = time.perf_counter()
            with open_folder(target.output) as output, Decoders(jobs=default_jobs(len(target.items))) as decoders:
                decoders.start()
                done = run_job(job, load, folder=output, decoders=decoders)
            elapsed_ms = (time.perf_counter() - started) * 1e3
            failed = done.failed
            if not done.written:
                raise UsageError(f"none of {done.images} images of {folder} can be read", remedy="give other images")
            return [elapsed_ms / done.written]

        run(0.0)
        peak_rss_mib(reset=True)
        windows = take_windows(run, seconds=options.seconds, blocks=1, calibrate=subject.calibrate)
        per_run = len(plan.items) - failed
    row = make_row(
        "end-to-end", "folder" if options.images else "generated", windows, subject, options, size=0, own=False
    )
    return [noted(row, f"{per_run} images a run" + (f", {failed} failed" if failed else ""))]


def cold_start(subject: Subject, options: BenchOptions, report: Callable[[str], None]) -> list[Row]:
    shapes = sorted(set(options.batch_sizes))
    report(f"cold-start, {options.processes} processes")
    command = [sys.executable, "-I", "-m", "polyexport.bench.cold_start", str(subject.path), subject.provider]
    command += [str(subject.threads), str(subject.device_id), str(options.size), ",".join(map(str, shapes))]
    stages: dict[str, list[float]] = {}
    for number in range(options.processes + 1):
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own
        whole = (time.perf_counter() - started) * 1e3
        if done.returncode:
            told = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise PolyexportError(f"a process of cold-start failed: {told[-1][:200]}", remedy="run polyexport doctor")
        if number:  # the first one fills the page cache
            for stage, ms in {"whole process": whole, **json.loads(done.stdout)}.items():
                stages.setdefault(stage, []).append(ms)
    rows = []
    for stage, samples in stages.items():
        thirds = [
            Window(blocks=[Block(samples_ms=part.tolist(), wall_s=float(part.sum()) / 1e3)])
            for part in np.array_split(samples, WINDOWS)
        ]
        rows.append(make_row("cold-start", stage, thirds, subject, options, size=options.size, own=False))
    return rows


def _generated(folder: Path, size: int) -> Path:
    folder.mkdir()
    for number in range(_GENERATED):
        (folder / f"{number:03}.png").write_bytes(encode_png(draw(np.random.default_rng(number), size).image))
    return folder
