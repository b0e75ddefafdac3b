import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyexport.storage.spelling import Spelling, guess_spelling, probe_spelling

FOLDED = Spelling(ignores_case=True, ignores_composition=True)


@given(st.text(st.characters(codec="utf-8")))
def test_folding_keeps_exact_names_and_is_the_same_twice(name: str) -> None:
    assert Spelling().folded(name) == name
    for spelling in (Spelling(ignores_composition=True), FOLDED):
        assert spelling.folded(spelling.folded(name)) == spelling.folded(name)


@pytest.mark.parametrize(
    ("one", "other", "spelling", "same"),
    [
        ("a.png", "A.PNG", Spelling(ignores_case=True), True),
        ("a.png", "A.PNG", Spelling(ignores_composition=True), False),
        ("\u00e9", "e\u0301", Spelling(ignores_composition=True), True),
        ("\u00c9", "e\u0301", FOLDED, True),
        ("\u00c9", "e\u0301", Spelling(ignores_case=True), False),
        (os.fsdecode(b"\xffa"), os.fsdecode(b"\xffA"), FOLDED, True),
    ],
)
def test_spellings_of_one_name(one: str, other: str, spelling: Spelling, same: bool) -> None:
    assert (spelling.folded(one) == spelling.folded(other)) is same


def test_a_disk_is_probed_and_nothing_is_left(tmp_path: Path) -> None:
    found = probe_spelling(tmp_path / "probe")
    assert found.ignores_case == (tmp_path.parent / tmp_path.name.swapcase()).exists()
    descriptor = os.open(tmp_path, os.O_RDONLY)
    assert probe_spelling("probe", dir_fd=descriptor) == found
    os.close(descriptor)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        probe_spelling(tmp_path / "missing" / "probe")


def test_a_disk_that_takes_no_accents_is_probed_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def ascii_only(path: str, *arguments: int, **options: int) -> int:
        if not str(path).isascii():
            raise OSError(errno.EILSEQ, os.strerror(errno.EILSEQ), path)
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", ascii_only)
    assert probe_spelling(tmp_path / "probe") == Spelling(
        ignores_case=(tmp_path.parent / tmp_path.name.swapcase()).exists()
    )


def test_a_guess_looks_at_the_closest_folder_that_exists(tmp_path: Path) -> None:
    exact = Spelling(ignores_case=False, ignores_composition=False)
    if probe_spelling(tmp_path / "probe") != exact:
        pytest.skip("this disk ignores case")
    (tmp_path / "folder").mkdir()
    assert guess_spelling(tmp_path / "folder" / "missing" / "1") == exact
    os.link(put(tmp_path / "folder" / "other"), tmp_path / "folder" / "OTHER")
    assert guess_spelling(tmp_path / "folder" / "other" / "missing").ignores_case


def put(path: Path) -> Path:
    path.write_bytes(b"")
    return path


@pytest.fixture
def case_insensitive_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system that ignores case, where this machine allows to mount one."""
    image, place = tmp_path / "image", tmp_path / "disk"
    make = shutil.which("mkfs.vfat") or shutil.which("mkfs.fat")
    if make is None or os.geteuid() != 0:
        pytest.skip("only root can mount a disk that ignores case, and needs mkfs.vfat")
    with image.open("wb") as file:
        file.truncate(4 << 20)
    place.mkdir()
    subprocess.run([make, str(image)], check=True, capture_output=True)
    mounted = subprocess.run(["mount", "-t", "vfat", "-o", "loop,utf8", str(image), str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"this machine cannot mount it: {mounted.stderr.decode()[:100]}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_real_disk_that_ignores_case(case_insensitive_disk: Path) -> None:
    assert probe_spelling(case_insensitive_disk / "probe").ignores_case
    (case_insensitive_disk / "folder").mkdir()
    assert guess_spelling(case_insensitive_disk / "folder").ignores_case
