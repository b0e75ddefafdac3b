"""All frames from the command line: options, previews, manifests, contact sheets and pipes."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from polyexport.imaging.frames import decode_frames
from polyexport.imaging.pixels import read_image

Cli = Callable[..., subprocess.CompletedProcess[str]]
Refused = Callable[..., str]
ModelOf = Callable[[str], Path]


@pytest.fixture
def moves(tmp_path: Path) -> Path:
    """A folder with an animation of three frames, and with a single picture."""
    folder = tmp_path / "in"
    folder.mkdir()
    frames = [Image.fromarray(np.full((12, 16, 3), 60 * number, np.uint8)) for number in range(3)]
    frames[0].save(folder / "moves.gif", save_all=True, append_images=frames[1:], duration=[40, 50, 60], loop=0)
    frames[1].save(folder / "still.png")
    return folder


def grays(data: bytes) -> list[int]:
    return [int(frame.pixels[0, 0, 0]) for frame in decode_frames(data).frames]


def test_formats_of_one_picture_are_refused(cli: Cli, refused: Refused, moves: Path, version3_of: ModelOf) -> None:
    message = refused(2, "infer", moves, "-m", version3_of("plain"), "--frames", "all", "--format", "jpeg")
    assert "--frames all does not go with --format jpeg, which holds one picture" in message
    assert "Invalid value for '--frames'" in cli("infer", moves, "--frames", "2", check=2).stderr


@pytest.mark.slow
def test_a_manifest_a_preview_and_a_contact_sheet(cli: Cli, moves: Path, version3_of: ModelOf, tmp_path: Path) -> None:
    (moves / "list.csv").write_text("image,sigma\nmoves.gif,0\nmoves.gif,20\nstill.png,20\n")
    common = ["--manifest", moves / "list.csv", "-m", version3_of("number"), "--provider", "cpu"]
    common += ["-o", tmp_path / "out", "--frames", "all"]
    seen = [json.loads(line) for line in cli("infer", *common, "--dry-run", "--json", check=0).stdout.splitlines()]
    outputs = [each["output"] for one in seen[:-1] for each in one["outputs"]]
    assert len(outputs) == 3
    assert not (tmp_path / "out").exists()
    cli("infer", *common, "--contact-sheet", tmp_path / "sheet.png", check=0)
    made = {output: grays((tmp_path / "out" / output).read_bytes()) for output in outputs}
    assert sorted(made.values()) == [[0, 60, 120], [20, 80, 140], [80]]
    seen = [json.loads(line) for line in cli("infer", *common, "--dry-run", "--json", check=0).stdout.splitlines()]
    assert {each["state"] for one in seen[:-1] for each in one["outputs"]} == {"done"}

    first = [*common[:-4], "-o", tmp_path / "first"]
    cli("infer", *first, "--contact-sheet", tmp_path / "of_first.png", check=0)
    one, other = (read_image(tmp_path / name).pixels for name in ("sheet.png", "of_first.png"))
    assert np.array_equal(one, other)


@pytest.mark.slow
def test_a_pipe(program: str, moves: Path, version3_of: ModelOf) -> None:
    command = [program, "infer", "-", "-m", str(version3_of("plain")), "--frames", "all", "--format", "same"]
    data = (moves / "moves.gif").read_bytes()
    done = subprocess.run(command, capture_output=True, check=True, input=data)
    assert done.stdout.startswith(b"GIF89a")
    assert grays(done.stdout) == [255, 195, 135]
    assert done.stderr == b""
