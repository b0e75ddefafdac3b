"""Every file operation of a run fails in turn. Nothing that was there before is lost, and a rerun completes."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from color_settings import setting

from polyexport.errors import OutputError
from polyexport.pipeline.decoding.pool import DecodingPool
from polyexport.pipeline.outputs import disk as outputs
from polyexport.pipeline.outputs import journal, lock, place, staging
from polyexport.pipeline.plan import make_plan
from polyexport.pipeline.results import ItemResult, RunReport
from polyexport.storage import files

RED = setting("red")

Colorize = Callable[..., tuple[RunReport, dict[str, ItemResult]]]

CHANGING = frozenset(("open", "mkdir", "write", "fsync", "close", "link", "replace", "ftruncate"))
REMOVING = frozenset(("unlink", "rmdir"))
LOOKING = frozenset(("stat", "fstat", "listdir", "dup", "lseek", "read"))


class FaultyOs:
    """The ``os`` module of one place in the code, whose Nth operation fails; perhaps all after it too."""

    def __init__(self, real: ModuleType, *, fails_at: int, number: int, for_good: bool, names: frozenset[str]) -> None:
        self._real, self._fails_at, self._number, self._for_good, self._names = real, fails_at, number, for_good, names
        self.count = 0

    def __getattr__(self, name: str) -> object:
        value = getattr(self._real, name)
        if name not in self._names:
            return value

        def call(*arguments: object, **options: object) -> object:
            self.count += 1
            if self.count == self._fails_at or (self._for_good and self.count > self._fails_at):
                if name == "close":  # Linux closes the descriptor even where it reports a fault
                    value(*arguments, **options)
                raise OSError(self._number, os.strerror(self._number))
            return value(*arguments, **options)

        return call


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def pictures(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if not name.startswith(".polyexport/")}


@pytest.mark.parametrize(
    ("number", "for_good", "kind"),
    [
        (errno.ENOSPC, True, "changing"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                (errno.ENOSPC, False, "changing"),
                (errno.EIO, False, "changing"),
                (errno.EIO, True, "changing"),
                (errno.EIO, False, "any"),
            )
        ),
    ],
    ids=lambda value: {errno.ENOSPC: "ENOSPC", errno.EIO: "EIO", False: "once", True: "from-then-on"}.get(value, value),
)
def test_the_nth_file_operation_fails_for_every_n(
    colorize: Colorize,
    drawings: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    for_good: bool,
    kind: str,
) -> None:
    names = CHANGING if kind == "changing" else CHANGING | REMOVING | LOOKING
    inputs = [drawings / "0.png", drawings / "1.png"]
    colorize(tmp_path / "whole", plan=make_plan(inputs, [RED], output=tmp_path / "whole"))
    expected = pictures(tree(tmp_path / "whole"))
    fails_at = failures = 0
    while True:
        fails_at += 1
        out = tmp_path / f"out{fails_at}"
        before = make_plan(inputs[:1], [RED], output=out)
        colorize(out, plan=before)  # what an earlier run left there
        (out / "red" / "mine.txt").write_text("not ours")
        plan = make_plan(inputs, [RED], output=out)
        with monkeypatch.context() as patch, DecodingPool(jobs=1) as decoders:
            faulty = FaultyOs(os, fails_at=fails_at, number=number, for_good=for_good, names=names)
            for module in (outputs, lock, place, staging, journal, files):
                patch.setattr(module, "os", faulty)
            try:
                colorize(out, plan=plan, processes=decoders, overwrite=fails_at % 2 == 0)
            except OutputError as error:
                assert "\n" not in str(error)
                failures += 1
        left = tree(out)
        found = pictures(left)
        assert found.pop("red/mine.txt") == b"not ours"
        assert found.items() <= expected.items()
        assert "red/0.png" in found  # the earlier output, or the same anew
        hidden = {name for name in left if name.startswith(".polyexport/")} - {".polyexport/journal.jsonl"}
        # Where even looking or removing fails, what is left is hidden, and the next run sees to it.
        assert not hidden or kind == "any", (fails_at, hidden)

        report, _ = colorize(out, plan=plan)
        assert report.failed == 0
        left = tree(out)
        assert left.pop("red/mine.txt") == b"not ours"
        assert pictures(left) == expected
        assert set(left) == {*expected, ".polyexport/journal.jsonl"}
        if faulty.count < fails_at:
            break
    assert fails_at > 25
    assert failures > 10
