import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import polyexport
from polyexport.cli.dataset import dataset
from polyexport.data.splits import SPLITS

FAKE = """
from polyexport.data.drawing_config import DrawingConfig
from polyexport.data.splits.split import DrawingSplit

SPLIT = DrawingSplit(name="stars", description="Stars that have nothing drawn over them.", drawings=DrawingConfig(
    shapes=("star",), multiple=0
))
"""


def test_every_split_has_a_module_of_its_name_and_one_sentence() -> None:
    folder = Path(polyexport.__file__).parent / "data" / "splits"
    assert sorted(SPLITS) == sorted({path.stem for path in folder.glob("*.py")} - {"__init__", "split"})
    for split in SPLITS.values():
        assert re.fullmatch(r"[A-Z][^.]+\.", split.description), split.description


def test_the_command_line_describes_every_split() -> None:
    (described,) = dataset.__annotations__["split"].__metadata__
    for split in SPLITS.values():
        assert f"{split.name}: {split.description}" in described.help


@pytest.fixture
def with_fake_split(tmp_path: Path) -> Path:
    """A folder to import polyexport from: links to the package, with one more split in one file and one row."""
    package = Path(polyexport.__file__).parent
    copied = [(), ("data",), ("data", "splits")]
    for parts in copied:
        target = (tmp_path / "polyexport").joinpath(*parts)
        target.mkdir()
        for entry in package.joinpath(*parts).iterdir():
            if entry.name != "__pycache__" and (*parts, entry.name) not in copied:
                (target / entry.name).symlink_to(entry)
    registry = tmp_path / "polyexport" / "data" / "splits" / "__init__.py"
    text = registry.read_text()
    registry.unlink()
    text = text.replace("import (\n", "import (\n    stars,\n")
    registry.write_text(text.replace("        clean,\n", "        clean,\n        stars,\n"))
    registry.with_name("stars.py").write_text(FAKE)
    return tmp_path


def test_a_split_is_one_file_and_one_row(with_fake_split: Path) -> None:
    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "polyexport.cli.main", "dataset", *arguments],
            cwd=with_fake_split,
            env=os.environ | {"PYTHONPATH": str(with_fake_split)},
            capture_output=True,
            text=True,
        )

    done = run("sets", "--split", "stars", "--count", "3", "--size", "32")
    assert (done.returncode, done.stdout) == (0, f"3 drawings in {Path('sets', 'stars')}\n"), done.stderr
    assert [path.name for path in sorted((with_fake_split / "sets/stars/inputs").iterdir())] == [
        f"{number}_star.png" for number in range(3)
    ]
    assert "stars: Stars that have nothing drawn over them." in " ".join(run("--help").stdout.split())
    refused = run("sets", "--split", "blobs")
    assert refused.returncode == 2
    assert "unknown split 'blobs'" in refused.stderr
    assert "clean, stars, thick" in refused.stderr
