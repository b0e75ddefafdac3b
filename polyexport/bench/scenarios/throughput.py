"""Scenario ``throughput``: images per second of calls that run side by side."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from polyexport.bench.scenarios.scenario import BatchSizes, Scenario, Settings, Subject

if TYPE_CHECKING:
    from polyexport.bench.document import Row
    from polyexport.bench.measure import Block

__all__ = ["Throughput"]

_CALLS_PER_BLOCK = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Throughput(Scenario):
    """Images per second of as many callers as keep all cores busy, for each batch size."""

    name: ClassVar[str] = "throughput"
    description: ClassVar[str] = "Images per second of calls that run side by side, as infer makes them."
    rule: ClassVar[str] = (
        "calls side by side as infer makes them: on a CPU, calls of one thread for all cores; uint8 in host "
        "memory to uint8 in host memory, copies to and from a device included"
    )
    by_default: ClassVar[bool] = True
    counts_macs: ClassVar[bool] = True

    batch_sizes: BatchSizes = (1, 8)

    @property
    def images_per_call(self) -> int:
        """Largest batch size."""
        return max(self.batch_sizes)

    def measure(self, subject: Subject, settings: Settings, progress: Callable[[str], None]) -> "list[Row]":
        """Measure each batch size."""
        from polyexport.bench.inputs import checked_size, inputs
        from polyexport.bench.measure import BLOCKS, callers, peak_rss_mib, take_windows, warm_up
        from polyexport.bench.rows import make_row
        from polyexport.runtime.cores import granted_cores

        cores = granted_cores()
        threads = subject.threads or 1
        streams = max(1, cores // threads)
        model = subject.load(threads=threads, streams=streams, images=0)
        size = checked_size(model, settings.size, self.images_per_call)
        number = (1 if model.session.stable_shapes else streams) + model.session.computes_elsewhere
        rows = []
        for batch_size in self.batch_sizes:
            progress(f"{self.name}, batch {batch_size}, at {size}x{size}")
            given = inputs(model, size, batch_size)
            call = functools.partial(model.run, *given)
            peak_rss_mib(reset=True)
            with callers(call, number) as loop:
                warm_up(call)
                # Callers wait for the slowest one at the end of a block: blocks of many calls lose less time to that.
                block_s = _CALLS_PER_BLOCK * max(loop(0.0)) / 1e3
                blocks = max(1, min(BLOCKS, int(settings.seconds / block_s)))
                windows = take_windows(loop, seconds=settings.seconds, blocks=blocks, calibrate=subject.calibrate)
            row = make_row(
                self,
                f"batch {batch_size}",
                windows,
                subject,
                settings,
                size=size,
                images=batch_size,
                callers=number,
                threads=threads,
            )
            rows.append(row)
        return rows

    def image_times_ms(self, block: "Block", images: int) -> Sequence[float]:
        """Wall time of the block over its images: callers wait for each other, so the time of one call says less."""
        return [1e3 * block.wall_s / (images * len(block.samples_ms))]
