"""Open-loop traffic: requests that arrive at random times, whether or not the earlier ones are answered.

Each request is timed from when it was due, not from when a caller was free to send it: a request that waits behind slow
ones has kept its user waiting ("coordinated omission", Gil Tene, "How NOT to Measure Latency", 2013). The times are a
Poisson process, the arrivals of many users who know nothing of each other.
"""

import contextlib
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np

__all__ = ["Clients", "ThreadClients", "Traffic"]

_CHUNK = 1024
_MOST_ERROR_KINDS = 20


class Traffic:
    """Arrivals of one rate, and the times of their answers. Safe to use from several threads."""

    def __init__(self, rate: float, *, bound_ms: float, lead_s: float, seed: int) -> None:
        """Make the traffic; its clock starts with ``begin``.

        Args:
            rate: mean number of arrivals per second.
            bound_ms: longest time to an answer that is not slow, milliseconds.
            lead_s: seconds at the beginning whose arrivals do not count: a queue that begins empty has to fill first.
            seed: seed of the random times; the same seed gives the same times.
        """
        self.rate, self.bound_ms = rate, bound_ms
        self._lead_s = lead_s
        self._random = np.random.default_rng(seed)
        self._lock = threading.Lock()
        self._due: list[float] = []  # seconds since the beginning
        self._answer_ms: list[float] = []  # NaN while there is no answer, infinite for a failed request
        self._taken = self._seen = self._first = self._oldest = 0
        self._slow = bytearray()  # one byte for each judged arrival after the lead
        self._errors: Counter[str] = Counter()
        self._stopped = threading.Event()
        self._failure: BaseException | None = None
        self._begin = math.nan

    def begin(self) -> None:
        """Start the clock."""
        self._begin = time.perf_counter()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self._begin

    @property
    def stopped(self) -> threading.Event:
        """Event that is set when no more requests are to be sent."""
        return self._stopped

    def take(self) -> tuple[int, float] | None:
        """Hand out the next arrival: its number, and ``time.perf_counter()`` when it is due; None after the end."""
        with self._lock:
            if self._stopped.is_set():
                return None
            number = self._taken
            self._taken += 1
            while len(self._due) <= number:
                self._draw()
            return number, self._begin + self._due[number]

    def answered(self, number: int, error: str = "") -> None:
        """Note that an arrival is answered now.

        Args:
            number: number of the arrival.
            error: kind of the error if the request failed; such a request counts as slow, however quick the error was.
        """
        ms = (self.elapsed_s - self._due[number]) * 1e3
        with self._lock:
            self._answer_ms[number] = math.inf if error else ms
            if error:
                kind = error if error in self._errors or len(self._errors) < _MOST_ERROR_KINDS else "other errors"
                self._errors[kind] += 1

    def fail(self, error: BaseException) -> None:
        """End the traffic by an error that ``check`` raises in the thread that judges."""
        with self._lock:
            self._failure = self._failure or error
        self._stopped.set()

    def check(self) -> None:
        """Raise the error that ended the traffic, if one did."""
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Hand out no more arrivals."""
        self._stopped.set()

    def judge(self) -> bytes:
        """Tell for every arrival after the lead whether it is slow: a byte each, in order of arrival.

        It counts those that are due for longer than the bound: those that have no answer yet are slow whatever comes,
        also those that no client was free for. So nothing has to be waited for, however long the queue is.
        """
        with self._lock:
            now = self.elapsed_s
            while not self._due or self._due[-1] < now:
                self._draw()
            while self._due[self._seen] <= now - self.bound_ms / 1e3:
                if self._due[self._seen] >= self._lead_s:
                    self._slow.append(not self._answer_ms[self._seen] <= self.bound_ms)
                else:
                    self._first += 1
                self._seen += 1
            return bytes(self._slow)

    def waiting_s(self) -> float:
        """Seconds for which the oldest arrival without an answer has been due; 0 if every one is answered."""
        with self._lock:
            while self._oldest < len(self._answer_ms) and not math.isnan(self._answer_ms[self._oldest]):
                self._oldest += 1
            oldest = self._due[self._oldest] if self._oldest < len(self._due) else math.inf
            return max(0.0, self.elapsed_s - oldest)

    def answer_times_ms(self) -> list[float]:
        """Time to the answer of every judged arrival, milliseconds; infinite without one, or with an error."""
        with self._lock:
            return [math.inf if math.isnan(ms) else ms for ms in self._answer_ms[self._first : self._seen]]

    def errors(self) -> dict[str, int]:
        """Number of failed requests by kind."""
        with self._lock:
            return dict(self._errors.most_common())

    def _draw(self) -> None:
        gaps = self._random.exponential(1 / self.rate, _CHUNK)
        first = self._due[-1] if self._due else 0.0
        self._due += (first + np.cumsum(gaps)).tolist()
        self._answer_ms += [math.nan] * _CHUNK


class Clients(Protocol):
    """Senders of requests, a bounded number at a time."""

    def serve(self, traffic: Traffic) -> AbstractContextManager[None]:
        """Take arrivals and answer them until the block ends; the traffic's clock begins with the block."""
        ...


class ThreadClients:
    """Threads that each make one call at a time."""

    def __init__(self, call: Callable[[], object], number: int) -> None:
        """Prepare the clients.

        Args:
            call: one request.
            number: number of threads.
        """
        self._call, self._number = call, number

    @contextlib.contextmanager
    def serve(self, traffic: Traffic) -> Iterator[None]:
        """Take arrivals and answer them until the block ends."""
        with ThreadPoolExecutor(self._number, thread_name_prefix="client") as pool:
            traffic.begin()
            for _ in range(self._number):
                pool.submit(self._client, traffic)
            try:
                yield
            finally:
                traffic.stop()

    def _client(self, traffic: Traffic) -> None:
        try:
            while (arrival := traffic.take()) is not None:
                number, due = arrival
                left = due - time.perf_counter()
                if left > 0 and traffic.stopped.wait(left):
                    return
                self._call()
                traffic.answered(number)
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that judges
            traffic.fail(error)
