"""The loops that polyexport is compared with do the work: every picture, at its size, as the network makes it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from polyexport.data.drawings import draw
from polyexport.model.model import Model

RIVALS = Path(__file__).parents[2] / "benchmarks" / "rivals"
SCRIPTS = ["onnxruntime_pool.py", "openvino_queue.py"]
COLOR = np.array([[255, 136, 0]], np.uint8)


def run(script: str, *arguments: object) -> None:
    command = [sys.executable, str(RIVALS / script), *map(str, arguments)]
    subprocess.run(command, check=True, timeout=120)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Twenty-one pictures of three shapes, one of them no multiple of what the network takes, in three modes."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    for number in range(21):
        image = Image.fromarray(draw(np.random.default_rng(number), 32).image)
        image = image.resize([(32, 32), (16, 32), (19, 27)][number % 3])
        image.convert(("RGB", "L", "P")[number % 2 + number % 3 // 2]).save(folder / f"{number:02}.png")
    return folder


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_picture_is_made_at_its_size(
    script: str, mixed: Path, tiny_model: Model, tiny_model_path: Path, tmp_path: Path
) -> None:
    run(script, mixed, tmp_path / "out", tiny_model_path, "--multiple", 4)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in mixed.iterdir())
    for path in sorted(mixed.iterdir()):
        pixels = np.asarray(Image.open(path).convert("RGB"))
        height, width = pixels.shape[:2]
        padded = np.pad(pixels, ((0, -height % 4), (0, -width % 4), (0, 0)), "edge")
        expected = tiny_model.run(padded[None], COLOR)[0, :height, :width]
        made = np.asarray(Image.open(tmp_path / "out" / path.name))
        assert made.shape == expected.shape
        assert np.abs(made.astype(int) - expected).max() <= (0 if script == "onnxruntime_pool.py" else 1)


@pytest.mark.parametrize("script", SCRIPTS)
def test_large_pictures_are_scaled_for_the_network_and_back(
    script: str, tiny_model: Model, tiny_model_path: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    image = Image.fromarray(draw(np.random.default_rng(1), 64).image).crop((0, 0, 64, 40))
    image.save(tmp_path / "in" / "a.png")
    run(script, tmp_path / "in", tmp_path / "out", tiny_model_path, "--multiple", 4, "--size", 32, "--color", "#ff8800")
    seen = np.asarray(image.resize((32, 20), Image.Resampling.LANCZOS))
    expected = Image.fromarray(tiny_model.run(seen[None], COLOR)[0]).resize((64, 40), Image.Resampling.BILINEAR)
    made = np.asarray(Image.open(tmp_path / "out" / "a.png"), np.int16)
    assert np.abs(made - np.asarray(expected, np.int16)).max() <= 1


def test_each_is_short() -> None:
    for script in SCRIPTS:
        text = (RIVALS / script).read_text()
        code = [line for line in text[text.index('"""\n\n') :].splitlines()[1:] if line.strip()]
        assert len(code) <= 45
