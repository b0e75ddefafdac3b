"""Dispatch of blocks of inputs to the actors of a Ray cluster, in a thread, and what they answer."""

import math
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from polyexport.cluster.actors import describe_resources, fits_on_a_machine, machine_resources
from polyexport.cluster.blocks import Block, Blocks
from polyexport.cluster.connection import reachable
from polyexport.cluster.messages import BlockAnswer
from polyexport.cluster.worker import Worker, WorkerOptions
from polyexport.errors import PolyexportError, reason_of

__all__ = ["Dispatcher"]

_CALLS_PER_ACTOR = 2  # one block is decoded and encoded while the network has another
_CHECK_INTERVAL_S = 5.0  # between checks of the cluster while no answer comes
_TICK_S = 0.2  # longest time in which the thread does not see that it is to end
_MAX_END_S = 2.0
_MAX_TIME_WITHOUT_ROOM_S = 60.0
_MAX_FAILED_CHECKS = 2  # of the cluster's head, after which it is given up
_MAX_FAILED_STARTS = 3  # of actors, one after the other
_RERUN = "run the same command again; it carries on where this run ended"


@dataclass(eq=False, slots=True)
class _Actor:
    handle: Any
    calls: int = 0
    """Number of blocks that it has."""


@dataclass(frozen=True, slots=True)
class _Call:
    actor: _Actor
    block: Block | None = field(default=None)
    """Inputs of the call, or None for the call that answers once the actor has started."""


class Dispatcher:
    """Hands blocks to actors, and replaces an actor that is lost.

    A thread talks to Ray, so that the main thread can keep time and receive signals; it lives as long as the block of a
    ``with`` statement.
    """

    def __init__(
        self,
        ray: Any,
        tasks: Sequence[str],
        options: WorkerOptions,
        *,
        actors: int,
        resources: Mapping[str, float],
    ) -> None:
        """Do not ask for actors yet.

        Args:
            ray: the module, connected to a cluster.
            tasks: one ``Task`` for each input, as JSON text.
            options: settings of every actor.
            actors: number of actors, of which no more are started than there are tasks.
            resources: what each actor takes of a machine.
        """
        self._ray = ray
        self._tasks = tasks
        self._options = options
        self._resources = resources
        self._checked_at = time.monotonic()
        self._failed_checks = 0
        self._remote_class = ray.remote(
            num_cpus=resources["CPU"], num_gpus=resources.get("GPU", 0), max_concurrency=_CALLS_PER_ACTOR
        )(Worker)
        self._blocks = Blocks(len(tasks), actors * _CALLS_PER_ACTOR)
        self._calls: dict[Any, _Call] = {}
        self._actors: list[_Actor] = []
        self._failed_starts = 0
        self._answers: queue.Queue[tuple[Block, BlockAnswer] | Exception] = queue.Queue(maxsize=2 * actors)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(actors,), name="dispatch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Ray ends the process if its connection is closed during a call. Without the cluster's head a call never ends.
        self._stopped.set()
        self._thread.join(_MAX_END_S)

    def take(self, deadline: float) -> tuple[Block, BlockAnswer] | None:
        """Wait for the next answer.

        Args:
            deadline: end of the waiting, in seconds of ``time.monotonic``.

        Returns:
            A block and its answer, or None if none came before the deadline.

        Raises:
            PolyexportError: Ray gave up, or the cluster has had no room for an actor for a while.
        """
        no_room_since = math.inf
        while (now := time.monotonic()) < deadline:
            self._check_head()
            try:
                answer = self._answers.get(timeout=min(_CHECK_INTERVAL_S, deadline - now))
            except queue.Empty:
                self._check_head()  # the next question goes to it
                no_room_since = math.inf if self._has_room() else min(no_room_since, now)
                if now - no_room_since > _MAX_TIME_WITHOUT_ROOM_S:
                    needed = describe_resources(self._resources)
                    raise PolyexportError(
                        f"for {_MAX_TIME_WITHOUT_ROOM_S:g} s the cluster has had no machine with {needed} free",
                        remedy=f"start machines; then {_RERUN}",
                    ) from None
                continue
            if isinstance(answer, PolyexportError):
                raise answer
            if isinstance(answer, Exception):
                raise PolyexportError(f"Ray gave the run up ({reason_of(answer)})", remedy=_RERUN) from answer
            return answer
        return None

    def _run(self, actors: int) -> None:
        try:
            for _ in range(min(actors, len(self._tasks))):
                self._start_actor()
            while not self._stopped.is_set() and (self._blocks or any(call.block for call in self._calls.values())):
                self._collect()
        except Exception as error:  # noqa: BLE001 - whatever ends the thread ends the run, with one line
            self._put(error)

    def _put(self, answer: tuple[Block, BlockAnswer] | Exception) -> None:
        """Wait until the main thread has taken enough of the earlier answers."""
        while not self._stopped.is_set():
            try:
                self._answers.put(answer, timeout=_TICK_S)
            except queue.Full:
                continue
            break

    def _start_actor(self) -> None:
        actor = _Actor(self._remote_class.remote(self._options))
        self._calls[actor.handle.started.remote()] = _Call(actor)

    def _collect(self) -> None:
        """Wait for the end of a call, and give the actors that have too little to do another block."""
        from ray.exceptions import NodeDiedError, ObjectLostError, RayActorError, WorkerCrashedError

        ended, _ = self._ray.wait(list(self._calls), timeout=_TICK_S)
        for reference in ended:
            call = self._calls.pop(reference)
            try:
                answer = self._ray.get(reference)
            except (NodeDiedError, ObjectLostError, RayActorError, WorkerCrashedError) as error:
                self._lose(call, error)
                continue
            if call.block is None:
                self._failed_starts = 0
                self._actors.append(call.actor)
            else:
                call.actor.calls -= 1
                self._put((call.block, BlockAnswer.from_json(answer)))
        self._hand_out()

    def _hand_out(self) -> None:
        for calls in range(_CALLS_PER_ACTOR):
            for actor in self._actors:
                if actor.calls == calls and self._blocks:
                    block = self._blocks.take()
                    tasks = [self._tasks[index] for index in block.inputs]
                    actor.calls += 1
                    self._calls[actor.handle.answer.remote(tasks)] = _Call(actor, block)

    def _lose(self, call: _Call, error: Exception) -> None:
        """Put back the block of a call that was lost, and ask for another actor, once for each that was lost."""
        if call.block is not None:
            self._blocks.give_back(call.block)
            if call.actor not in self._actors:
                return
            self._actors.remove(call.actor)
        else:
            self._failed_starts += 1
            if self._failed_starts == _MAX_FAILED_STARTS:
                reason = str(error).strip().splitlines()[-1]  # the lines before it are the traceback
                raise PolyexportError(f"the actors do not start ({reason})", remedy=f"mend it; then {_RERUN}")
        # Ray may only have lost sight of it; what it stages is dropped, and its place must be free.
        self._ray.kill(call.actor.handle)
        self._start_actor()

    def _check_head(self) -> None:
        now = time.monotonic()
        if now - self._checked_at < _CHECK_INTERVAL_S / 2:
            return
        self._checked_at = now
        self._failed_checks = 0 if reachable(self._ray) else self._failed_checks + 1
        if self._failed_checks == _MAX_FAILED_CHECKS:
            raise PolyexportError("the head of the Ray cluster does not answer any more", remedy=_RERUN)

    def _has_room(self) -> bool:
        """Return whether a machine of the cluster is large enough for an actor; Ray itself waits for one for ever."""
        if self._failed_checks:  # the question would wait for a head that does not answer
            return True
        return fits_on_a_machine(self._resources, machine_resources(self._ray))
