"""`polyexport infer --watch` as users run it: a process that is written to, interrupted and killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from version3_models import version3_bytes

from polyexport.imaging.pixels import read_image

Cli = Callable[..., subprocess.CompletedProcess[str]]
Refused = Callable[..., str]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model that inverts its image."""
    path = tmp_path / "plain.onnx"
    path.write_bytes(version3_bytes("plain"))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(folder: Path, model: Path) -> Iterator[Start]:
    processes: list[subprocess.Popen[str]] = []

    def go(*options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "polyexport.cli.main", "infer", "in", "--watch", "-m", model.name, "-o", "out"]
        process = subprocess.Popen(
            [*command, "--provider", "cpu", *options],
            cwd=folder.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A test suite that was started in the background ignores SIGINT, and its children would too.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        processes.append(process)
        return process

    yield go
    for process in processes:
        process.kill()
        process.communicate()


def until(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def png(seed: int) -> bytes:
    import io

    pixels = np.random.default_rng(seed).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()


def test_a_watch_from_its_start_to_an_interrupt(start: Start, folder: Path, refused: Refused, model: Path) -> None:
    (folder / "a.png").write_bytes(png(0))
    watch = start("--json")
    until((folder.parent / "out" / "a.png").exists)
    line = refused(5, "infer", "in", "--watch", "-m", model, "-o", "out")
    assert f"process {watch.pid} on" in line
    (folder / "b.png").write_bytes(png(1))
    until((folder.parent / "out" / "b.png").exists)
    watch.send_signal(signal.SIGINT)
    stdout, stderr = watch.communicate(timeout=30)

    assert watch.returncode == 130
    assert stderr.splitlines()[-1] == "interrupted"
    *images, run = map(json.loads, stdout.splitlines())
    assert [(image["name"], image["status"]) for image in images] == [("a.png", "ok"), ("b.png", "ok")]
    assert (run["images"], run["written"], run["cancelled"]) == (2, 2, True)
    assert np.array_equal(read_image(folder.parent / "out/b.png").pixels, 255 - read_image(folder / "b.png").pixels)


@pytest.mark.slow
def test_a_folder_that_goes_ends_the_watch_with_the_totals(start: Start, folder: Path) -> None:
    (folder / "a.png").write_bytes(png(0))
    watch = start()
    until((folder.parent / "out" / "a.png").exists)
    folder.rename(folder.with_name("elsewhere"))
    stdout, stderr = watch.communicate(timeout=30)
    assert watch.returncode == 1
    assert stderr.splitlines()[-1].startswith("error: the watched folder in was removed, moved or replaced; run the")
    assert stderr.splitlines()[0] == "ok: in/a.png"
    assert stdout.startswith("1 images: 1 ok, 0 failed; 1 written to out in ")


def test_what_does_not_go_with_a_watch(refused: Refused, folder: Path, model: Path) -> None:
    (folder / "a.png").write_bytes(png(0))
    for options, said in (
        (("in", "--dry-run"), "--dry-run does not go with --watch"),
        (("in", "--contact-sheet", "s.png"), "--contact-sheet does not go with --watch"),
        (("in", "--engine", "ray"), "--engine ray does not go with --watch"),
        (("in", "-o", "-"), "--watch does not go with an image on stdin"),
        (("missing",), "missing does not exist"),
    ):
        assert said in refused(2, "infer", "--watch", "-m", model, *options)


@pytest.mark.slow
def test_two_thousand_files_that_arrive_while_it_runs(start: Start, folder: Path) -> None:
    """Whole files, files in two parts, renamed ones, changed ones; killed again and again, and always started again."""
    generator = np.random.default_rng(7)
    expected: dict[str, bytes] = {}
    halves: list[tuple[float, Path, bytes]] = []
    kills = [300, 700, 1100, 1500]
    watch = start("-q", "-r")
    for number in range(2000):
        name = f"{number % 7}/{number}.png" if number % 3 else f"{number}.png"
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        data = expected[name] = png(number)
        kind = generator.integers(4)
        if kind == 0:
            path.write_bytes(data[: len(data) // 2])
            halves.append((time.monotonic() + generator.uniform(0.1, 3.0), path, data))
        elif kind == 1:
            path.with_name(f"{number}.png.part").write_bytes(data)
            path.with_name(f"{number}.png.part").rename(path)
        else:
            path.write_bytes(data)
        if number > 50 and generator.random() < 0.1:  # one that came before is written again
            other = list(expected)[int(generator.integers(number - 50))]
            if not any(path == folder / other for _, path, _ in halves):
                expected[other] = png(10_000 + number)
                (folder / other).write_bytes(expected[other])
        for half in [half for half in halves if half[0] < time.monotonic()]:
            halves.remove(half)
            with half[1].open("ab") as file:
                file.write(half[2][len(half[2]) // 2 :])
        if number in kills:
            watch.kill()
            watch.communicate()
            watch = start("-q", "-r")
        time.sleep(0.005)
    time.sleep(3.0)
    for _, path, data in halves:
        with path.open("ab") as file:
            file.write(data[len(data) // 2 :])

    out = folder.parent / "out"

    def right(name: str) -> bool:
        import io

        try:
            with Image.open(io.BytesIO(expected[name])) as image:
                return np.array_equal(read_image(out / name).pixels, 255 - np.asarray(image))
        except Exception:  # noqa: BLE001 - not there yet
            return False

    wrong = set(expected)

    def all_right() -> bool:
        wrong.difference_update([name for name in wrong if right(name)])
        return not wrong

    until(all_right, 120.0)
    assert all(right(name) for name in expected)
    watch.send_signal(signal.SIGINT)
    watch.communicate(timeout=30)
    assert watch.returncode == 130
    made = {str(path.relative_to(out)) for path in out.rglob("*.png")}
    assert made == set(expected)
    journal = (out / ".polyexport" / "journal.jsonl").read_bytes()
    assert sorted(os.listdir(out / ".polyexport")) == ["journal.jsonl"]

    # No output is made a second time by a watch that starts again, nor by a run.
    for options in (("--watch",), ()):
        command = [sys.executable, "-m", "polyexport.cli.main", "infer", "in", "-r", "-m", "plain.onnx", "-o", "out"]
        process = subprocess.Popen(
            [*command, "--provider", "cpu", "--json", *options], cwd=folder.parent, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        states = [json.loads(process.stdout.readline())["status"] for _ in range(2000)]
        process.terminate() if options else process.wait()
        process.communicate()
        assert states == ["skipped"] * 2000
    assert (out / ".polyexport" / "journal.jsonl").read_bytes() == journal


@pytest.mark.slow
def test_a_watch_of_many_files_that_waits_takes_no_processor_time(start: Start, folder: Path) -> None:
    data = png(0)
    (folder / "0.png").write_bytes(data)
    for number in range(1, 3000):
        shutil.copy(folder / "0.png", folder / f"{number}.png")
    watch = start("-q")
    until(lambda: len(list((folder.parent / "out").glob("*.png"))) == 3000, 120.0)
    time.sleep(3.0)

    def processor_s() -> float:
        fields = Path(f"/proc/{watch.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    before = processor_s()
    time.sleep(12.0)
    assert processor_s() - before < 0.05 * 12.0
