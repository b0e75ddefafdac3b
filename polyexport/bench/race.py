"""Comparison of whole processes, from a folder of pictures to another, in turn on the same pictures.

Everything counts: the start of the interpreter, the loading of the model, every file operation.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

from polyexport.bench.document import Compared
from polyexport.bench.pictures import Pictures, names_of
from polyexport.bench.process import ProcessTime, run_process
from polyexport.bench.programs import Program
from polyexport.bench.statistics import WINDOWS, is_steady, ratio_interval
from polyexport.errors import PolyexportError, UsageError

__all__ = ["Race"]

_MOST_KEPT_BYTES = 1 << 30
"""Size of the programs' outputs above which earlier ones are deleted."""


@dataclass(slots=True)
class _Entry:
    """A program in a race, and what is known of it so far."""

    program: Program
    times: list[ProcessTime] = field(default_factory=list)
    difference: tuple[float, int] | None = None
    failure: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Race:
    """A folder of pictures, and how often and how long programs run on it.

    Raises:
        ValueError: there are no rounds, or no time.
    """

    pictures: Path
    """Folder of the pictures, at any depth."""

    values: Mapping[str, str]
    """Values of placeholders other than the two folders."""

    scratch: Path
    """Existing folder for what the programs write, of this race alone: outputs that are there are not made again."""

    rounds: int = 5
    timeout_s: float = 600.0
    """Time after which a program is ended, seconds."""

    progress: Callable[[str], None] = lambda line: None
    """Function that is called with a line before each round."""

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.timeout_s <= 0:
            raise ValueError(f"rounds and timeout must be positive, got {self.rounds} and {self.timeout_s}")

    def run(self, ours: Program, others: Sequence[Program]) -> list[Compared]:
        """Run every program once, check what it made, and then time all in turn.

        Args:
            ours: polyexport's own command, whose pictures the others' are compared with.
            others: the other programs.

        Returns:
            One result for each program, in this order. One that fails has its reason, and the others go on.

        Raises:
            ValueError: a race has run in the scratch folder.
            UsageError: the folder holds no files, or polyexport can read none of them.
            PolyexportError: polyexport's own command fails.
        """
        if self._runs.exists():
            raise ValueError(f"{self.scratch} holds the outputs of another race; give a folder of its own to each")
        names = frozenset(names_of(self.pictures))
        if not names:
            raise UsageError(f"{self.pictures} holds no files", remedy="give a folder of image files")
        self._runs.mkdir()
        self.progress(f"{ours.name}, {len(names)} pictures of {self.pictures}: a first run, not counted")
        self._once(ours, "reference")
        reference = Pictures.read(self._runs / "reference", names)
        if not reference.count:
            raise UsageError(f"none of the pictures of {self.pictures} can be read", remedy="give other pictures")
        first = _Entry(ours)
        entries = [first, *map(_Entry, others)]
        for entry in entries[1:]:
            self.progress(f"{entry.program.name}: a first run, not counted")
            try:
                self._once(entry.program, f"first-{entries.index(entry)}")
                made = Pictures.read(self._runs / f"first-{entries.index(entry)}", names)
                _check(made, reference)
                entry.difference = made.difference(reference)
            except PolyexportError as error:
                entry.failure = str(error)
        for turn in range(self.rounds):
            left = [entry for entry in entries if not entry.failure]
            if len(left) == 1:
                break
            self.progress(f"round {turn + 1} of {self.rounds}: {', '.join(entry.program.name for entry in left)}")
            for entry in left if turn % 2 == 0 else reversed(left):
                try:
                    entry.times.append(self._once(entry.program, f"round-{turn}-{entries.index(entry)}"))
                except PolyexportError as error:
                    if entry is first:
                        raise
                    entry.failure = str(error)
        return [self._result(entry, None if entry is first else first, reference.count) for entry in entries]

    @property
    def _runs(self) -> Path:
        return self.scratch / "runs"

    def _once(self, program: Program, folder: str) -> ProcessTime:
        """Run a program into a new folder of the scratch folder.

        What was written before stays there, up to a limit: ext4 gives no inode of a file away that was deleted less
        than a minute ago, and looks at each of them for every file that is created, so that a run after a deletion of
        2,000 files took 0.9 ms more of processor time for each file.
        """
        earlier = [one for one in self._runs.iterdir() if one.name != "reference"]
        if sum(file.stat().st_size for one in earlier for file in one.rglob("*") if file.is_file()) > _MOST_KEPT_BYTES:
            for one in earlier:
                shutil.rmtree(one, ignore_errors=True)
        values = {**self.values, "input": str(self.pictures), "output": str(self._runs / folder)}
        return run_process(program.command(values, self.pictures), timeout_s=self.timeout_s, accepted=program.accepted)

    def _result(self, entry: _Entry, first: _Entry | None, count: int) -> Compared:
        program = entry.program
        if entry.failure:
            return Compared.without_figures(
                program.name, program.how, work="files", images=count, failure=entry.failure
            )
        samples, ours = ([1e3 * time.wall_s / count for time in one.times] for one in (entry, first or entry))
        parts = [median(part) for part in np.array_split(samples, WINDOWS) if len(part)]
        mean, largest = entry.difference or (None, None)
        return Compared(
            name=program.name,
            how=program.how,
            versions="",
            work="files",
            images=count,
            p50_ms=median(samples) if samples and is_steady(parts) else None,
            cpu_ms=median(1e3 * time.cpu_s / count for time in entry.times) if samples else None,
            ratio=ratio_interval(samples, ours, paired=True) if first else None,
            mean_difference=0.0 if first is None else mean,
            max_difference=0 if first is None else largest,
            gflop_per_s=None,
            block_ms=tuple(samples),
            failure="",
        )


def _check(made: Pictures, reference: Pictures) -> None:
    """Refuse results that are not those of the same work.

    Raises:
        PolyexportError: there are fewer pictures than polyexport's, or one has another size than polyexport's.
    """
    remedy = "check that the command writes every result to {output}, at the size of its input"
    if made.count < reference.count:
        raise PolyexportError(f"it wrote {made.count} pictures, and polyexport {reference.count}", remedy=remedy)
    for name, size in sorted(made.sizes.items()):
        expected = reference.sizes.get(name, size)
        if size != expected:
            raise PolyexportError(
                f"its {name} has {size[0]}x{size[1]} pixels, and polyexport's {expected[0]}x{expected[1]}",
                remedy=remedy,
            )
