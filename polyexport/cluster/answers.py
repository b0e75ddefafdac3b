"""Answers of the actors: the inputs go to Ray Data in blocks, and the rows that come back are read in a thread."""

import math
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from polyexport.cluster.actors import describe_resources, fits_on_a_machine, machine_resources
from polyexport.cluster.connection import reachable
from polyexport.cluster.worker import Worker, WorkerOptions
from polyexport.errors import PolyexportError, reason_of

__all__ = ["AnswerReader"]

_MAX_INPUTS_PER_BLOCK = 256  # inputs of one call of an actor, which are done again when the actor is lost
_BLOCKS_PER_ACTOR = 6
_CALLS_PER_ACTOR = 2  # one block is decoded and encoded while the network has another
_CHECK_INTERVAL_S = 5.0  # between checks of the cluster while no answer comes
_MAX_TIME_WITHOUT_ROOM_S = 60.0
_MAX_FAILED_CHECKS = 2  # of the cluster's head, after which it is given up
_RERUN = "run the same command again; it carries on where this run ended"


class AnswerReader:
    """Reads the answers of the actors in a thread, so that the main thread can keep time and receive signals."""

    def __init__(
        self,
        ray: Any,
        rows: Sequence[Mapping[str, Any]],
        options: WorkerOptions,
        *,
        actors: int,
        resources: Mapping[str, float],
    ) -> None:
        """Hand the inputs to Ray Data.

        Args:
            ray: the module, connected to a cluster.
            rows: one row for each input, as ``Worker`` expects it.
            options: settings of every actor.
            actors: number of actors to start with.
            resources: what each actor takes of a machine.
        """
        self._ray = ray
        self._resources = resources
        self._checked_at = time.monotonic()
        self._failed_checks = 0
        block = min(_MAX_INPUTS_PER_BLOCK, -(-len(rows) // (actors * _BLOCKS_PER_ACTOR)))
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        # An actor that has no more work than its concurrent calls counts as busy, so that another actor may replace a
        # lost one.
        context.autoscaling_config.actor_pool_util_upscaling_threshold = 1.0
        answers = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // block)).map_batches(
            Worker,
            batch_size=None,  # whole blocks
            # A pool that may shrink: one of a fixed size would wait for ever for the place of an actor whose machine
            # has left.
            compute=ray.data.ActorPoolStrategy(
                min_size=1,
                max_size=actors,
                initial_size=actors,
                max_tasks_in_flight_per_actor=_CALLS_PER_ACTOR,
                max_concurrent_calls_per_actor=_CALLS_PER_ACTOR,
                enable_true_multi_threading=True,
            ),
            fn_constructor_args=(options,),
            num_cpus=resources["CPU"],
            num_gpus=resources.get("GPU"),
        )
        self._queue: queue.Queue[list[dict[str, Any]] | Exception | None] = queue.Queue(maxsize=2 * actors)
        threading.Thread(target=self._read, args=(answers,), name="answers", daemon=True).start()

    def _read(self, answers: Any) -> None:
        try:
            for batch in answers.iter_batches(batch_size=None, batch_format="pyarrow"):
                self._queue.put(batch.to_pylist())
            self._queue.put(None)
        except Exception as error:  # noqa: BLE001 - whatever ends Ray Data ends the run, with one line
            self._queue.put(error)

    def take(self, deadline: float) -> list[dict[str, Any]] | None:
        """Wait for the next rows.

        Args:
            deadline: end of the waiting, in seconds of ``time.monotonic``.

        Returns:
            The rows, or None if none came before the deadline.

        Raises:
            PolyexportError: Ray gave up, or the cluster has had no room for an actor for a while.
        """
        no_room_since = math.inf
        while (now := time.monotonic()) < deadline:
            self._check_head()
            try:
                rows = self._queue.get(timeout=min(_CHECK_INTERVAL_S, deadline - now))
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
            if rows is None or isinstance(rows, Exception):
                why = reason_of(rows) if rows else "it ended before every image was done"
                raise PolyexportError(f"Ray gave the run up ({why})", remedy=_RERUN) from rows
            return rows
        return None

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
