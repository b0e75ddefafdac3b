"""The commands of the example, in their order, on fewer and smaller pictures and with a thinner network."""

import io
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from trainer.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from trainer.network import ConditionalUNet, ModelConfig

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "clean_line_art"
PAGE = (EXAMPLE / "README.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)
    for line in block.splitlines()
    if not line.startswith("pip ")
]


def quickened(line: str) -> str:
    """The same command, on less."""
    line = re.sub(r"^python ", f"{sys.executable} ", line)
    line = re.sub(r"--count \d+", "--count 4 --size 64", line)
    return re.sub(
        r"--steps \d+ --batch-size \d+", "--steps 2 --batch-size 2 --initial tiny.safetensors --workers 0", line
    )


@pytest.mark.slow
def test_the_commands_lead_from_pairs_to_cleaned_pictures(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(program).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    torch.manual_seed(0)
    thin = ConditionalUNet(ModelConfig(channels=(4, 6), conditioning="none")).eval()
    save_checkpoint(Checkpoint(model=thin, training_size=64), tmp_path / "tiny.safetensors")

    assert [line.split()[0] for line in COMMANDS] == ["python"] * 2 + ["polyexport"] * 3 + ["python"]
    for line in map(quickened, COMMANDS):
        done = subprocess.run(line, shell=True, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}: {done.stderr[-800:]}"

    assert re.fullmatch(r"4 pictures: mean PSNR \d+\.\d dB before, \d+\.\d dB after; lowest .*\n", done.stdout)
    assert load_checkpoint(tmp_path / "runs/clean.safetensors").model.config.conditioning == "none"
    cleaned = sorted((tmp_path / "cleaned").glob("*.png"))
    assert [path.name for path in cleaned] == ["0000.png", "0001.png", "0002.png", "0003.png"]
    with Image.open(cleaned[0]) as picture:
        assert picture.size == (64, 64)


def test_pairs_are_dirty_and_clean_and_the_same_for_one_seed() -> None:
    names = runpy.run_path(str(EXAMPLE / "make_pairs.py"))

    def made(seed: int) -> tuple[NDArray[np.uint8], bytes]:
        rng = np.random.default_rng(seed)
        clean = names["clean_drawing"](rng, 64)
        return clean, names["with_dirt"](rng, clean)

    for seed in range(4):
        clean, file = made(seed)
        again, same_file = made(seed)
        assert np.array_equal(clean, again)
        assert file == same_file != made(seed + 4)[1]
        assert (clean == 255).all(axis=2).mean() > 0.5
        assert clean.min() < 160
        dirty = np.asarray(Image.open(io.BytesIO(file)), dtype=float)
        assert np.abs(dirty - clean)[clean == 255].mean() > 8


def test_every_file_that_the_page_points_to_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (EXAMPLE / target).exists(), target
