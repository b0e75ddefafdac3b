"""Scenario ``cold-start``: the time of new processes, from their start to their end, in stages."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from polyexport.bench.scenarios.scenario import BatchSizes, Option, Scenario, Settings, Subject
from polyexport.errors import PolyexportError

if TYPE_CHECKING:
    from polyexport.bench.document import Row

__all__ = ["ColdStart"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ColdStart(Scenario):
    """Time of a process that loads the model and makes its first images."""

    name: ClassVar[str] = "cold-start"
    description: ClassVar[str] = "Time of a new process that loads the model and makes its first images."
    rule: ClassVar[str] = "a process from its start to its end, one after the other, with the files in the page cache"
    times_images: ClassVar[bool] = False
    in_process: ClassVar[bool] = False

    batch_sizes: BatchSizes = (1, 8)
    processes: Annotated[
        int,
        Option(
            flags=("--processes",),
            help="Number of processes that are started and timed, one after the other.",
            minimum=3,  # one for each window
            maximum=1000,
        ),
    ] = 21

    @property
    def images_per_call(self) -> int:
        """Largest batch size."""
        return max(self.batch_sizes)

    def measure(self, subject: Subject, settings: Settings, progress: Callable[[str], None]) -> "list[Row]":
        """Start processes, one after the other, and return one row for each stage."""
        import numpy as np

        from polyexport.bench.measure import Block, Window
        from polyexport.bench.rows import make_row
        from polyexport.bench.statistics import WINDOWS

        progress(f"{self.name}, {self.processes} processes")
        command = [sys.executable, "-I", "-m", "polyexport.bench.fresh_process", str(subject.path), subject.provider]
        shapes = ",".join(map(str, sorted(set(self.batch_sizes))))
        command += [str(subject.threads), str(subject.device_id), str(settings.size), shapes]
        command += [str(subject.load_limits.seconds), str(subject.load_limits.memory_mib)]
        stages: dict[str, list[float]] = {}
        for number in range(self.processes + 1):
            started = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own
            whole_ms = (time.perf_counter() - started) * 1e3
            if done.returncode:
                errors = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
                raise PolyexportError(
                    f"a process of {self.name} failed: {errors[-1][:200]}", remedy="run polyexport doctor"
                )
            if number:  # the first one fills the page cache
                for stage, ms in {"whole process": whole_ms, **json.loads(done.stdout)}.items():
                    stages.setdefault(stage, []).append(ms)
        rows = []
        for stage, samples in stages.items():
            windows = [
                Window(blocks=[Block(samples_ms=part.tolist(), wall_s=float(part.sum()) / 1e3)])
                for part in np.array_split(samples, WINDOWS)
            ]
            rows.append(make_row(self, stage, windows, subject, settings, size=settings.size))
        return rows
