"""What the README shows is what a reader gets."""

import re
from pathlib import Path

import numpy as np
import pytest

from polyexport.data.drawings import draw
from polyexport.errors import ExitCode
from polyexport.imaging.codecs.png import encode_png

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "drawing.png").write_bytes(encode_png(draw(np.random.default_rng(0), 100).image))
    monkeypatch.chdir(tmp_path)
    names: dict[str, np.ndarray] = {}
    (code,) = blocks("python")
    exec(code, names)
    assert names["red"].shape == names["blue"].shape == (100, 100, 3)


def test_the_exit_codes_are_the_programs() -> None:
    section = (ROOT / "docs" / "cli.md").read_text().split("## Exit codes", 1)[1]
    rows = re.findall(r"^\| ([\d, ]+) \|", section, flags=re.MULTILINE)
    assert sorted(int(code) for row in rows for code in row.split(",")) == sorted(ExitCode)


def test_every_file_it_points_to_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target


def test_make_has_the_targets() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:`|^)make (\w+)", README, flags=re.MULTILINE):
        assert f"\n{target}:" in makefile
