"""Scenario ``capacity``: the highest rate of random arrivals that are answered in time."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from polyexport.bench.scenarios.scenario import Option, Rate, Scenario, Settings, Subject

if TYPE_CHECKING:
    from polyexport.bench.capacity import Capacity
    from polyexport.bench.document import Row
    from polyexport.bench.probe import Probe, ProbePlan
    from polyexport.bench.traffic import Clients

__all__ = ["CapacitySearch"]

_PERCENTILE = 99.0
_LEAST_ALONE = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class CapacitySearch(Scenario):
    """Highest rate of requests that arrive at random times and are answered in time, or whether one rate is."""

    name: ClassVar[str] = "capacity"
    description: ClassVar[str] = "Highest rate of requests that holds --max-p99-ms."
    rule: ClassVar[str] = (
        "requests of one image arrive at random times (Poisson), whether or not earlier ones are answered, each timed "
        "from when it was due; calls side by side as throughput makes them, or HTTP requests to a running service; "
        "failed requests count as slow"
    )
    times_images: ClassVar[bool] = False

    max_p99_ms: Annotated[
        float,
        Option(
            flags=("--max-p99-ms",),
            help="Longest 99th percentile of the times from when a request was due to its answer, milliseconds.",
            minimum=0.01,
            maximum=600_000,
        ),
    ] = 50.0
    rate: Rate = 0.0
    url: Annotated[
        str | None,
        Option(
            flags=("--url",),
            help="Address of a running `polyexport serve` to which the requests are sent.",
            metavar="URL",
            shown_default="the model in this process",
        ),
    ] = None
    clients: Annotated[
        int,
        Option(
            flags=("--clients",),
            help="Largest number of connections to --url, and of requests at a time.",
            minimum=1,
            maximum=500,
        ),
    ] = 64
    probe_seconds: Annotated[
        float,
        Option(
            flags=("--probe-seconds",),
            help="Time after which a rate that is neither surely held nor surely missed is given up, seconds.",
            minimum=0.1,
            maximum=3600,
        ),
    ] = 30.0

    def plan(self, settings: Settings) -> "ProbePlan":
        """Bound and times of the probes; each takes as long as the three windows of other scenarios, or longer."""
        from polyexport.bench.probe import ProbePlan
        from polyexport.bench.statistics import WINDOWS

        return ProbePlan(
            bound_ms=self.max_p99_ms,
            percentile=_PERCENTILE,
            seconds=min(self.probe_seconds, WINDOWS * settings.seconds),
            longest_s=self.probe_seconds,
        )

    def measure(self, subject: Subject, settings: Settings, progress: Callable[[str], None]) -> "list[Row]":
        """Send requests to the model by as many threads as ``throughput`` uses."""
        from polyexport.bench.inputs import checked_size, inputs
        from polyexport.bench.measure import closed_loop, warm_up
        from polyexport.bench.rows import capacity_row
        from polyexport.bench.traffic import ThreadClients
        from polyexport.runtime.cores import granted_cores

        threads = subject.threads or 1
        streams = max(1, granted_cores() // threads)
        model = subject.load(threads=threads, streams=streams, images=0)
        size = checked_size(model, settings.size, self.images_per_call)
        number = (1 if model.session.stable_shapes else streams) + model.session.computes_elsewhere
        call = functools.partial(model.run, *inputs(model, size))
        progress(f"{self.name}, {number} calls at a time, at {size}x{size}")
        warm_up(call)
        samples = closed_loop(call, least=_LEAST_ALONE)(settings.seconds)
        found = self.find(ThreadClients(call, number), samples, number, settings, progress)
        return [capacity_row(self, found, self.row_name, size=size, callers=number, threads=threads)]

    @property
    def row_name(self) -> str:
        """Bound, and the rate if only one is tried; the same in another report of the same search."""
        rate = f"{self.rate:g} requests/s" if self.rate else "search"
        return f"{rate}, p{_PERCENTILE:g} <= {self.max_p99_ms:g} ms{'' if self.url is None else ', HTTP'}"

    def find(
        self,
        clients: "Clients",
        alone_ms: Sequence[float],
        number: int,
        settings: Settings,
        progress: Callable[[str], None],
    ) -> "Capacity":
        """Search for the highest rate, or judge the given one.

        Args:
            clients: senders of the requests.
            alone_ms: times of requests that were sent one after the other, milliseconds.
            number: number of requests that are worked on at a time.
            settings: the settings that all scenarios share.
            progress: called with a line after each rate.

        Raises:
            PolyexportError: the requests cannot be sent.
        """
        from polyexport.bench.capacity import FASTEST_PER_S, find_capacity
        from polyexport.bench.probe import probe

        plan = self.plan(settings)

        def probing(rate: float, seed: int) -> "Probe":
            done = probe(clients, rate, plan, seed=seed)
            p99 = "no p99" if done.p99_ms is None else f"p99 {done.p99_ms:.1f} ms"
            faults = "".join(f", {count} {kind}" for kind, count in done.errors.items())
            grows = ", the queue grows" if done.saturated else ""
            progress(f"  {rate:.1f} requests/s: {done.finding} ({p99} of {done.requests} requests{grows}{faults})")
            return done

        start = min(FASTEST_PER_S, 0.5 * number * len(alone_ms) / (sum(alone_ms) / 1e3))
        return find_capacity(alone_ms, probing, plan, rate=self.rate, start=start)
