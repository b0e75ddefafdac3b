"""Scenario ``latency``: the time of one call with one image."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from polyexport.bench.scenarios.scenario import Rate, Scenario, Settings, Subject

if TYPE_CHECKING:
    from polyexport.bench.document import Row

__all__ = ["Latency"]

_LEAST_SERVED = 0.95  # fraction of the requested rate


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency(Scenario):
    """Time of one image a call, one call after the other or at a fixed rate."""

    name: ClassVar[str] = "latency"
    description: ClassVar[str] = "Time of one call with one image."
    rule: ClassVar[str] = (
        "one image a call, one call after the other, on all granted cores; uint8 in host memory to uint8 in host "
        "memory, copies to and from a device included; with --rate, calls at fixed times, each timed from when it was "
        "due"
    )
    by_default: ClassVar[bool] = True
    counts_macs: ClassVar[bool] = True

    rate: Rate = 0.0

    def measure(self, subject: Subject, settings: Settings, progress: Callable[[str], None]) -> "list[Row]":
        """Measure calls of one image on all granted cores."""
        from polyexport.bench.inputs import checked_size, inputs
        from polyexport.bench.measure import BLOCKS, closed_loop, open_loop, peak_rss_mib, take_windows, warm_up
        from polyexport.bench.rows import SATURATED, make_row, with_note
        from polyexport.runtime.cores import granted_cores

        threads = subject.threads or granted_cores()
        model = subject.load(threads=threads, streams=1, images=0)
        size = checked_size(model, settings.size, self.images_per_call)
        given = inputs(model, size)
        call = functools.partial(model.run, *given)
        row_name = f"{self.rate:g} requests/s" if self.rate else "closed loop"
        progress(f"{self.name}, {row_name}, at {size}x{size}")
        peak_rss_mib(reset=True)
        warm_up(call)
        loop = open_loop(call, self.rate) if self.rate else closed_loop(call)
        # A schedule that is cut into blocks begins anew in each, and forgets how late it was.
        windows = take_windows(
            loop, seconds=settings.seconds, blocks=1 if self.rate else BLOCKS, calibrate=subject.calibrate
        )
        row = make_row(self, row_name, windows, subject, settings, size=size, threads=threads)
        served = row.images_per_s or 0.0
        if self.rate and row.stable and served < _LEAST_SERVED * self.rate:
            return [with_note(row, f"{SATURATED}: {served:.1f} of {self.rate:g} requests/s were served")]
        return [row]
