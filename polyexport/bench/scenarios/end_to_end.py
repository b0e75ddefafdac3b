"""Scenario ``end-to-end``: the time of a whole run from image files to image files."""

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from polyexport.bench.scenarios.scenario import Option, Scenario, Settings, Subject
from polyexport.errors import UsageError
from polyexport.storage.scratch import scratch_folder

if TYPE_CHECKING:
    from polyexport.bench.document import Row
    from polyexport.bench.measure import Window
    from polyexport.model.model import Model

__all__ = ["EndToEnd"]

_GENERATED_SIZE = 128  # pixels, where no size is asked for
_LEAST_RUNS = 2  # in each window


@dataclass(frozen=True, kw_only=True, slots=True)
class EndToEnd(Scenario):
    """Time per image of whole runs over a folder, as ``polyexport infer`` does them."""

    name: ClassVar[str] = "end-to-end"
    description: ClassVar[str] = "Time of a whole run from image files to image files, as infer does it."
    rule: ClassVar[str] = (
        "files to files as infer does it: decoded in processes of their own, encoded, synced to disk, "
        "journal included; the model is loaded before; outputs go to a temporary folder, and TMPDIR decides where"
    )
    in_process: ClassVar[bool] = False

    images: Annotated[
        Path | None,
        Option(
            flags=("--images",),
            help="Folder of the images to color, also by packages and --compare-command.",
            metavar="FOLDER",
            shown_default="256 generated drawings",
        ),
    ] = None

    def measure(self, subject: Subject, settings: Settings, progress: Callable[[str], None]) -> "list[Row]":
        """Measure runs over the folder, each into a new temporary folder; the first run is not counted."""
        from polyexport.bench.inputs import write_drawings
        from polyexport.bench.measure import BLOCKS, peak_rss_mib, take_windows
        from polyexport.bench.rows import make_row, with_note
        from polyexport.imaging.color import parse_color
        from polyexport.model.settings import Setting
        from polyexport.pipeline.decoding.pool import DecodingPool, default_jobs
        from polyexport.pipeline.job import Job, run_job
        from polyexport.pipeline.outputs.store import open_folder
        from polyexport.pipeline.plan import make_plan

        tomato = Setting("tomato", (parse_color("tomato"),))
        with ExitStack() as stack:
            scratch = stack.enter_context(scratch_folder())
            folder = self.images or write_drawings(scratch / "drawings", settings.size or _GENERATED_SIZE)
            plan = make_plan([str(folder)], [tomato], output=scratch / "probe", recursive=True)
            progress(f"{self.name}, {len(plan.items)} files of {folder if self.images else 'generated drawings'}")
            loaded: dict[tuple[int, int], Model] = {}

            def load(*, threads: int, streams: int, images: int) -> "Model":
                key = (threads, streams)
                if key not in loaded:
                    loaded[key] = subject.load(threads=threads, streams=streams, images=images)
                return loaded[key]

            failed = 0
            outputs = iter(range(sys.maxsize))

            def run(_: float) -> list[float]:
                nonlocal failed
                target = make_plan([str(folder)], [tomato], output=scratch / f"run-{next(outputs)}", recursive=True)
                job = Job(plan=target, size=settings.size or "fit", threads=subject.threads)
                started = time.perf_counter()
                with open_folder(target.output) as output, DecodingPool(jobs=default_jobs(len(target.items))) as pool:
                    pool.start()
                    done = run_job(job, load, folder=output, decoding_pool=pool)
                elapsed_ms = (time.perf_counter() - started) * 1e3
                failed = done.failed
                if not done.written:
                    raise UsageError(
                        f"none of {done.images} images of {folder} can be read", remedy="give other images"
                    )
                return [elapsed_ms / done.written]

            run(0.0)
            peak_rss_mib(reset=True)
            # Six runs are the fewest that give a median a confidence interval, which the target needs.
            windows = take_windows(
                run, seconds=settings.seconds, blocks=BLOCKS, least=_LEAST_RUNS, calibrate=subject.calibrate
            )
            per_run = len(plan.items) - failed
        row = make_row(self, "folder" if self.images else "generated", windows, subject, settings, size=0)
        return [with_note(row, f"{per_run} images a run" + (f", {failed} failed" if failed else ""))]

    def images_per_s(self, window: "Window", images: int) -> float:
        """Throughput from the samples, each of which is the milliseconds per image of a whole run."""
        from statistics import median

        return 1e3 / median(window.samples_ms)
