"""Formats of outputs from the command line: what is refused, and the ways into a file besides a plain run."""

import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from polyexport.data.drawings import draw
from polyexport.imaging.pixels import decode, read_image

Cli = Callable[..., subprocess.CompletedProcess[str]]
Refused = Callable[..., str]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--quality", "80"], "--quality does not apply to --format png; it applies to jpeg, webp, avif and same"),
        (["--format", "avif", "--compression", "3"], "--compression does not apply to --format avif"),
        (
            ["--format", "jpeg", "--background", "transparent"],
            "--background transparent does not go with --format jpeg",
        ),
        (["--format", "jpeg", "--alpha", "keep"], "--alpha keep does not go with --format jpeg"),
    ],
)
def test_options_that_do_not_go_together(refused: Refused, drawings: Path, options: list[str], message: str) -> None:
    assert message in refused(2, "infer", drawings, "-c", "red", *options)
    assert not drawings.with_name("drawings-colored").exists()


@pytest.mark.slow
def test_a_manifest_a_preview_and_a_contact_sheet(
    cli: Cli, drawings: Path, tiny_model_path: Path, tmp_path: Path
) -> None:
    Image.open(drawings / "1.png").save(drawings / "0.jpg")
    (drawings / "list.csv").write_text("image,color\n0.png,red\n0.jpg,red\n1.png,lime\n")
    common = ["--manifest", drawings / "list.csv", "-m", tiny_model_path, "--provider", "cpu", "-o", tmp_path / "out"]
    common += ["--format", "webp", "--quality", "100"]
    seen = [json.loads(line) for line in cli("infer", *common, "--dry-run", "--json", check=0).stdout.splitlines()]
    assert [one["outputs"][0]["output"] for one in seen[:-1]] == ["red/0.jpg.webp", "red/0.png.webp", "lime/1.webp"]
    cli("infer", *common, "--contact-sheet", tmp_path / "sheet.png", check=0)
    for one in seen[:-1]:
        assert (tmp_path / "out" / one["outputs"][0]["output"]).read_bytes()[8:12] == b"WEBP"

    png = [one if one != "webp" else "png" for one in common[:-2]]
    png[png.index(tmp_path / "out")] = tmp_path / "png"
    cli("infer", *png, "--contact-sheet", tmp_path / "of_png.png", check=0)
    one, other = (read_image(tmp_path / name).pixels for name in ("sheet.png", "of_png.png"))
    assert one.shape == other.shape
    assert np.mean(one != other) < 0.01  # the names differ, the pictures do not


@pytest.mark.parametrize(
    ("options", "found"), [(["--format", "tiff", "--compression", "0"], "TIFF"), (["--format", "same"], "GIF")]
)
def test_a_pipe_writes_the_format(
    program: str, tiny_model_path: Path, tmp_path: Path, options: list[str], found: str
) -> None:
    Image.fromarray(draw(np.random.default_rng(0), 64).image).save(tmp_path / "drawing.gif")
    command = [program, "infer", "drawing.gif", "-c", "red", "-m", str(tiny_model_path), "-o", "-", *options]
    done = subprocess.run(command, capture_output=True, check=True, cwd=tmp_path)
    with Image.open(io.BytesIO(done.stdout)) as image:
        assert image.format == found
    assert decode(done.stdout).pixels.shape == (64, 64, 3)


def test_stdin_has_the_format_of_its_content(program: str, tiny_model_path: Path, drawings: Path) -> None:
    buffer = io.BytesIO()
    Image.open(drawings / "0.png").save(buffer, "JPEG")
    command = [program, "infer", "-", "-c", "red", "-m", str(tiny_model_path), "--format", "same"]
    done = subprocess.run(command, capture_output=True, check=True, input=buffer.getvalue())
    assert done.stdout.startswith(b"\xff\xd8\xff")


@pytest.mark.slow
def test_every_image_ends_in_one_state_and_the_warnings_are_lines(
    cli: Cli, drawings: Path, tiny_model_path: Path, tmp_path: Path
) -> None:
    Image.open(drawings / "0.png").save(drawings / "0.png", dpi=(300, 300))
    (drawings / "0.png").rename(drawings / "0.gif")
    (drawings / "1.png").write_text("text")
    options = ["-m", tiny_model_path, "--provider", "cpu", "-o", tmp_path / "out", "--format", "same"]
    done = cli("infer", drawings, "-c", "red", *options, check=3)
    assert "6 images: 5 ok, 1 failed" in done.stdout
    assert f"warning: {drawings / '0.gif'}: GIF holds no resolution: left out" in done.stderr
