"""What the README shows is what a reader gets."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from polyexport.errors import ExitCode
from polyexport.image import encode_png
from trainer.polygons import draw

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture
def desk(drawings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with drawings/, drawing.png, and somebody's own network with its weights."""
    (tmp_path / "drawing.png").write_bytes(encode_png(draw(np.random.default_rng(0), 100).image))
    (tmp_path / "models").mkdir()
    code = (ROOT / "tests" / "networks" / "seed_style.py").read_text()
    small = "\n\nclass UNet(SeedUNet):\n    def __init__(self) -> None:\n        super().__init__(base=2)\n"
    (tmp_path / "models" / "unet.py").write_text(code + small)
    train = "import models.unet, pathlib; models.unet.save_seed(pathlib.Path('best.pth'), base=2)"
    subprocess.run([sys.executable, "-c", train], cwd=tmp_path, check=True)
    monkeypatch.chdir(drawings.parent)
    return tmp_path


def test_the_python_example_runs(desk: Path) -> None:
    names: dict[str, np.ndarray] = {}
    (code,) = blocks("python")
    exec(code, names)
    assert names["red"].shape == names["blue"].shape == (100, 100, 3)


def test_every_command_runs_in_the_order_of_the_readme(desk: Path) -> None:
    program = [sys.executable, "-m", "polyexport.cli.main"]
    subprocess.run([*program, "dataset", "DATA", "--count", "2", "-q"], check=True)
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("polyexport ")]
    assert len(lines) >= 8
    for line in lines:
        arguments = shlex.split(line, comments=True)[1:]
        if arguments[0] == "train":
            arguments[arguments.index("--minutes") + 1] = "0.05"
        if arguments[0] == "bench":
            arguments += ["--seconds", "0.05"]
        if "--precision" in arguments:
            arguments += ["--min-speedup", "0"]  # no test is timed
        if arguments[0] == "infer":
            arguments += ["--overwrite"]
        done = subprocess.run([*program, *arguments], capture_output=True, text=True)
        allowed = {ExitCode.OK, ExitCode.TARGET_MISSED} if arguments[0] == "bench" else {ExitCode.OK}
        assert done.returncode in allowed, f"{line}: {done.stderr}"
    assert len(os.listdir("drawings-colored/red")) == 6
    assert sorted(os.listdir("out")) == [".polyexport", "1e90ff", "29a352", "tomato"]


def test_the_exit_codes_are_the_programs() -> None:
    rows = re.findall(r"^\| ([\d, ]+) \|", README, flags=re.MULTILINE)
    assert sorted(int(code) for row in rows for code in row.split(",")) == sorted(ExitCode)


def test_every_file_it_points_to_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target


def test_make_has_the_targets() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`?make (\w+)", README):
        assert f"\n{target}:" in makefile
