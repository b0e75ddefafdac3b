import os
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyexport.errors import OutputError
from polyexport.pipeline.outputs.journal import MAX_LINE_BYTES, DiskLog, Journal, Record, recipe_of

A, B, C = "a" * 64, "b" * 64, "c" * 64

hashes = st.binary(min_size=32, max_size=32).map(bytes.hex)
records = st.builds(Record, hashes, hashes, hashes) | st.builds(
    Record, hashes, hashes, st.just(""), st.text(min_size=1, max_size=50)
)
names = st.text(min_size=1, max_size=40) | st.just("red/\udcff\n.png")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def opened(path: Path) -> Journal:
    return Journal(DiskLog(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)))


@settings(max_examples=50)
@given(st.lists(st.tuples(names, records), max_size=8))
def test_the_last_record_of_each_name_comes_back(
    tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[str, Record]]
) -> None:
    path = tmp_path_factory.mktemp("journal") / "j"
    with closing(opened(path)) as journal:
        for line in lines:
            journal.append([line])
    with closing(opened(path)) as journal:
        assert journal.empty == (not lines)
        for name, record in dict(lines).items():
            assert journal.record(name) == record
        for name, record in lines:
            assert not record.sha256 or journal.made(name, record.sha256)


@settings(max_examples=50)
@given(st.binary(max_size=300), st.integers(0, 400))
def test_noise_and_torn_lines_are_passed_over(tmp_path_factory: pytest.TempPathFactory, noise: bytes, cut: int) -> None:
    path = tmp_path_factory.mktemp("journal") / "j"
    path.write_bytes(noise)
    with closing(opened(path)) as journal:
        journal.append([("first", Record(A, B, C))])
        journal.append([("second", Record(A, B, C))])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 1 - cut % 100])
    with closing(opened(path)) as journal:
        assert journal.record("first") == Record(A, B, C)
        assert journal.record("second") is None
        journal.append([("third", Record(A, B, C))])
    with closing(opened(path)) as journal:
        assert journal.record("third") == Record(A, B, C)


def test_a_line_that_was_cut_off_by_a_full_disk_does_not_spoil_the_next(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        real(descriptor, bytes(data)[:40])
        raise OSError(28, "No space left on device")

    with closing(opened(path)) as journal:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            with pytest.raises(OSError, match="No space"):
                journal.append([("lost", Record(A, B, C))])
        journal.append([("kept", Record(A, B, C))])
    with closing(opened(path)) as journal:
        assert journal.record("kept") == Record(A, B, C)
        assert journal.record("lost") is None


def test_every_content_that_a_name_ever_had_is_known(path: Path) -> None:
    with closing(opened(path)) as journal:
        journal.append([("x", Record(A, A, A)), ("x", Record(A, A, B)), ("x", Record(A, A, "", "broken"))])
    with closing(opened(path)) as journal:
        assert journal.record("x") == Record(A, A, "", "broken")
        assert [journal.made("x", sha256) for sha256 in (A, B, C)] == [True, True, False]
        assert not journal.made("y", A)


def test_a_later_version_is_not_guessed_at(path: Path) -> None:
    path.write_text('{"v": 2}\n')
    with pytest.raises(OutputError, match="version 2, later than 1"):
        opened(path)


def test_a_file_without_line_breaks_does_not_fill_the_memory(path: Path) -> None:
    path.write_bytes(b"x" * (8 * MAX_LINE_BYTES) + b"\n")
    with closing(opened(path)) as journal:
        journal.append([("x", Record(A, B, C))])
    with closing(opened(path)) as journal:
        assert journal.record("x") == Record(A, B, C)


def test_a_recipe_is_everything_that_decides_the_pixels() -> None:
    assert recipe_of(model=A, color=[1, 2, 3]) == recipe_of(color=[1, 2, 3], model=A)
    assert recipe_of(model=A, color=[1, 2, 3]) != recipe_of(model=B, color=[1, 2, 3])
    assert recipe_of(model=A, color=[1, 2, 3]) != recipe_of(model=A, color=[1, 2, 4])
