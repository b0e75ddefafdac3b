"""Probe: traffic of one rate, for as long as it takes to tell whether it holds a bound."""

import math
import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from polyexport.bench.order_statistics import Bounds, design_effect, fraction_bounds
from polyexport.bench.traffic import Clients, Traffic

__all__ = ["Finding", "Probe", "ProbePlan", "probe"]

Finding = Literal["holds", "fails", "undecided"]

_CONFIDENCE = 0.95
_LOOKS = 4
_MARGIN = 1.3
_POLL_S = 0.02
_CLUSTERS = 20
_SATURATED = 5.0  # times the bound, and times the share of slow requests that it allows
_LEAST_SLOW = 20
_GROWING_S = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbePlan:
    """Bound that the rates are held against, and the time that one of them gets."""

    bound_ms: float
    """Longest time to an answer, milliseconds, for the percentile."""

    percentile: float
    """Percentile of the times to an answer that must hold the bound."""

    seconds: float
    """Shortest time of a probe."""

    longest_s: float
    """Time after which a probe that does not decide is given up."""

    @property
    def allowed(self) -> float:
        """Fraction of the requests that may be slower than the bound."""
        return 1 - self.percentile / 100

    @property
    def fewest(self) -> int:
        """Number of requests, none of them slow, that show that a rate holds the bound."""
        return math.ceil(math.log((1 - _CONFIDENCE) / _LOOKS / 2) / math.log(1 - self.allowed))

    def seconds_for(self, rate: float) -> float:
        """Seconds after which requests of a rate are enough to decide, if none of them is slow."""
        return _MARGIN * self.fewest / rate

    @property
    def slowest_per_s(self) -> float:
        """Lowest rate that the longest time of a probe can decide, requests per second."""
        return _MARGIN * self.fewest / self.longest_s

    def looks_s(self, rate: float) -> list[float]:
        """Seconds since the beginning of a probe at which its requests are judged, rising to the longest time."""
        looks = [min(self.longest_s, max(self.seconds, self.seconds_for(rate)))]
        while looks[-1] < self.longest_s and len(looks) < _LOOKS:
            last = len(looks) == _LOOKS - 1
            looks.append(self.longest_s if last else min(self.longest_s, 2 * looks[-1]))
        return looks


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """Traffic of one rate, and whether it holds the bound."""

    rate_per_s: float
    finding: Finding
    seconds: float
    requests: int
    """Number of requests that were judged."""

    slow: Bounds
    """Confidence bounds of the fraction of the requests that are slower than the bound."""

    p50_ms: float | None
    """Median time to an answer, milliseconds; None if less than half of the requests were answered."""

    p99_ms: float | None
    """None where more than one in a hundred requests was not answered, or for fewer than 100 requests."""

    answered_per_s: float
    """Requests that were answered without an error, per second of the judged time."""

    saturated: bool
    """Whether the probe was ended early because the queue grew."""

    errors: dict[str, int]
    """Number of failed requests by kind."""


def probe(clients: Clients, rate: float, plan: ProbePlan, *, seed: int) -> Probe:
    """Send requests at random times, and judge whether they hold the bound.

    The requests are looked at a few times, later each time, until the interval of the fraction of slow ones lies on one
    side of what the bound allows; every look has its share of the 5 % of errors. If slow requests stand together, they
    count for fewer. A queue that grows ends the probe as soon as so many requests are late that the rest cannot make up
    for them.

    Args:
        clients: senders of the requests.
        rate: mean number of requests per second.
        plan: the bound, and how long it may take.
        seed: seed of the random times.

    Raises:
        PolyexportError: the requests cannot be sent at all.
    """
    looks = plan.looks_s(rate)
    lead_s = min(looks[0] / 4, max(0.1, 10 * plan.bound_ms / 1e3))
    traffic = Traffic(rate, bound_ms=plan.bound_ms, lead_s=lead_s, seed=seed)
    finding: Finding = "undecided"
    saturated = False
    bounds = Bounds(low=0.0, high=1.0)
    with clients.serve(traffic):
        queue = _Queue(traffic, plan)
        for look in looks:
            # Those that are due just before the look are judged a bound later.
            while not saturated and traffic.elapsed_s < look + lead_s + plan.bound_ms / 1e3:
                time.sleep(_POLL_S)
                traffic.check()
                saturated = queue.grows(look)
            slow = traffic.judge()
            bounds = _bounds(slow)
            finding = _finding(bounds, plan.allowed)
            if saturated or finding != "undecided":
                break
        seconds = traffic.elapsed_s
    traffic.check()
    times = np.array(traffic.answer_times_ms())[: len(slow)]
    known = np.isfinite(times)
    return Probe(
        rate_per_s=rate,
        finding="fails" if saturated else finding,
        seconds=seconds,
        requests=len(slow),
        slow=bounds,
        p50_ms=_percentile(times, 50),
        p99_ms=_percentile(times, 99) if len(times) >= 100 else None,
        answered_per_s=float(known.sum()) / max(1e-9, seconds - lead_s - plan.bound_ms / 1e3),
        saturated=saturated,
        errors=traffic.errors(),
    )


class _Queue:
    """Requests that wait, watched for a queue that grows without end."""

    def __init__(self, traffic: Traffic, plan: ProbePlan) -> None:
        self._traffic, self._plan = traffic, plan
        self._long_s = max(_GROWING_S, _SATURATED * plan.bound_ms / 1e3)
        self._since: tuple[float, float] | None = None

    def grows(self, look: float) -> bool:
        """Whether enough requests are late to decide the probe, and the oldest waits long, and longer than before.

        A pause of the machine makes requests wait as well, and then their wait becomes shorter.

        Args:
            look: seconds of the probe when its requests are judged.
        """
        waiting, now = self._traffic.waiting_s(), self._traffic.elapsed_s
        late = self._traffic.judge().count(1)
        if waiting < self._long_s or late < max(
            _LEAST_SLOW, _SATURATED * self._plan.allowed * self._traffic.rate * look
        ):
            self._since = None
            return False
        if self._since is None:
            self._since = now, waiting
        begun, before = self._since
        if now < begun + _GROWING_S:
            return False
        self._since = None
        return waiting >= before


def _bounds(slow: bytes) -> Bounds:
    flags = np.frombuffer(slow, np.uint8).astype(bool)
    effect = design_effect(np.array_split(flags, _CLUSTERS)) if len(flags) >= 2 * _CLUSTERS else 1.0
    confidence = 1 - (1 - _CONFIDENCE) / _LOOKS
    return fraction_bounds(int(flags.sum()), len(flags), effect=effect, confidence=confidence)


def _finding(bounds: Bounds, allowed: float) -> Finding:
    if bounds.high <= allowed:
        return "holds"
    return "fails" if bounds.low > allowed else "undecided"


def _percentile(times: NDArray[np.float64], wanted: float) -> float | None:
    """Percentile of times of which some are infinite, by the nearest rank; None if it is infinite."""
    if not len(times):
        return None
    value = float(np.percentile(times, wanted, method="inverted_cdf"))
    return value if math.isfinite(value) else None
