"""Packages of models of every kind of condition and result: their texts, and their script beside Python."""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from version3_models import VERSION3_KINDS

from polyexport.errors import ExitCode
from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.pixels import read_image
from polyexport.model.loading.load import load_model
from polyexport.model.model import Model
from polyexport.package import runner
from polyexport.package.card import model_card, purpose
from polyexport.package.triton import TritonOptions
from polyexport.package.write import write_package

VersionOf = Callable[[str], Path]
Packaged = Callable[[str], tuple[Path, Model]]
Run = Callable[..., int]


@pytest.fixture
def packaged(version3_of: VersionOf, tmp_path: Path) -> Packaged:
    def written(kind: str) -> tuple[Path, Model]:
        folder = tmp_path / "package"
        write_package(version3_of(kind), folder, triton=TritonOptions(name="tiny"))
        return folder, load_model(version3_of(kind), provider="cpu")

    return written


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The script of the package in this process."""

    def call(*arguments: object) -> int:
        return runner.main(tmp_path / "package", [str(argument) for argument in arguments])

    monkeypatch.chdir(tmp_path)
    return call


def picture(path: Path, channels: int = 3, width: int = 21, height: int = 18, seed: int = 3) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(encode_png(pixels))
    return path


def pixels_of(path: Path, channels: int) -> NDArray[np.uint8]:
    return read_image(path, channels=channels).pixels


@pytest.mark.parametrize("kind", VERSION3_KINDS)
def test_the_command_of_the_readme_repeats_the_golden_sample(kind: str, packaged: Packaged, run: Run) -> None:
    folder, model = packaged(kind)
    text = (folder / "README.md").read_text()
    (block,) = re.findall(r"```sh\n(.*?)\n```", text, re.DOTALL)
    command = block.splitlines()[-1]
    (shown,) = re.findall(r"The output is `(.*?)`", text)
    split = subprocess.run(
        ["sh", "-c", f"set -- {command}; printf '%s\\n' \"$@\""], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert split[:2] == ["python", "run.py"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run(*split[2:]) == 0
    assert [path.relative_to(folder).as_posix() for path in folder.glob("*/**/*.png")] == [shown]
    fields = model.contract.result
    with Image.open(folder / shown) as result:
        assert result.mode == {1: "L", 3: "RGB", 4: "RGBA"}[4 if fields.kind == "alpha" else fields.channels]


def test_the_command_of_the_readme_is_one_for_a_shell(packaged: Packaged) -> None:
    folder, model = packaged("vector")
    (block,) = re.findall(r"```sh\n(.*?)\n```", (folder / "README.md").read_text(), re.DOTALL)
    subprocess.run(block.splitlines()[0], shell=True, check=True, cwd=folder, capture_output=True)
    line = block.splitlines()[-1].replace("python", shlex.quote(sys.executable), 1)
    subprocess.run(line, shell=True, check=True, cwd=folder, capture_output=True)
    values = [float(part) for part in (folder / "sample-code.txt").read_text().split(",")]
    [expected] = model.apply([folder / "sample.png"], {"code": values})
    (made,) = (folder / "results").rglob("*.png")
    assert np.array_equal(pixels_of(made, 3), expected)


def test_values_that_are_repeated_give_every_combination(packaged: Packaged, run: Run, tmp_path: Path) -> None:
    _, model = packaged("label number")
    image = picture(tmp_path / "a.png")
    options = ("--set", "style=sketch", "--set", "style=van gogh", "--set", "strength=0.5", "--set", "strength=1")
    assert run(image, *options) == 0
    for style in ("sketch", "van gogh"):
        for strength, text in ((0.5, "0.5"), (1, "1")):
            [expected] = model.apply([image], {"style": style, "strength": strength})
            made = tmp_path / "results" / f"{style},strength={text}" / "a.png"
            assert np.array_equal(pixels_of(made, 3), expected)


def test_second_pictures_come_from_a_folder_or_a_file(
    packaged: Packaged, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, model = packaged("mask in")
    images = [picture(tmp_path / name, seed=seed) for seed, name in enumerate(("a.png", "b.png", "c.png", "d.png"))]
    picture(tmp_path / "masks" / "a.png", 1, seed=7)
    picture(tmp_path / "masks" / "b.jpeg", 1, seed=8)
    picture(tmp_path / "masks" / "c.png", 1, width=20)
    assert run(*images, "--with", f"mask={tmp_path / 'masks'}", "-o", "out") == ExitCode.SOME_FAILED
    said = capsys.readouterr().err
    assert "c.png: its mask has 20x18 pixels, the image 21x18" in said
    assert "d.png" in said
    assert "no picture of its name for mask" in said
    for image, mask in zip(images, ("a.png", "b.jpeg"), strict=False):
        [expected] = model.apply([image], {}, pictures={"mask": [tmp_path / "masks" / mask]})
        assert np.array_equal(pixels_of(tmp_path / "out" / image.name, 3), expected)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.png", "b.png"}
    assert run(*images[:2], "--with", f"mask={tmp_path / 'masks' / 'a.png'}", "-o", "one") == 0
    [expected] = model.apply([images[1]], {}, pictures={"mask": [tmp_path / "masks" / "a.png"]})
    assert np.array_equal(pixels_of(tmp_path / "one" / "b.png", 3), expected)


def test_a_mask_becomes_the_alpha_on_demand(packaged: Packaged, run: Run, tmp_path: Path) -> None:
    _, model = packaged("mask out")
    image = picture(tmp_path / "a.png")
    assert run(image, "-o", "plain") == 0
    assert run(image, "--result-as", "alpha", "-o", "cut") == 0
    assert np.array_equal(pixels_of(tmp_path / "plain" / "a.png", 1), model.apply([image])[0])
    assert np.array_equal(pixels_of(tmp_path / "cut" / "a.png", 4), model.apply([image], as_alpha=True)[0])


def test_the_size_is_the_one_that_is_asked_for(packaged: Packaged, run: Run, tmp_path: Path) -> None:
    _, model = packaged("plain")
    image = picture(tmp_path / "a.png", width=50, height=30)
    results = {}
    for size in ("auto", "fit", "native"):
        assert run(image, "--size", size, "-o", size) == 0
        results[size] = pixels_of(tmp_path / size / "a.png", 3)
        assert np.array_equal(results[size], model.apply([image], size=size)[0])
    assert np.array_equal(results["auto"], results["native"])
    assert not np.array_equal(results["fit"], results["native"])


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("plain", ["--color", "red"], "the model takes no color, got 'red'; it takes an image alone"),
        ("plain", ["--set", "sigma=1"], "no condition 'sigma'"),
        ("plain", ["--with", "mask=."], "takes no picture 'mask'"),
        ("plain", ["--result-as", "alpha"], "the model's result is a picture of scale 1"),
        ("plain", ["--size", "7"], "invalid choice"),
        ("number", ["--set", "sigma=76"], "expected a number from 0 to 75"),
        ("number", ["--set", "sigma"], "is not NAME=VALUE"),
        ("label number", ["--set", "style=sketch"], "no strength was given"),
        ("mask in", [], "no pictures of mask were given; give --with mask=DIR"),
        ("mask in", ["--set", "mask=a.png"], "mask is a picture"),
        ("mask in", ["--with", "mask=nowhere"], "does not exist"),
        ("mask in", ["--with", "mask"], "is not NAME=DIR"),
        ("mask in", ["--with", "mask=.", "--with", "mask=."], "given twice"),
        ("fixed", ["--size", "native"], "only 40x24 pixels"),
    ],
)
def test_usage(
    kind: str, options: list[str], said: str, packaged: Packaged, run: Run, tmp_path: Path, capsys: Any
) -> None:
    packaged(kind)
    assert run(picture(tmp_path / "a.png"), *options) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert said in captured.err
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (
            "plain",
            [
                "| conditions | none: the model takes an image alone |",
                "| `image` | uint8 | [batch, height, width, 3] |",
            ],
        ),
        (
            "number",
            [
                "| condition `sigma` | a number, 0 to 75 levels; 25 if none is given |",
                "| `sigma` | float32 | [batch] |",
            ],
        ),
        ("label number", ["## Labels of style", "| 1 | ukiyo-e |", "| `style` | int64 | [batch] |"]),
        ("vector", ["| `code` | float32 | [batch, 3] |"]),
        (
            "mask in",
            ["| `mask` | uint8 | [batch, height, width, 1] | gray, 0 to 255", "| mask | a picture of 16x16 pixels |"],
        ),
        ("gray", ["| `image` | uint8 | [batch, height, width, 1] | Gray, 0 to 255"]),
        ("rgba", ["[batch, height, width, 4] | RGBA, 0 to 255 |"]),
        ("x2", ["| `result` (output) | uint8 | [batch, 2 x height, 2 x width, 3] | RGB, 0 to 255 |"]),
        ("half", ["[batch, height / 2, width / 2, 3]"]),
        ("mask out", ["[batch, height, width, 1] | a mask, 0 to 255 |"]),
        ("batch one", ["| `image` | uint8 | [1, height, width, 3] |", "| `sigma` | float32 | [1] |"]),
        ("fixed", ["| `image` | uint8 | [batch, 24, 40, 3] | RGB, 0 to 255; only 40x24 pixels |"]),
    ],
)
def test_the_card_describes_inputs_and_result(kind: str, said: list[str], version3_of: VersionOf) -> None:
    model = load_model(version3_of(kind), provider="cpu")
    text = model_card(model.contract, name="tiny", sha256=model.sha256, size_bytes=1)
    for one in said:
        assert one in text
    for block in text.strip().split("\n\n"):
        if block.startswith("|"):
            assert len({line.replace("\\|", "").count("|") for line in block.split("\n")}) == 1, block


def test_what_a_model_is_for_is_a_sentence(version3_of: VersionOf) -> None:
    sentences = {kind: purpose(load_model(version3_of(kind), provider="cpu").contract) for kind in ("x2", "mask in")}
    assert sentences["x2"] == (
        "A network that takes an RGB image, and gives an RGB picture of 2 times the image's height and width"
    )
    assert sentences["mask in"].startswith("A network that takes an RGB image and `mask` (a second picture, gray")
