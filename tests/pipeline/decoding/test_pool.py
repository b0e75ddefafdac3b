"""Decoders that crash, hang and run out of memory take one image with them, and nothing else."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from polyexport.errors import PolyexportError
from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.pixels import read_image
from polyexport.model.canvas import CanvasRule
from polyexport.pipeline.decoding import pool as decoding
from polyexport.pipeline.decoding import process
from polyexport.pipeline.decoding.pool import DecodingPool, default_jobs
from polyexport.pipeline.results import ItemResult, RunReport

CANVAS_RULE = CanvasRule(size=64, multiple=16)

# A decoder in whose reach some files are deadly. The hang keeps the interpreter's lock, as native code may.
DEADLY = """
import ctypes, os, signal, numpy
import polyexport.pipeline.decoding.worker as worker
real = worker.decode
def decode(data, **limits):
    if data == b"crash": os.kill(os.getpid(), signal.SIGSEGV)
    if data == b"abort": os.abort()
    if data == b"killed": os.kill(os.getpid(), signal.SIGKILL)
    if data == b"exit": os._exit(7)
    if data == b"hang": ctypes.PyDLL(None).sleep(1000)
    if data == b"bomb": numpy.ones(1 << 33)
    return real(data, **limits)
worker.decode = decode
"""


@pytest.fixture
def deadly(monkeypatch: pytest.MonkeyPatch) -> None:
    start = process._WORKER_CODE.replace("import main;", f"import main; exec({DEADLY!r});")
    monkeypatch.setattr(process, "_WORKER_CODE", start)


def test_a_file_and_the_bytes_of_one(drawings: Path) -> None:
    path = drawings / "0.png"
    with DecodingPool(jobs=1) as decoders:
        for source in (str(path), path.read_bytes()):
            decoded = decoders.decode(source, CANVAS_RULE)
            assert decoded.canvas is not None
            assert np.array_equal(decoded.canvas.pixels, read_image(path).pixels)
            assert decoded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
            assert decoded.decode_ms > 0
        (known,) = decoders.decode_all([str(path)], CANVAS_RULE, skip_sha256=[decoded.sha256])
        assert (known.canvas, known.reason, known.sha256) == (None, "", decoded.sha256)
        assert decoders.inspect(str(path)).reason == ""
        assert "format" in decoders.inspect(b"text").reason
        assert "empty" in decoders.decode(b"", CANVAS_RULE).reason


def test_a_large_image_comes_through_the_pipe_whole(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (700, 900, 3), dtype=np.uint8)
    (tmp_path / "large.png").write_bytes(encode_png(pixels))
    with DecodingPool(jobs=1) as decoders:
        canvas = decoders.decode(str(tmp_path / "large.png"), CanvasRule(mode="native", size=64, multiple=16)).canvas
    assert canvas is not None
    assert np.array_equal(canvas.restore(canvas.pixels), pixels)


FIRST_LOOK_RULE = CanvasRule(size=96, multiple=16, fill=True, square=False, first_look=32)


def test_a_first_look_comes_through_the_pipe(tmp_path: Path) -> None:
    pixels = np.full((200, 170, 3), 255, np.uint8)
    pixels[40:44, 20:150] = pixels[40:160, 20:23] = 30
    (tmp_path / "drawing.png").write_bytes(encode_png(pixels))
    with DecodingPool(jobs=1) as decoders:
        canvas = decoders.decode(str(tmp_path / "drawing.png"), FIRST_LOOK_RULE).canvas
    placed = FIRST_LOOK_RULE.place(pixels)
    assert canvas is not None
    assert canvas.first_look is not None
    assert placed.first_look is not None
    assert canvas.first_look.edges is canvas.edges
    for found, expected in ((canvas, placed), (canvas.first_look, placed.first_look)):
        assert np.array_equal(found.pixels, expected.pixels)
        for name in ("height", "width", "inner_height", "inner_width"):
            assert getattr(found, name) == getattr(expected, name)


@pytest.mark.parametrize("name", ["crash", "abort", "exit", "bomb", "killed"])
def test_a_decoder_that_dies_takes_one_image_with_it(deadly: None, drawings: Path, name: str) -> None:
    with DecodingPool(jobs=1) as decoders:
        assert decoders.decode(str(drawings / "0.png"), CANVAS_RULE).canvas is not None
        decoded = decoders.decode(name.encode(), CANVAS_RULE)
        assert decoded.canvas is None
        said = {"crash": "SIGSEGV", "abort": "SIGABRT", "exit": "status 7", "bomb": "allocate", "killed": "SIGKILL"}
        assert said[name] in decoded.reason
        assert decoded.permanent == (name in ("crash", "abort"))
        assert decoded.sha256 == hashlib.sha256(name.encode()).hexdigest()
        assert decoders.decode(str(drawings / "0.png"), CANVAS_RULE).canvas is not None


@pytest.mark.parametrize("size", [[10**8, 10**8], [-64, -64], [0, 64]])
def test_a_decoder_that_lies_about_the_size_takes_one_image_with_it(
    monkeypatch: pytest.MonkeyPatch, drawings: Path, size: list[int]
) -> None:
    lie = f"""
import polyexport.pipeline.decoding.worker as worker
real = worker.send
def send(stream, header, *payloads):
    real(stream, header | {{"size": {size}, "ink_bytes": 10**14}} if "size" in header else header, *payloads)
worker.send = send
"""
    start = process._WORKER_CODE.replace("import main;", f"import main; exec({lie!r});")
    monkeypatch.setattr(process, "_WORKER_CODE", start)
    with DecodingPool(jobs=1) as decoders:
        decoded = decoders.decode(str(drawings / "0.png"), CanvasRule(size=64, multiple=16, fill=True, square=False))
    assert decoded.canvas is None
    assert decoded.reason


@pytest.mark.parametrize(
    "look", [[10**6, 10**6, 5, 5], [-16, 16, 5, 5], [16, 16, 17, 5], [16, 16, 0, 5], [16, 16, 5], "text"]
)
def test_a_decoder_that_lies_about_the_first_look_takes_one_image_with_it(
    monkeypatch: pytest.MonkeyPatch, drawings: Path, look: list[int] | str
) -> None:
    lie = f"""
import polyexport.pipeline.decoding.worker as worker
real = worker.send
def send(stream, header, *payloads):
    real(stream, header | {{"first_look": {look!r}}} if "size" in header else header, *payloads)
worker.send = send
"""
    start = process._WORKER_CODE.replace("import main;", f"import main; exec({lie!r});")
    monkeypatch.setattr(process, "_WORKER_CODE", start)
    with DecodingPool(jobs=1) as decoders:
        decoded = decoders.decode(str(drawings / "0.png"), FIRST_LOOK_RULE)
    assert decoded.canvas is None
    assert decoded.reason


def test_a_decoder_that_hangs_is_stopped(deadly: None, drawings: Path) -> None:
    with DecodingPool(jobs=1, timeout_s=1.0) as decoders:
        decoded = decoders.decode(b"hang", CANVAS_RULE)
        assert "hung for 1 s" in decoded.reason
        assert decoded.permanent
        assert decoders.decode(str(drawings / "0.png"), CANVAS_RULE).canvas is not None


def test_those_asked_for_together_still_fail_alone(deadly: None, drawings: Path) -> None:
    good = str(drawings / "0.png")
    names = ["crash", "abort", "hang", "killed", "exit"]
    sources = [source for name in names for source in (name.encode(), good, b"text", good)]
    with DecodingPool(jobs=1, timeout_s=1.0) as decoders:
        answers = decoders.decode_all(sources, CANVAS_RULE)
    expected = read_image(Path(good)).pixels
    for number, name in enumerate(names):
        deadly_one, first, text, second = answers[4 * number : 4 * number + 4]
        assert ("hung" if name == "hang" else "the decoder") in deadly_one.reason
        assert deadly_one.sha256 == hashlib.sha256(name.encode()).hexdigest()
        assert "format" in text.reason
        for one in (first, second):
            assert one.canvas is not None
            assert np.array_equal(one.canvas.pixels, expected)


def test_large_images_asked_for_together_come_whole(tmp_path: Path) -> None:
    pixels = [np.random.default_rng(seed).integers(0, 256, (400, 300, 3), dtype=np.uint8) for seed in range(6)]
    canvas_rule = CanvasRule(mode="native", size=64, multiple=16)
    with DecodingPool(jobs=1) as decoders:
        answers = decoders.decode_all([encode_png(one) for one in pixels], canvas_rule)
    for one, answer in zip(pixels, answers, strict=True):
        assert answer.canvas is not None
        assert np.array_equal(answer.canvas.restore(answer.canvas.pixels), one)


def test_closing_does_not_wait_for_a_decoder_that_hangs(deadly: None) -> None:
    decoders = DecodingPool(jobs=1)
    started = time.monotonic()
    with decoders:
        thread = threading.Thread(target=decoders.decode, args=(b"hang", CANVAS_RULE))
        thread.start()
        time.sleep(0.7)
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert time.monotonic() - started < 10
    assert "closed" in decoders.decode(b"x", CANVAS_RULE).reason


def test_a_run_goes_on_around_deadly_images(
    deadly: None, colorize: Callable[..., tuple[RunReport, dict[str, ItemResult]]], drawings: Path, tmp_path: Path
) -> None:
    for name in ("crash", "hang", "abort"):
        (drawings / f"{name}.png").write_text(name)
    with DecodingPool(jobs=2, timeout_s=1.0) as decoders:
        report, results = colorize(tmp_path / "out", processes=decoders)
    assert (report.ok, report.failed) == (6, 3)
    assert "SIGSEGV" in results["crash.png"].reason
    assert "hung" in results["hang.png"].reason


def test_processes_end_with_their_parent(tmp_path: Path) -> None:
    code = (
        "import os; from polyexport.pipeline.decoding.pool import DecodingPool\n"
        "pool = DecodingPool(jobs=1); pool.start(); print(next(iter(pool._running))._process.pid, flush=True)\n"
        "pool.inspect(b'x'); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 10
    while Path(f"/proc/{int(done.stdout)}").exists() and time.monotonic() < deadline:
        if "Z" in Path(f"/proc/{int(done.stdout)}/stat").read_text().rsplit(")")[-1].split()[0]:
            break  # dead; nobody asked for its status yet
        time.sleep(0.05)
    else:
        assert not Path(f"/proc/{int(done.stdout)}").exists()


def test_interrupts_of_the_terminal_do_not_reach_the_decoders() -> None:
    with DecodingPool(jobs=1) as decoders:
        decoders.inspect(b"x")
        (worker,) = decoders._running
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(worker._process.pid, number)
        assert "format" in decoders.inspect(b"text").reason
        assert worker in decoders._running


def test_code_is_never_taken_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("polyexport", "PIL", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('hijacked')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with DecodingPool(jobs=1) as decoders:
        assert "format" in decoders.inspect(b"text").reason


@pytest.mark.parametrize("answer", [b"", b"\0\0\0\2{}", b"\xff\xff\xff\xff", b"\0\0\0\3[1]", b"\0\0\0\2no"])
def test_nonsense_is_a_failure_of_that_image(monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    monkeypatch.setattr(process, "_WORKER_CODE", f"import os; os.read(0, 100); os.write(1, {answer!r})")
    with DecodingPool(jobs=1) as decoders:
        decoded = decoders.decode(b"x", CANVAS_RULE)
    assert "the decoder" in decoded.reason
    assert decoded.canvas is None


def test_an_impossible_canvas_is_not_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    header = b'{"state": "pixels", "sha256": "", "permanent": false, "warnings": [], '
    header += b'"canvas": [1000000, 1000000], "size": [1, 1], "inner": [1, 1]}'
    answer = len(header).to_bytes(4, "big") + header
    monkeypatch.setattr(process, "_WORKER_CODE", f"import os; os.read(0, 100); os.write(1, {answer!r}); os.read(0, 9)")
    with DecodingPool(jobs=1) as decoders:
        assert "no canvas has this size" in decoders.decode(b"x", CANVAS_RULE).reason


def test_few_images_start_few_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "granted_cores", lambda: 8)
    assert [default_jobs(images) for images in (1, 63, 64, 1000)] == [1, 1, 2, 8]


@pytest.mark.parametrize("values", [{"jobs": 0}, {"jobs": 1000}, {"jobs": 1, "timeout_s": 0}])
def test_options_are_checked(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="jobs must be"):
        DecodingPool(**values)  # type: ignore[arg-type]


def test_a_lack_of_descriptors_has_a_remedy_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def popen(*arguments: object, **options: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(subprocess, "Popen", popen)
    with pytest.raises(PolyexportError, match="cannot start a process to decode images .*ulimit -n"):
        DecodingPool(jobs=1).start()
