"""`polyexport infer` with models that take an image alone, or other conditions than a color."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from polyexport.cli.infer_pipe import plan_pipe
from polyexport.errors import UsageError
from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.pixels import read_image
from polyexport.model.loading.load import load_model
from polyexport.pipeline.interface import interface_of
from polyexport.pipeline.request import Request

Cli = Callable[..., subprocess.CompletedProcess[str]]
Refused = Callable[..., str]
ModelOf = Callable[[str], Path]


def outputs(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png"))


@pytest.fixture
def masks(drawings: Path) -> Path:
    """A mask for each drawing, in a folder among the drawings."""
    folder = drawings / "masks"
    folder.mkdir()
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (64, 64), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.bmp")
    return folder


def test_an_image_alone_needs_no_condition(cli: Cli, version3_of: ModelOf, drawings: Path) -> None:
    cli("infer", drawings, "-m", version3_of("x2"), check=0)
    folder = drawings.with_name("drawings-results")
    assert outputs(folder) == [f"{number}.png" for number in range(6)]
    [expected] = load_model(version3_of("x2"), provider="cpu").apply([drawings / "3.png"])
    assert expected.shape == (128, 128, 3)
    assert np.array_equal(read_image(folder / "3.png").pixels, expected)
    again = cli("infer", drawings, "-m", version3_of("x2"), check=0)
    assert "6 images: 0 ok, 6 skipped" in again.stdout


def test_a_sweep_a_report_and_a_preview(cli: Cli, version3_of: ModelOf, drawings: Path, tmp_path: Path) -> None:
    sweep = ("--set", "style=van gogh", "--set", "strength=0.25", "--set", "strength=1")
    command = ("infer", drawings, "-m", version3_of("label number"), *sweep, "-o", tmp_path / "out", "--json")
    preview = cli(*command, "--dry-run", check=0)
    assert json.loads(preview.stdout.splitlines()[-1])["outputs"] == {"make": 12}
    assert not (tmp_path / "out").exists()
    sheet = tmp_path / "sheet.png"
    lines = [json.loads(line) for line in cli(*command, "--contact-sheet", sheet, check=0).stdout.splitlines()]
    folders = ["van gogh,strength=0.25", "van gogh,strength=1"]
    assert [line["settings"] for line in lines[:-1]] == [folders] * 6
    assert outputs(tmp_path / "out") == sorted(f"{one}/{number}.png" for one in folders for number in range(6))
    with Image.open(sheet) as image:
        assert image.width > 500


def test_masks_beside_their_images(cli: Cli, version3_of: ModelOf, drawings: Path, masks: Path, tmp_path: Path) -> None:
    command = ("infer", drawings, "-r", "-m", version3_of("mask in"), "--with", f"mask={masks}", "-o", tmp_path / "out")
    (masks / "2.bmp").unlink()
    done = cli(*command, check=3)
    assert f"failed: {drawings}/2.png: its mask {masks}/2.* cannot be read" in done.stderr
    assert outputs(tmp_path / "out") == [f"{number}.png" for number in (0, 1, 3, 4, 5)]
    [expected] = load_model(version3_of("mask in"), provider="cpu").apply(
        [drawings / "5.png"], pictures={"mask": [masks / "5.bmp"]}
    )
    assert (tmp_path / "out" / "5.png").read_bytes() == encode_png(expected)


def test_a_manifest_of_images_and_masks(
    cli: Cli, version3_of: ModelOf, drawings: Path, masks: Path, tmp_path: Path
) -> None:
    (drawings / "list.csv").write_text("image,mask\n0.png,masks/1.bmp\n1.png,masks/1.bmp\n")
    cli("infer", "--manifest", drawings / "list.csv", "-m", version3_of("mask in"), check=0)
    assert outputs(drawings.with_name("drawings-results")) == ["0.png", "1.png"]


def test_a_result_as_alpha_and_a_gray_one(cli: Cli, version3_of: ModelOf, drawings: Path, tmp_path: Path) -> None:
    command = ("infer", drawings / "0.png", "-m", version3_of("mask out"))
    cli(*command, "-o", tmp_path / "gray", "--contact-sheet", tmp_path / "sheet.png", check=0)
    cli(*command, "-o", tmp_path / "alpha", "--result-as", "alpha", check=0)
    gray, alpha = (np.asarray(Image.open(tmp_path / name / "0.png")) for name in ("gray", "alpha"))
    assert gray.shape == (64, 64)
    assert np.array_equal(alpha, np.dstack([read_image(drawings / "0.png").pixels, gray]))


def test_what_the_model_does_not_take_is_refused(
    refused: Refused, version3_of: ModelOf, drawings: Path, tmp_path: Path
) -> None:
    run = ("infer", drawings, "-o", tmp_path / "out", "-m")
    assert "takes no color, got 'red'" in refused(2, *run, version3_of("plain"), "-c", "red")
    line = refused(2, *run, version3_of("label number"), "--set", "style=cubist", "--set", "strength=1")
    assert "not one of its 3 labels; the model takes style (one of 3: sketch, ukiyo-e, van gogh), strength" in line
    assert "no strength was given" in refused(2, *run, version3_of("label number"), "--set", "style=sketch")
    assert "give --with mask=DIR" in refused(2, *run, version3_of("mask in"))
    assert "which cannot be an alpha" in refused(2, *run, version3_of("plain"), "--result-as", "alpha")
    assert not (tmp_path / "out").exists()


def test_a_pipe_takes_every_kind(program: str, version3_of: ModelOf, drawings: Path, masks: Path) -> None:
    cases: list[tuple[str, list[str], dict[str, int], dict[str, list[Path]]]] = [
        ("plain", [], {}, {}),
        ("number", ["--set", "sigma=3"], {"sigma": 3}, {}),
        ("mask in", ["--with", f"mask={masks / '1.bmp'}"], {}, {"mask": [masks / "1.bmp"]}),
    ]
    for kind, options, given, pictures in cases:
        command = [program, "infer", "-", "-m", str(version3_of(kind)), *options]
        done = subprocess.run(command, input=(drawings / "0.png").read_bytes(), capture_output=True, check=True)
        [expected] = load_model(version3_of(kind), provider="cpu").apply([drawings / "0.png"], given, pictures=pictures)
        assert done.stdout == encode_png(expected), kind


def test_a_pipe_makes_one_output(version3_of: ModelOf, masks: Path) -> None:
    number, mask = interface_of(version3_of("number")), interface_of(version3_of("mask in"))
    with pytest.raises(UsageError, match="one image and one value of each condition, got 1 and 2; name a folder"):
        plan_pipe(Request(paths=["-"], assignments=["sigma=1", "sigma=2"]), number, others=[])
    with pytest.raises(UsageError, match="an image on stdin has no name; give one file: --with mask=FILE"):
        plan_pipe(Request(paths=["-"], pictures=[f"mask={masks}"]), mask, others=[])
    pipe = plan_pipe(Request(paths=["a/3.png"], pictures=[f"mask={masks}"], output="-"), mask, others=[])
    assert pipe.pictures == (str(masks / "3.bmp"),)
