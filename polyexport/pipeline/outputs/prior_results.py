"""What stands in the output folder before a run, and what of it the run may skip or replace."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import islice
from typing import Protocol

from polyexport.errors import UsageError
from polyexport.pipeline.outputs.journal import Journal, Record
from polyexport.pipeline.plan import Item, Plan, output_name

__all__ = ["Records", "Standing", "Survey", "View", "survey"]


class Records(Protocol):
    """What is known of outputs by their names: a journal, or a part of one."""

    def record(self, output: str) -> Record | None:
        """The last word on an output."""
        ...


class View(Protocol):
    """An output folder, to look at."""

    def look(self, outputs: Sequence[str]) -> list[str | None]:
        """SHA-256 of each output that exists; None if nothing has its name.

        Raises:
            UsageError: a folder has the name of one.
            OutputError: they cannot be looked at.
        """
        ...


_TOGETHER = 256  # outputs that are looked at; a store has many requests on their way


class Standing(IntEnum):
    """What stands at an output's name."""

    NOTHING = 0
    CURRENT = 1
    """What the journal's last record says: a run made it, and nobody touched it."""

    EARLIER = 2
    """What a run made before the last one that wanted to."""

    FOREIGN = 3
    """Anything else. Only ``--overwrite`` replaces it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """Per output, in the order of the plan and of each item's colours."""

    standing: bytearray = field(repr=False)
    """``Standing``: one byte each, because there may be millions."""

    journal: Records | None = field(repr=False)
    """None if everything is to be done anew."""

    retry_failed: bool

    def settled(self, item: Item, first: int, recipes: Sequence[str]) -> list[Record | None]:
        """For each colour of an item: what an earlier run settled, if its input is still the one of the record.

        Args:
            item: one of the plan.
            first: number of its first output.
            recipes: of its colours.
        """
        if self.journal is None:
            return [None] * len(item.colors)
        return [
            self._settled(self.journal.record(output_name(item, color)), self.standing[number], recipe)
            for number, (color, recipe) in enumerate(zip(item.colors, recipes, strict=True), first)
        ]

    def _settled(self, record: Record | None, standing: int, recipe: str) -> Record | None:
        if record is None or record.recipe != recipe:
            return None
        if record.failed:
            return None if self.retry_failed else record
        return record if standing == Standing.CURRENT else None


def survey(
    plan: Plan, view: View | None, journal: Journal | None, *, overwrite: bool = False, retry_failed: bool = False
) -> Survey:
    """Look at every output's name.

    Args:
        plan: what is to be written.
        view: the output folder; None if there is none yet.
        journal: of that folder.
        overwrite: do everything anew, and replace whatever stands there.
        retry_failed: try again what failed before.

    Raises:
        UsageError: a folder has an output's name, or a file that no run made, and ``overwrite`` is off.
        OutputError: the folder cannot be looked at.
    """
    standing = bytearray(plan.outputs)
    foreign, example, number = 0, "", 0
    outputs = (output_name(item, color) for item in plan.items for color in item.colors)
    while view is not None and (some := list(islice(outputs, _TOGETHER))):
        for output, sha256 in zip(some, view.look(some), strict=True):
            if sha256 is not None:
                standing[number] = _standing(output, sha256, journal)
                if standing[number] == Standing.FOREIGN:
                    foreign, example = foreign + 1, example or output
            number += 1
    if foreign and not overwrite:
        raise UsageError(
            f"{foreign} of {plan.outputs} outputs exist already and were not made by a run into this folder, or were "
            f"changed since, such as {plan.output / example}",
            remedy="add --overwrite or choose another -o",
        )
    return Survey(standing=standing, journal=None if overwrite else journal, retry_failed=retry_failed)


def _standing(output: str, sha256: str, journal: Journal | None) -> Standing:
    if journal is None or sha256 == "-":
        return Standing.FOREIGN
    record = journal.record(output)
    if record is not None and record.sha256 == sha256:
        return Standing.CURRENT
    return Standing.EARLIER if journal.made(output, sha256) else Standing.FOREIGN
