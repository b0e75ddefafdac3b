"""Results of earlier runs: what stands in an output folder before a run, and what of it may be skipped or replaced."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import islice
from typing import Protocol

from polyexport.errors import UsageError
from polyexport.pipeline.outputs.journal import Journal, Record
from polyexport.pipeline.plan import Item, Plan, output_name

__all__ = ["PriorResult", "PriorResults", "Records", "View", "read_prior_results"]

_OUTPUTS_PER_LOOKUP = 256  # one lookup in an object store has many requests under way at once


class Records(Protocol):
    """Journal records of outputs, by output name: a whole journal or a part of one."""

    def record(self, output: str) -> Record | None:
        """Return the latest record of an output, or None if there is none."""
        ...


class View(Protocol):
    """Read access to an output folder."""

    def hash_outputs(self, outputs: Sequence[str]) -> list[str | None]:
        """Return the SHA-256 of each output that exists, and None for each that does not.

        Raises:
            UsageError: a folder has the name of an output.
            OutputError: the output folder cannot be read.
        """
        ...


class PriorResult(IntEnum):
    """State of one output's file before a run."""

    MISSING = 0
    """No file has the output's name."""

    CURRENT = 1
    """The file is the one in the journal's latest record: a run wrote it, and nothing has changed it since."""

    OUTDATED = 2
    """The file is one that a run wrote before the latest record of this output."""

    FOREIGN = 3
    """No run wrote the file, or it was changed since. Only ``--overwrite`` replaces it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PriorResults:
    """Results of earlier runs for every output of a plan, in the order of its items and of each item's settings."""

    states: bytearray = field(repr=False)
    """One ``PriorResult`` for each output, one byte each because a plan may have millions of outputs."""

    journal: Records | None = field(repr=False)
    """Records of earlier runs, or None if every output is to be made again."""

    retry_failed: bool
    """Whether inputs that failed in an earlier run are tried again."""

    def finished_records(self, item: Item, first: int, recipes: Sequence[str]) -> list[Record | None]:
        """Find the records that make an item's outputs unnecessary, provided that the input is still the recorded one.

        Args:
            item: an item of the plan.
            first: index in the plan of the item's first output.
            recipes: recipe hash of each of the item's settings.

        Returns:
            One entry for each setting: the record of a finished output or of a permanent failure, or None if the output
            has to be made.
        """
        if self.journal is None:
            return [None] * len(item.settings)
        return [
            self._finished(self.journal.record(output_name(item, setting)), self.states[number], recipe)
            for number, (setting, recipe) in enumerate(zip(item.settings, recipes, strict=True), first)
        ]

    def _finished(self, record: Record | None, state: int, recipe: str) -> Record | None:
        if record is None or record.recipe != recipe:
            return None
        if record.failed:
            return None if self.retry_failed else record
        return record if state == PriorResult.CURRENT else None


def read_prior_results(
    plan: Plan,
    view: View | None,
    journal: Journal | None,
    *,
    overwrite: bool = False,
    retry_failed: bool = False,
    refuse_foreign: bool = True,
) -> PriorResults:
    """Compare every output file that exists with the journal.

    Args:
        plan: inputs and outputs of the run.
        view: the output folder, or None if it does not exist yet.
        journal: the journal of that folder, or None if it does not exist yet.
        overwrite: whether every output is made again and any file with an output's name may be replaced.
        retry_failed: whether inputs that failed in an earlier run are tried again.
        refuse_foreign: whether a file or a folder at an output's name that no run made is an error; otherwise its
            state is ``FOREIGN``.

    Raises:
        UsageError: a folder has an output's name, or a file that no run wrote has one and ``overwrite`` is off.
        OutputError: the output folder cannot be read.
    """
    states = bytearray(plan.outputs)
    num_foreign, example = 0, ""
    outputs = enumerate((item, output_name(item, setting)) for item in plan.items for setting in item.settings)
    # A file at an output's name that clashes may be the output of another input.
    named = ((number, output) for number, (item, output) in outputs if not item.clash)
    while view is not None and (some := list(islice(named, _OUTPUTS_PER_LOOKUP))):
        names = [output for _, output in some]
        hashes = view.hash_outputs(names) if refuse_foreign else _hash_each(view, names)
        for (number, output), sha256 in zip(some, hashes, strict=True):
            if sha256 is not None:
                states[number] = _state(output, sha256, journal)
                if states[number] == PriorResult.FOREIGN:
                    num_foreign, example = num_foreign + 1, example or output
    if num_foreign and refuse_foreign and not overwrite:
        raise UsageError(
            f"{num_foreign} of {plan.outputs} outputs exist already and were not made by a run into this folder, or "
            f"were changed since, such as {plan.output / example}",
            remedy="add --overwrite or choose another -o",
        )
    return PriorResults(states=states, journal=None if overwrite else journal, retry_failed=retry_failed)


def _hash_each(view: View, outputs: Sequence[str]) -> list[str | None]:
    """Return the SHA-256 of each output as ``View.hash_outputs`` does, and ``"-"`` for a folder."""
    hashes: list[str | None] = []
    for output in outputs:
        try:
            hashes.extend(view.hash_outputs([output]))
        except UsageError:
            hashes.append("-")
    return hashes


def _state(output: str, sha256: str, journal: Journal | None) -> PriorResult:
    if journal is None or sha256 == "-":
        return PriorResult.FOREIGN
    record = journal.record(output)
    if record is not None and record.sha256 == sha256:
        return PriorResult.CURRENT
    return PriorResult.OUTDATED if journal.made(output, sha256) else PriorResult.FOREIGN
