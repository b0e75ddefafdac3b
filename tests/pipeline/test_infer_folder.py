"""`polyexport.infer_folder`: the command's run for programs."""

import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from version3_models import version3_bytes

import polyexport
from polyexport.errors import OutputError, UsageError
from polyexport.imaging.pixels import read_image
from polyexport.model.conditions.color_condition import ColorLike
from polyexport.pipeline.cancellation import Cancellation, RunCancelledError
from polyexport.pipeline.events import Event, ImageFinished, ProviderChosen, RunFinished, RunStarted
from polyexport.pipeline.outputs.store import open_folder

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that inverts its image."""
    path = tmp_path_factory.mktemp("model") / "plain.onnx"
    path.write_bytes(version3_bytes("plain"))
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(90):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".polyexport" not in path.parts
    }


def test_a_folder_is_run_and_told_event_by_event(
    model: Path, pictures: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (pictures / "bad.png").write_bytes(b"no picture")
    events: list[Event] = []
    report = polyexport.infer_folder(pictures, model=model, provider="cpu", on_event=events.append)

    output = pictures.with_name("pictures-results")
    assert (report.ok, report.failed, report.written, report.cancelled) == (90, 1, 90, False)
    assert np.array_equal(read_image(output / "07.png").pixels, 255 - read_image(pictures / "07.png").pixels)
    assert events[0] == RunStarted(inputs=91, outputs=91, output=output)
    assert events[1] == ProviderChosen(execution_provider="CPUExecutionProvider", fallback_reason="")
    assert events[-1] == RunFinished(report=report)
    results = [event.result for event in events[2:-1] if isinstance(event, ImageFinished)]
    assert len(results) == 91
    assert [Path(result.item.source).name for result in results if result.status == "failed"] == ["bad.png"]
    assert capfd.readouterr() == ("", "")


def test_the_command_continues_what_a_program_has_begun(model: Path, pictures: Path, tmp_path: Path) -> None:
    polyexport.infer_folder(pictures, model=model, output=tmp_path / "out", provider="cpu")
    command: list[str | Path] = [sys.executable, "-m", "polyexport.cli.main", "infer", pictures, "-m", model]
    command += ["-o", tmp_path / "out", "--provider", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("90 images: 0 ok, 90 skipped, 0 failed")


def test_it_runs_in_any_thread_and_touches_neither_signals_nor_torch(model: Path, pictures: Path) -> None:
    code = (
        "import signal, sys, threading, polyexport\n"
        "before = [signal.getsignal(each) for each in signal.valid_signals()]\n"
        "def run(): reports.append(polyexport.infer_folder(sys.argv[1], model=sys.argv[2], provider='cpu'))\n"
        "reports = []\n"
        "thread = threading.Thread(target=run); thread.start(); thread.join()\n"
        "assert reports[0].written == 90\n"
        "assert before == [signal.getsignal(each) for each in signal.valid_signals()]\n"
        "assert not {'torch', 'onnx', 'typer', 'watchfiles'} & set(sys.modules)\n"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(pictures), str(model)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_loaded_model_and_lists_of_conditions(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "number.onnx").write_bytes(version3_bytes("number"))
    loaded = polyexport.load_model(tmp_path / "number.onnx", provider="cpu")
    report = polyexport.infer_folder(
        [pictures / "00.png", pictures / "01.png"],
        model=loaded,
        conditions={"sigma": [5, 25.0]},
        output=tmp_path / "out",
    )
    assert report.written == 4
    assert sorted(files(tmp_path / "out")) == [f"sigma={sigma}/0{n}.png" for sigma in ("25", "5") for n in range(2)]
    [expected] = loaded.apply([pictures / "01.png"], {"sigma": 5})
    assert np.array_equal(read_image(tmp_path / "out/sigma=5/01.png").pixels, expected)


def test_colors_are_one_or_several(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "color.onnx").write_bytes(version3_bytes("color"))
    loaded = polyexport.load_model(tmp_path / "color.onnx", provider="cpu")
    source = pictures / "00.png"
    polyexport.infer_folder(source, model=loaded, colors="red", output=tmp_path / "one")
    several: list[ColorLike] = ["red", (0, 128, 255), polyexport.parse_color("lime")]
    polyexport.infer_folder(source, model=loaded, colors=several, output=tmp_path / "out")
    assert sorted(files(tmp_path / "one")) == ["red,sigma=25/00.png"]
    assert sorted(files(tmp_path / "out")) == [f"{name},sigma=25/00.png" for name in ("0080ff", "lime", "red")]


def test_a_cancelled_run_keeps_what_is_finished_and_the_same_call_continues(
    model: Path, pictures: Path, tmp_path: Path
) -> None:
    cancel = threading.Event()
    seen: list[Event] = []

    def on_event(event: Event) -> None:
        seen.append(event)
        if isinstance(event, ImageFinished):
            cancel.set()

    def run(output: Path, **options: object) -> polyexport.RunReport:
        return polyexport.infer_folder(pictures, model=model, output=output, provider="cpu", **options)  # type: ignore[arg-type]

    report = run(tmp_path / "out", on_event=on_event, cancel=cancel)
    assert report.cancelled
    assert 0 < report.ok < 90
    assert seen[-1] == RunFinished(report=report)
    made = files(tmp_path / "out")
    assert report.written <= len(made) < 90
    assert list((tmp_path / "out" / ".polyexport").iterdir()) == [tmp_path / "out/.polyexport/journal.jsonl"]

    report = run(tmp_path / "out")
    assert (report.ok, report.skipped) == (90 - len(made), len(made))
    run(tmp_path / "whole")
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_a_run_whose_network_takes_long_is_cancelled_after_the_call(
    model: Path, tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel = threading.Event()
    loaded = polyexport.load_model(model, provider="cpu")
    release = threading.Event()
    run_rows = loaded.run_rows

    def slow(*arguments: Any) -> Any:
        release.wait(20)
        return run_rows(*arguments)

    monkeypatch.setattr(loaded, "run_rows", slow)

    def stop() -> None:
        cancel.set()
        threading.Timer(0.3, release.set).start()

    threading.Timer(0.5, stop).start()
    report = polyexport.infer_folder(pictures, model=loaded, output=tmp_path / "out", cancel=cancel)
    assert report.cancelled
    assert report.seconds < 10


def test_an_error_of_the_callback_ends_the_run_cleanly(model: Path, pictures: Path, tmp_path: Path) -> None:
    class OwnError(Exception):
        pass

    def on_event(event: Event) -> None:
        if isinstance(event, ImageFinished) and event.result.item.name == "30.png":
            raise OwnError

    with pytest.raises(OwnError):
        polyexport.infer_folder(pictures, model=model, output=tmp_path / "out", on_event=on_event)
    assert 30 <= len(files(tmp_path / "out")) <= 90
    assert polyexport.infer_folder(pictures, model=model, output=tmp_path / "out").images == 90
    assert len(files(tmp_path / "out")) == 90


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"jobs": 1000}, "jobs is 1000"),
        ({"threads": -1}, "threads"),
        ({"batch_size": 5000}, "batch_size"),
        ({"background": "blue"}, "background is 'blue'"),
        ({"result_as": "beta"}, "result_as is 'beta'"),
        ({"size": "huge"}, "huge"),
        ({"provider": "gpu"}, "gpu"),
        ({"conditions": {"sigma": 5}}, "no condition 'sigma'"),
        ({"colors": "red"}, "takes no color"),
        ({"pictures": {"mask": "masks"}}, "no picture 'mask'"),
        ({"paths": "missing"}, "missing does not exist"),
        ({"paths": []}, "no input"),
    ],
)
def test_what_cannot_be_used_is_a_usage_error(
    model: Path, pictures: Path, tmp_path: Path, options: dict[str, object], said: str
) -> None:
    options = {"paths": pictures, "model": model, "output": tmp_path / "out"} | options
    with pytest.raises(UsageError, match=said) as error:
        polyexport.infer_folder(**options)  # type: ignore[arg-type]
    assert error.value.remedy
    assert not list(tmp_path.glob("out/*.png"))


def test_a_locked_folder_and_a_refused_model(model: Path, pictures: Path, tmp_path: Path) -> None:
    with open_folder(tmp_path / "out"), pytest.raises(OutputError, match="another run writes"):
        polyexport.infer_folder(pictures, model=model, output=tmp_path / "out")
    with pytest.raises(polyexport.ModelError):
        polyexport.infer_folder(pictures, model=pictures / "00.png", output=tmp_path / "out")


def test_the_example_of_the_documentation_runs(
    drawings: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(drawings.parent)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "infer.md").read_text(), flags=re.DOTALL)
    exec(code, {})
    assert capsys.readouterr().out == "6 images\n6 0 0 12 False\n"


def test_waiting_gives_results_and_errors_and_ends_when_cancelled() -> None:
    from concurrent.futures import Future

    done: Future[int] = Future()
    done.set_result(3)
    failed: Future[int] = Future()
    failed.set_exception(TimeoutError("its own"))
    cancel = threading.Event()
    for cancellation in (Cancellation(), Cancellation(cancel)):
        assert cancellation.result_of(done) == 3
        with pytest.raises(TimeoutError, match="its own"):
            cancellation.result_of(failed)
    threading.Timer(0.1, cancel.set).start()
    with pytest.raises(RunCancelledError):
        Cancellation(cancel).result_of(Future[int]())
