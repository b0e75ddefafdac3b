import os
from pathlib import Path

import numpy as np
from PIL import Image

from polyexport.bench.pictures import Pictures, names_of


def save(path: Path, value: int = 0, size: tuple[int, int] = (8, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size[1], size[0], 3), value, np.uint8)).save(path)


def test_names_and_endings(tmp_path: Path) -> None:
    for name in ("a.png", "deep/a.jpg", "deep/b.png"):
        save(tmp_path / "in" / name)
    names = names_of(tmp_path / "in")
    assert names == ["a", "deep/a", "deep/b"]
    save(tmp_path / "out" / "red" / "a.png")
    save(tmp_path / "out" / "red" / "deep" / "a.png", size=(4, 4))
    save(tmp_path / "out" / "red" / "other.png")
    found = Pictures.read(tmp_path / "out", frozenset(names))
    assert found.count == 3
    assert found.sizes == {"a": (8, 6), "deep/a": (4, 4)}


def test_what_a_program_leaves_is_not_trusted(tmp_path: Path) -> None:
    save(tmp_path / "good.png")
    (tmp_path / "text.png").write_text("text")
    (tmp_path / "empty.png").touch()
    (tmp_path / ".journal.png").write_bytes((tmp_path / "good.png").read_bytes())
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path)
    found = Pictures.read(tmp_path, frozenset(("good", "text", "pipe")))
    assert (found.count, list(found.files)) == (1, ["good"])
    assert Pictures.read(tmp_path / "missing", frozenset()).count == 0


def test_differences_are_of_pictures_of_one_size(tmp_path: Path) -> None:
    for folder, value in (("a", 10), ("b", 14)):
        save(tmp_path / folder / "0.png", value)
        save(tmp_path / folder / "1.png", 10)
        save(tmp_path / folder / "2.png", value, size=(value, value))
    first, second = (Pictures.read(tmp_path / folder, frozenset("012")) for folder in "ab")
    assert first.difference(second) == (2.0, 4)
    # One that breaks off behind its header counts in no difference.
    data = (tmp_path / "b" / "0.png").read_bytes()
    (tmp_path / "b" / "0.png").write_bytes(data[:60])
    assert first.difference(Pictures.read(tmp_path / "b", frozenset("012"))) == (0.0, 0)
    assert first.difference(Pictures.read(tmp_path / "none", frozenset("012"))) is None
