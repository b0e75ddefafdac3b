"""Scenario ``palette``: the time of one drawing in several colors in one call."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from polyexport.bench.scenarios.scenario import Option, Scenario, Settings, Subject

if TYPE_CHECKING:
    from polyexport.bench.document import Row

__all__ = ["Palette"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Palette(Scenario):
    """Time of one drawing in one color, and in several colors in one call."""

    name: ClassVar[str] = "palette"
    description: ClassVar[str] = "Time of one drawing in several colors in one call."
    rule: ClassVar[str] = (
        "one drawing in several colors in one call, on all granted cores; a palette graph shares the work "
        "between them, another model gets the drawing as often as there are colors"
    )

    colors: Annotated[
        int, Option(flags=("--colors",), help="Number of colors in one call.", minimum=1, maximum=1024)
    ] = 8

    @property
    def images_per_call(self) -> int:
        """Number of colors."""
        return self.colors

    def measure(self, subject: Subject, settings: Settings, progress: Callable[[str], None]) -> "list[Row]":
        """Measure one color, then all colors in one call."""
        from polyexport.bench.inputs import checked_size, palette_inputs
        from polyexport.bench.measure import closed_loop, peak_rss_mib, take_windows, warm_up
        from polyexport.bench.rows import make_row, with_note
        from polyexport.runtime.cores import granted_cores

        threads = subject.threads or granted_cores()
        model = subject.load(threads=threads, streams=1, images=0)
        size = checked_size(model, settings.size, self.images_per_call)
        note = "shared network" if model.contract.many_colors else "no palette graph"
        rows = []
        for colors in sorted({1, self.colors}):
            progress(f"{self.name}, {colors} colors, at {size}x{size}")
            call = functools.partial(model.run, *palette_inputs(model, size, colors))
            peak_rss_mib(reset=True)
            warm_up(call)
            windows = take_windows(closed_loop(call), seconds=settings.seconds, calibrate=subject.calibrate)
            row_name = f"{colors} color{'s' if colors > 1 else ''}"
            row = make_row(self, row_name, windows, subject, settings, size=size, images=colors, threads=threads)
            rows.append(with_note(row, note))
        return rows
