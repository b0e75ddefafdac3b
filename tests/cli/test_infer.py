"""Every way in which `polyexport infer` is misused, and that it works."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from polyexport.image import read_image
from polyexport.model import Model
from polyexport.session import probe_provider

Cli = Callable[..., subprocess.CompletedProcess[str]]
Refused = Callable[..., str]


def outputs(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_folder_in_two_colors(cli: Cli, drawings: Path, shipped: Model) -> None:
    done = cli("infer", drawings, "--color", "red", "--color", "hsl(120, 100%, 50%)", check=0)
    folder = drawings.with_name("drawings-colored")

    assert outputs(folder) == [f"{color}/{n}.png" for color in ("00ff00", "red") for n in range(6)]
    expected = shipped.colorize([drawings / "3.png"], ["red"])[0][0]
    assert np.array_equal(read_image(folder / "red" / "3.png").pixels, expected)
    last = done.stdout.splitlines()[-1]
    assert last.startswith("6 images: 6 ok, 0 failed; 12 written to ")
    assert "images/s on CPUExecutionProvider" in last
    assert len(done.stdout.splitlines()) == 1


def test_bad_files_fail_alone_with_exit_code_3(cli: Cli, drawings: Path, tmp_path: Path) -> None:
    (drawings / "corrupt.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    (drawings / "cut.png").write_bytes((drawings / "0.png").read_bytes()[:-30])
    (drawings / "text.png").write_text("hello")
    (drawings / "fine.jpg").write_bytes((drawings / "0.png").read_bytes())
    done = cli("infer", drawings, "--color", "red", "-o", tmp_path / "out", check=3)
    failures = [line for line in done.stderr.splitlines() if line.startswith("failed: ")]

    assert sorted(Path(line.split(": ")[1]).name for line in failures) == ["corrupt.png", "cut.png", "text.png"]
    assert len(outputs(tmp_path / "out")) == 7
    assert "10 images: 7 ok, 3 failed" in done.stdout


def test_an_unknown_color_names_the_nearest(refused: Refused, drawings: Path) -> None:
    assert "did you mean tomato" in refused(2, "infer", drawings, "--color", "tomatto")
    assert not drawings.with_name("drawings-colored").exists()


def test_an_empty_folder_and_a_missing_one(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no image in" in refused(2, "infer", tmp_path / "empty", "--color", "red")
    assert "does not exist" in refused(2, "infer", tmp_path / "missing", "--color", "red")


@pytest.mark.parametrize("output", ["drawings", "drawings/inside"])
def test_an_output_in_the_input(refused: Refused, drawings: Path, tmp_path: Path, output: str) -> None:
    before = {path.name: path.read_bytes() for path in drawings.iterdir()}
    assert "lies in the input" in refused(2, "infer", drawings, "--color", "red", "-o", tmp_path / output)
    assert {path.name: path.read_bytes() for path in drawings.iterdir()} == before


def test_models_that_are_refused(
    refused: Refused, drawings: Path, tmp_path: Path, relu_model: onnx.ModelProto, shipped_path: Path
) -> None:
    onnx.save(relu_model, tmp_path / "relu.onnx")
    (tmp_path / "cut.onnx").write_bytes(shipped_path.read_bytes()[:100_000])
    arguments = ("infer", drawings, "--color", "red", "-o", tmp_path / "out", "-m")

    assert "polyexport.contract" in refused(4, *arguments, tmp_path / "relu.onnx")
    assert "not a whole ONNX model" in refused(4, *arguments, tmp_path / "cut.onnx")
    assert "cannot be read" in refused(4, *arguments, tmp_path / "missing.onnx")
    assert outputs(tmp_path / "out") == []


@pytest.mark.skipif(probe_provider("cuda").works, reason="CUDA is there")
def test_cuda_where_there_is_none_never_runs_on_the_cpu(refused: Refused, drawings: Path, tmp_path: Path) -> None:
    line = refused(6, "infer", drawings, "--color", "red", "--provider", "cuda", "-o", tmp_path / "out")
    assert "polyexport[cuda]" in line
    assert outputs(tmp_path / "out") == []


@pytest.mark.parametrize(("size", "said"), [("100", "96 or 112"), ("0", "16 or 32"), ("huge", "fit, native or")])
def test_a_size_the_network_cannot_take(refused: Refused, drawings: Path, tmp_path: Path, size: str, said: str) -> None:
    assert said in refused(2, "infer", drawings, "--color", "red", "--size", size, "-o", tmp_path / "out")


def test_any_size_of_input_comes_back_at_its_size(cli: Cli, tmp_path: Path) -> None:
    sizes = [(1, 1), (300, 200), (17, 500), (128, 128)]
    (tmp_path / "in").mkdir()
    for width, height in sizes:
        Image.new("RGB", (width, height), "white").save(tmp_path / "in" / f"{width}x{height}.png")
    for size in ("fit", "native", "64"):
        cli("infer", "in", "--color", "red", "--size", size, "-o", tmp_path / size, check=0)
        for width, height in sizes:
            with Image.open(tmp_path / size / "red" / f"{width}x{height}.png") as image:
                assert image.size == (width, height)


def test_nothing_is_replaced_unless_told(cli: Cli, refused: Refused, drawings: Path) -> None:
    cli("infer", drawings, "--color", "red", check=0)
    assert "--overwrite" in refused(2, "infer", drawings, "--color", "red")
    cli("infer", drawings, "--color", "red", "--overwrite", check=0)


def test_an_output_that_cannot_be_written(refused: Refused, drawings: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    refused(5, "infer", drawings, "--color", "red", "-o", tmp_path / "file")


def test_the_json_report(cli: Cli, drawings: Path, tmp_path: Path) -> None:
    (drawings / "bad\n\udcff.png").write_bytes(b"")
    done = cli("infer", drawings, "--color", "red", "-o", tmp_path / "out", "--json", check=3)
    report = json.loads(done.stdout)

    assert (report["written"], report["failed"]) == (6, 1)
    assert [image["status"] for image in report["images"]].count("ok") == 6
    assert report["execution_provider"] == "CPUExecutionProvider"


def test_quiet_says_nothing_but_errors(cli: Cli, drawings: Path, tmp_path: Path) -> None:
    done = cli("infer", drawings, "--color", "red", "-o", tmp_path / "out", "-q", check=0)
    assert (done.stdout, done.stderr) == ("", "")


def test_odd_names_keep_to_one_line(cli: Cli, drawings: Path, tmp_path: Path) -> None:
    (drawings / "a\nb.png").write_bytes(b"")
    done = cli("infer", drawings, "--color", "red", "-o", tmp_path / "out", check=3)
    assert "a\\nb.png" in done.stderr


def test_no_option_is_a_usage_error(cli: Cli, drawings: Path) -> None:
    assert cli("infer", drawings).returncode == 2
    assert cli("infer", "--color", "red").returncode == 2
    assert cli("infer", drawings, "--color", "red", "--provider", "gpu").returncode == 2


@pytest.mark.parametrize(
    ("number", "code", "said"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_signals_end_the_run_with_whole_files(
    drawings: Path, tmp_path: Path, number: signal.Signals, code: int, said: str
) -> None:
    for copy in range(3000):
        os.link(drawings / "0.png", drawings / f"copy{copy}.png")
    command = [sys.executable, "-m", "polyexport.cli.main", "infer", drawings, "--color", "red", "-o", tmp_path / "out"]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        # A test suite that was started in the background ignores SIGINT, and its children would too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not list((tmp_path / "out").glob("red/*.png")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)

    assert process.returncode == code
    assert errors.splitlines()[-1] == said
    written = outputs(tmp_path / "out")
    assert 0 < len(written) < 3006
    assert all(read_image(tmp_path / "out" / name).pixels.shape == (64, 64, 3) for name in written)


def test_a_reader_that_goes_away_does_not_stop_the_run(drawings: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "polyexport.cli.main", "infer", drawings, "--color", "red", "-o", tmp_path / "out"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 0, errors
    assert len(outputs(tmp_path / "out")) == 6


@pytest.mark.parametrize("redirect", ["2>&-", ">/dev/full", ">&-", "2>/dev/full"])
def test_streams_that_are_closed_or_full_do_not_stop_the_run(drawings: Path, tmp_path: Path, redirect: str) -> None:
    (drawings / "bad.png").write_bytes(b"")
    command = f'"{sys.executable}" -m polyexport.cli.main infer drawings --color red -o out {redirect}'
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True)

    assert done.returncode == 3, done.stderr
    assert len(outputs(tmp_path / "out")) == 6


def test_a_run_that_ignores_interrupts_goes_on_ignoring_them(drawings: Path, tmp_path: Path) -> None:
    """nohup, and `command &` in a script."""
    for copy in range(200):
        os.link(drawings / "0.png", drawings / f"copy{copy}.png")
    command = f'trap "" INT; exec "{sys.executable}" -m polyexport.cli.main infer drawings --color red -o out'
    process = subprocess.Popen(["sh", "-c", command], cwd=tmp_path, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "out").glob("red/*.png")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0
    assert len(outputs(tmp_path / "out")) == 206
