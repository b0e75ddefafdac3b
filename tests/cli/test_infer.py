"""Every way in which `polyexport infer` is misused, and that it works."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image, ImageDraw

from polyexport.imaging.pixels import decode, read_image
from polyexport.model.model import Model
from polyexport.runtime.probe import probe_provider

Cli = Callable[..., subprocess.CompletedProcess[str]]
Refused = Callable[..., str]


def outputs(folder: Path) -> list[str]:
    """Every file but the journal."""
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return sorted(files - {".polyexport/journal.jsonl"})


def test_a_folder_in_two_colors(cli: Cli, drawings: Path, shipped: Model) -> None:
    colors = ("--color", "red", "--color", "hsl(120, 100%, 50%)")
    done = cli("infer", drawings, *colors, "--provider", "cpu", check=0)
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


def test_an_output_that_is_the_input(refused: Refused, drawings: Path) -> None:
    before = {path.name: path.read_bytes() for path in drawings.iterdir()}
    assert "is the input folder" in refused(2, "infer", drawings, "--color", "red", "-o", drawings)
    assert {path.name: path.read_bytes() for path in drawings.iterdir()} == before


def test_an_output_inside_the_input_is_no_input_of_the_next_run(cli: Cli, drawings: Path) -> None:
    for _ in range(2):
        cli("infer", drawings, "--color", "red", "-r", "-o", drawings / "colored", check=0)
    assert outputs(drawings / "colored") == [f"red/{n}.png" for n in range(6)]


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


@pytest.mark.parametrize(("size", "said"), [("100", "64 or 128"), ("0", "64 or 128"), ("huge", "fit, native or")])
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


def test_a_rerun_skips_what_is_done_and_replaces_nothing_unless_told(
    cli: Cli, refused: Refused, drawings: Path
) -> None:
    cli("infer", drawings, "--color", "red", check=0)
    assert "0 ok, 6 skipped, 0 failed; 0 written" in cli("infer", drawings, "--color", "red", check=0).stdout
    precious = drawings.with_name("drawings-colored") / "red" / "2.png"
    precious.write_bytes(b"retouched")
    assert "--overwrite" in refused(2, "infer", drawings, "--color", "red")
    assert precious.read_bytes() == b"retouched"
    cli("infer", drawings, "--color", "red", "--overwrite", check=0)
    assert precious.read_bytes() != b"retouched"


def test_an_output_that_cannot_be_written(refused: Refused, drawings: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    refused(5, "infer", drawings, "--color", "red", "-o", tmp_path / "file")


def test_the_json_report(cli: Cli, drawings: Path, tmp_path: Path) -> None:
    (drawings / "bad\n\udcff.png").write_bytes(b"")
    done = cli("infer", drawings, "--color", "red", "-o", tmp_path / "out", "--json", "--provider", "cpu", check=3)
    *images, report = [json.loads(line) for line in done.stdout.splitlines()]

    assert (report["type"], report["images"], report["written"], report["failed"]) == ("run", 7, 6, 1)
    assert report["execution_provider"] == "CPUExecutionProvider"
    assert [image["name"] for image in images] == [*(f"{n}.png" for n in range(6)), "bad\n\udcff.png"]
    assert [image["status"] for image in images] == ["ok"] * 6 + ["failed"]
    assert all(image["decode_ms"] > 0 and image["infer_ms"] > 0 and image["write_ms"] > 0 for image in images[:6])
    assert "empty" in images[6]["reason"]


def test_quiet_says_nothing_but_errors(cli: Cli, drawings: Path, tmp_path: Path) -> None:
    done = cli("infer", drawings, "--color", "red", "-o", tmp_path / "out", "-q", check=0)
    assert (done.stdout, done.stderr) == ("", "")


def test_odd_names_keep_to_one_line(cli: Cli, drawings: Path, tmp_path: Path) -> None:
    (drawings / "a\nb.png").write_bytes(b"")
    done = cli("infer", drawings, "--color", "red", "-o", tmp_path / "out", check=3)
    assert "a\\nb.png" in done.stderr


def test_no_option_is_a_usage_error(cli: Cli, drawings: Path) -> None:
    assert "no color" in cli("infer", drawings, check=2).stderr
    assert "no input" in cli("infer", "--color", "red", check=2).stderr
    assert cli("infer", drawings, "--color", "red", "--provider", "gpu").returncode == 2


@pytest.mark.slow
@pytest.mark.skipif(not probe_provider("openvino").works, reason="OpenVINO is not installed")
def test_the_compiled_model_is_kept_unless_told(
    cli: Cli, drawings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYEXPORT_CACHE_DIR", str(tmp_path / "kept"))
    folder = tmp_path / "kept" / "compiled-models"
    run = ("infer", drawings / "0.png", "--color", "red", "--provider", "openvino")
    assert "compiled model" not in cli(*run, "-o", tmp_path / "0", "-v", "--no-cache", check=0).stderr
    assert not folder.exists()
    assert f"compiled model kept in {folder}\n" in cli(*run, "-o", tmp_path / "1", "-v", check=0).stderr
    assert f"compiled model taken from {folder}\n" in cli(*run, "-o", tmp_path / "2", "-v", check=0).stderr
    assert "compiled model" not in cli(*run, "-o", tmp_path / "3", check=0).stderr
    pictures = {(tmp_path / name / "red" / "0.png").read_bytes() for name in "0123"}
    assert len(pictures) == 1


@pytest.mark.parametrize(
    ("number", "code", "said"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_signals_end_the_run_with_whole_files(
    drawings: Path, tmp_path: Path, number: signal.Signals, code: int, said: str
) -> None:
    for copy in range(3000):
        os.link(drawings / "0.png", drawings / f"copy{copy}.png")
    command: list[str | Path] = [sys.executable, "-m", "polyexport.cli.main", "infer", drawings]
    command += ["--color", "red", "-o", tmp_path / "out"]
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
    command: list[str | Path] = [sys.executable, "-m", "polyexport.cli.main", "infer", drawings]
    command += ["--color", "red", "-o", tmp_path / "out"]
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


def test_a_list_of_paths(cli: Cli, drawings: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{drawings / '1.png'}\n{drawings / '3.png'}\n")
    cli("infer", "--files-from", tmp_path / "list.txt", "-c", "red", "-o", tmp_path / "out", check=0)
    cli("infer", "--files-from", "-", "-c", "red", "-o", tmp_path / "nul", check=0, stdin=f"{drawings / '5.png'}\0")

    assert outputs(tmp_path / "out") == ["red/1.png", "red/3.png"]
    assert outputs(tmp_path / "nul") == ["red/5.png"]


def test_patterns(cli: Cli, refused: Refused, drawings: Path, tmp_path: Path) -> None:
    cli("infer", drawings / "[0-2].png", "-c", "red", "--exclude", "1.*", "-o", tmp_path / "out", check=0)
    assert outputs(tmp_path / "out") == ["red/0.png", "red/2.png"]
    assert "no image" in refused(2, "infer", drawings, "-c", "red", "--include", "*.webp", "-o", tmp_path / "none")


def test_a_manifest(cli: Cli, refused: Refused, drawings: Path, tmp_path: Path) -> None:
    (drawings / "colors.csv").write_text("image,color\n0.png,red\n1.png,#0080ff\n1.png,red\n")
    cli("infer", "--manifest", drawings / "colors.csv", check=0)
    assert outputs(drawings.with_name("drawings-colored")) == ["0080ff/1.png", "red/0.png", "red/1.png"]
    (drawings / "colors.csv").write_text("image,color\n0.png,redd\n")
    assert "line 2" in refused(2, "infer", "--manifest", drawings / "colors.csv")
    assert "leave out" in refused(2, "infer", drawings, "--manifest", drawings / "colors.csv")


def test_a_data_set_is_colored_as_its_index_says(cli: Cli, tmp_path: Path) -> None:
    cli("dataset", tmp_path / "set", "--count", "3", "--size", "32", check=0)
    cli("infer", "--manifest", tmp_path / "set" / "data.json", "-o", tmp_path / "out", check=0)
    assert len(outputs(tmp_path / "out")) == 3


def test_one_image_through_a_pipe(drawings: Path, shipped: Model) -> None:
    expected = shipped.colorize([drawings / "3.png"], ["red"])[0][0]
    program, cpu = [sys.executable, "-m", "polyexport.cli.main", "infer"], ["--provider", "cpu"]
    for arguments, given in ((["-"], (drawings / "3.png").read_bytes()), ([drawings / "3.png", "-o", "-"], b"")):
        done = subprocess.run([*program, *arguments, *cpu, "-c", "red"], input=given, capture_output=True, check=True)
        assert np.array_equal(decode(done.stdout).pixels, expected)
    bad = subprocess.run([*program, "-", "-c", "red"], input=b"no image", capture_output=True)
    assert (bad.returncode, bad.stdout) == (3, b"")
    assert b"known format" in bad.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["-", "-"],
        ["-", "-c", "blue"],
        ["-", "-o", "folder"],
        ["-", "--dry-run"],
        ["-", "--json"],
        ["drawings", "x", "-o", "-"],
    ],
)
def test_what_does_not_go_through_a_pipe(refused: Refused, drawings: Path, arguments: list[str]) -> None:
    refused(2, "infer", "-c", "red", *arguments)


@pytest.mark.slow
def test_a_dry_run_says_what_would_be_done_and_writes_nothing(cli: Cli, drawings: Path, tmp_path: Path) -> None:
    (drawings / "0.jpg").write_bytes(b"broken")
    arguments = ("infer", drawings, "-c", "red", "-o", tmp_path / "out")
    done = cli(*arguments, "--dry-run", check=3)
    assert not (tmp_path / "out").exists()
    lines = done.stdout.splitlines()
    assert f"{drawings / '0.png'} -> {tmp_path / 'out/red/0.png'} (make)" in lines
    assert f"{drawings / '0.jpg'} -> {tmp_path / 'out/red/0.jpg.png'} (unreadable: no image" in "\n".join(lines)
    assert "7 images, 1 of them unreadable; outputs: " in lines[-1]
    assert "6 to make" in lines[-1]
    assert float(re.search(r"about ([\d.]+) s", lines[-1])[1]) >= 0  # type: ignore[index]

    cli(*arguments, check=3)
    (tmp_path / "out" / "red" / "1.png").unlink()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    done = cli(*arguments, "--dry-run", "--json", check=3)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    *images, total = [json.loads(line) for line in done.stdout.splitlines()]
    assert total["outputs"] == {"make": 1, "done": 5, "failed before": 1}
    assert {image["name"]: image["outputs"][0]["state"] for image in images}["1.png"] == "make"


def test_a_contact_sheet(cli: Cli, refused: Refused, drawings: Path, tmp_path: Path) -> None:
    arguments = ("infer", drawings, "-c", "red", "-c", "blue", "-o", tmp_path / "out", "--contact-sheet")
    assert ".png" in refused(2, *arguments, tmp_path / "sheet.txt")
    cli(*arguments, tmp_path / "sheet.png", check=0)
    first = read_image(tmp_path / "sheet.png").pixels
    assert np.any(np.all(first == (255, 0, 0), axis=-1))
    assert np.any(np.all(first == (0, 0, 255), axis=-1))
    cli(*arguments, tmp_path / "again.png", check=0)  # all skipped, and shown all the same
    assert np.array_equal(read_image(tmp_path / "again.png").pixels, first)


@pytest.mark.slow
def test_two_runs_into_one_folder(drawings: Path, refused: Refused, tmp_path: Path) -> None:
    for copy in range(1500):
        os.link(drawings / "0.png", drawings / f"copy{copy}.png")
    refused(2, "infer", drawings, "-c", "no color")  # starts the server of commands, which may take as long as a run
    program = [sys.executable, "-m", "polyexport.cli.main"]
    process = subprocess.Popen(
        [*program, "infer", drawings, "-c", "red", "-o", tmp_path / "out"], stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not list((tmp_path / "out").glob("red/*.png")) and time.monotonic() < deadline:
        time.sleep(0.02)
    line = refused(5, "infer", drawings, "-c", "blue", "-o", tmp_path / "out")
    assert process.wait(timeout=60) == 0
    assert f"process {process.pid} on" in line
    assert len(outputs(tmp_path / "out")) == 1506


@pytest.mark.slow
def test_a_killed_run_is_completed_to_the_same_bytes(
    cli: Cli, drawings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """kill -9 at random moments of the run; POLYEXPORT_KILLS sets how many."""
    for copy in range(60):
        draw = Image.open(drawings / f"{copy % 6}.png").resize((40 + copy, 50))
        draw.save(drawings / f"copy{copy}.png")
    started = time.monotonic()
    cli("infer", drawings, "-c", "red", "--provider", "cpu", "-o", tmp_path / "whole", check=0)
    seconds = time.monotonic() - started
    whole = {name: (tmp_path / "whole" / name).read_bytes() for name in outputs(tmp_path / "whole")}
    generator = np.random.default_rng()
    program: list[str | Path] = [sys.executable, "-m", "polyexport.cli.main", "infer", drawings]
    program += ["-c", "red", "--provider", "cpu", "-q", "-o"]
    partly = 0
    for number in range(int(os.environ.get("POLYEXPORT_KILLS", "4"))):
        out = tmp_path / f"out{number}"
        process = subprocess.Popen([*program, out])
        moment = generator.uniform(0.5, 1.0) * seconds
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=moment)
        process.kill()
        process.wait()
        found = {name: (out / name).read_bytes() for name in outputs(out) if not name.startswith(".polyexport/")}
        assert found.items() <= whole.items(), f"killed after {moment:.3f} s"
        partly += 0 < len(found) < len(whole)
        subprocess.run([*program, out], check=True)
        assert {name: (out / name).read_bytes() for name in outputs(out)} == whole, f"killed after {moment:.3f} s"
    with capsys.disabled():
        sys.stdout.write(f"\n{partly} kills left some outputs made and others to be done\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a file system")
@pytest.mark.slow
def test_a_disk_that_is_really_full(cli: Cli, refused: Refused, drawings: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        for copy in range(120):
            page = Image.new("L", (64, 64), 255)
            ImageDraw.Draw(page).rectangle([2, 2, 20 + copy % 40, 22 + copy // 4], outline=0, width=2)
            page.save(drawings / f"rectangle{copy}.png")
        arguments = ("infer", drawings, "-c", "red", "-o")
        cli(*arguments, tmp_path / "whole", check=0)
        assert "No space left" in refused(5, *arguments, disk / "out")
        some = outputs(disk / "out")
        assert 0 < len(some) < 126
        assert all((disk / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes() for name in some)
        subprocess.run(["mount", "-o", "remount,size=10m", disk], check=True)
        cli(*arguments, disk / "out", check=0)
        assert outputs(disk / "out") == outputs(tmp_path / "whole")
        for name in outputs(tmp_path / "whole"):
            assert (disk / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_bare_machine_changes_nothing(cli: Cli, drawings: Path, tmp_path: Path) -> None:
    """One core, 32 file descriptors, no home folder and, where the test may mount one, a /dev/shm that is read-only."""
    arguments = ("infer", drawings, "-c", "red", "--provider", "cpu", "-o")
    cli(*arguments, tmp_path / "whole", check=0)
    program = ["sh", "-c", 'ulimit -n 32; exec "$@"', "sh", sys.executable, "-m", "polyexport.cli.main"]
    isolated = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o ro none /dev/shm && exec "$@"', "sh"]
    may_mount = shutil.which("unshare") and not subprocess.run([*isolated, "true"], capture_output=True).returncode
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        done = subprocess.run(
            [*(isolated if may_mount else ()), *program, *arguments, tmp_path / "out"],
            env={**os.environ, "HOME": "/nonexistent"},
            capture_output=True,
            text=True,
        )
    finally:
        os.sched_setaffinity(0, cores)
    assert (done.returncode, done.stderr) == (0, "")
    for name in outputs(tmp_path / "whole"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_an_output_folder_of_somebody_else(
    drawings: Path, tiny_model: Model, with_metadata: Callable[[str | None], bytes], tmp_path: Path
) -> None:
    """Fails before the model is loaded: its graph would be refused."""
    contract = replace(tiny_model.contract, graph_sha256="0" * 64)
    (drawings / "other.onnx").write_bytes(with_metadata(contract.to_json()))
    if os.geteuid() == 0 and shutil.which("setpriv"):
        unprivileged = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    elif os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    else:
        unprivileged = []
    (tmp_path / "out").mkdir(mode=0o555)
    for folder in (drawings, tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(0o755)
    command = [*unprivileged, sys.executable, "-m", "polyexport.cli.main", "infer", str(drawings), "-c", "red"]
    done = subprocess.run(
        [*command, "-m", drawings / "other.onnx", "-o", tmp_path / "out"], capture_output=True, text=True
    )
    assert done.returncode == 5, done.stderr
    assert "Permission denied" in done.stderr
