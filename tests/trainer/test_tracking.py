import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from polyexport.errors import OutputError, UsageError
from trainer.tracking import Tracker, open_tracker, read_metrics

pytestmark = pytest.mark.slow  # W&B and TensorBoard take seconds to start

CONFIG = {"seed": 3, "model": {"channels": [4, 8]}}
GRID = np.arange(24 * 32 * 3, dtype=np.uint8).reshape(24, 32, 3)


def record(tracker: Tracker, first: int, last: int, *, images_every: int = 3) -> None:
    for step in range(first, last + 1):
        tracker.metrics(step, {"train/loss": 1 / step, "train/learning_rate": 1e-3})
        if step % images_every == 0:
            tracker.metrics(step, {"validation/psnr_db": 20 + step / 7})
            tracker.images(step, "samples", GRID)


def pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def wandb_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home without an account; the service process of Weights & Biases ends with the test."""
    wandb = pytest.importorskip("wandb")
    home = tmp_path / "home"
    home.mkdir()
    for name in [name for name in os.environ if name.startswith("WANDB_") or name == "NETRC"]:
        monkeypatch.delenv(name)
    for name in ("HOME", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(home))
    wandb.teardown()  # settings are read once, by whoever comes first
    yield home
    wandb.teardown()


def test_the_local_record(tmp_path: Path) -> None:
    tracker = open_tracker("local", tmp_path / "run", CONFIG, name="small")
    record(tracker, 1, 6)
    tracker.card("# Größe\n", {"validation/psnr_db": 20.857})
    tracker.close()
    tracker.close()
    run = tmp_path / "run"

    assert files(run) == [
        "card.md",
        "config.json",
        "curves.png",
        "metrics.csv",
        "samples/step_0000003.png",
        "samples/step_0000006.png",
        "scores.json",
    ]
    assert json.loads((run / "config.json").read_text()) == CONFIG
    assert (run / "metrics.csv").read_text().splitlines()[:3] == [
        "step,metric,value",
        "1,train/loss,1",
        "1,train/learning_rate,0.001",
    ]
    series = read_metrics(run / "metrics.csv")
    assert series["train/loss"] == [(step, float(f"{1 / step:.9g}")) for step in range(1, 7)]
    assert [step for step, _ in series["validation/psnr_db"]] == [3, 6]
    assert np.array_equal(pixels(run / "samples/step_0000003.png"), GRID)
    assert pixels(run / "curves.png").shape[1] > 300
    assert (run / "card.md").read_text(encoding="utf-8") == "# Größe\n"
    assert json.loads((run / "scores.json").read_text()) == {"validation/psnr_db": 20.857}


def test_odd_values_are_kept(tmp_path: Path) -> None:
    tracker = open_tracker("local", tmp_path, CONFIG, name="small")
    values: list[Any] = [float("nan"), float("inf"), float("-inf"), -1e-30, 1e300, np.float32(0.1)]
    for step, value in enumerate(values):
        tracker.metrics(step, {"train/loss": value})
    tracker.close()
    assert str([value for _, value in read_metrics(tmp_path / "metrics.csv")["train/loss"]]) == str(
        [float(f"{value:.9g}") for value in values]
    )


KILLED = """
import sys
from pathlib import Path
from trainer.tracking import open_tracker
tracker = open_tracker("local", Path(sys.argv[1]), {}, name="killed")
step = 0
while True:
    step += 1
    tracker.metrics(step, {"train/loss": 1.5, "train/learning_rate": 0.25})
    if step == 200:
        print("on its way", flush=True)
"""


def test_a_kill_at_any_moment_leaves_a_readable_record_that_can_be_resumed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, tmp_path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.kill()
    assert process.returncode == -signal.SIGKILL
    path = tmp_path / "metrics.csv"
    series = read_metrics(path)
    assert len(series["train/loss"]) >= 200
    assert series["train/loss"] == [(step, 1.5) for step in range(1, len(series["train/loss"]) + 1)]

    with path.open("ab") as file:
        file.write(b"9999999,train/loss,1.2")  # torn inside a value
    assert read_metrics(path) == series
    tracker = open_tracker("local", tmp_path, {}, name="resumed", resumed_step=150)
    tracker.metrics(151, {"train/loss": 2.5})
    tracker.close()
    assert read_metrics(path)["train/loss"] == [(step, 1.5) for step in range(1, 151)] + [(151, 2.5)]


def test_a_resumed_record_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    straight, interrupted = tmp_path / "straight", tmp_path / "interrupted"
    tracker = open_tracker("local", straight, CONFIG, name="small")
    record(tracker, 1, 12)
    tracker.close()

    tracker = open_tracker("local", interrupted, CONFIG, name="small")
    record(tracker, 1, 8)
    tracker.card("too early", {})
    tracker.close(failed=True)
    tracker = open_tracker("local", interrupted, CONFIG, name="small", resumed_step=4)
    assert [path.name for path in (interrupted / "samples").iterdir()] == ["step_0000003.png"]
    record(tracker, 5, 12)
    tracker.close()

    assert files(interrupted) == files(straight)
    for name in files(straight):
        assert (interrupted / name).read_bytes() == (straight / name).read_bytes(), name


def test_another_record_is_replaced_only_on_request(tmp_path: Path) -> None:
    tracker = open_tracker("local", tmp_path, CONFIG, name="first")
    record(tracker, 1, 6)
    tracker.close()
    (tmp_path / "samples" / "mine.png").write_bytes(b"")
    before = (tmp_path / "metrics.csv").read_bytes()
    with pytest.raises(UsageError, match="record of another training"):
        open_tracker("local", tmp_path, CONFIG, name="second")
    assert (tmp_path / "metrics.csv").read_bytes() == before

    open_tracker("local", tmp_path, CONFIG, name="second", overwrite=True).close()
    assert files(tmp_path) == ["config.json", "metrics.csv", "samples/mine.png"]


def test_a_record_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError):
        open_tracker("local", tmp_path / "file", CONFIG, name="small")

    tracker = open_tracker("local", tmp_path / "run", CONFIG, name="small")
    (tmp_path / "run" / "samples").write_bytes(b"")
    with pytest.raises(OutputError, match=r"samples"):
        tracker.images(1, "samples", GRID)
    (tmp_path / "run" / "curves.png").mkdir()
    tracker.metrics(2, {"train/loss": 1.0})
    tracker.close(failed=True)  # the first error is the one to see


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_output_error(tmp_path: Path) -> None:
    tracker = open_tracker("local", tmp_path, CONFIG, name="small")
    tracker.record.file.close()  # type: ignore[attr-defined]
    with Path("/dev/full").open("ab", buffering=0) as full:
        tracker.record.file = full  # type: ignore[attr-defined]
        with pytest.raises(OutputError, match=r"metrics\.csv \(No space left"):
            tracker.metrics(1, {"train/loss": 1.0})
    tracker.close(failed=True)


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracker = open_tracker("tensorboard", tmp_path, CONFIG, name="small")
    record(tracker, 1, 7)
    tracker.close(failed=True)
    tracker = open_tracker("tensorboard", tmp_path, CONFIG, name="small", resumed_step=4)
    record(tracker, 5, 9)
    tracker.card("# Card", {"validation/psnr_db": 21.0})
    tracker.close()

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss")] == list(range(1, 10))
    assert events.Scalars("train/loss")[3].value == pytest.approx(0.25)
    assert [event.step for event in events.Images("samples")] == [3, 6, 9]
    picture = tmp_path / "picture.png"
    picture.write_bytes(events.Images("samples")[-1].encoded_image_string)
    assert np.array_equal(pixels(picture), GRID)
    texts = {tag: events.Tensors(tag)[-1].tensor_proto.string_val[0].decode() for tag in events.Tags()["tensors"]}
    assert texts["card/text_summary"] == "# Card"
    assert "21.0" in texts["scores/text_summary"]
    assert '"seed": 3' in texts["config/text_summary"]
    assert [step for step, _ in read_metrics(tmp_path / "metrics.csv")["train/loss"]] == list(range(1, 10))


def transactions(part: Path) -> bytes:
    """Return what wandb recorded of one part of a run."""
    return b"".join(path.read_bytes() for path in part.glob("*.wandb"))


def test_wandb_offline(tmp_path: Path, wandb_home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    tracker = open_tracker("wandb", folder, CONFIG, name="small", offline=True)
    record(tracker, 1, 4)
    tracker.close(failed=True)
    first = (folder / "wandb" / "run-id").read_text()
    time.sleep(1.1)  # the parts of a run are named by the second in which they start
    tracker = open_tracker("wandb", folder, CONFIG, name="small", offline=True, resumed_step=4)
    record(tracker, 5, 6)
    tracker.card("# Card", {"validation/psnr_db": 21.0})
    tracker.close()
    tracker.close()

    assert capfd.readouterr() == ("", "")
    assert (folder / "wandb" / "run-id").read_text() == first
    parts = sorted((folder / "wandb").glob(f"offline-run-*-{first}"))
    assert len(parts) == 2  # of one run: `wandb sync` joins them
    names = (b"train/loss", b"train/learning_rate", b"validation/psnr_db", b"samples", b"channels")

    def missing() -> list[bytes]:
        return [name for name in names for part in parts if name not in transactions(part)]

    deadline = time.monotonic() + 30  # another process writes them, and may still be at it
    while missing() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not missing()
    assert b"best/validation/psnr_db" in transactions(parts[1])
    assert (parts[1] / "files" / "card.md").read_text() == "# Card"
    for part in parts:
        (picture,) = part.glob("files/media/images/*.png")
        assert np.array_equal(pixels(picture), GRID)
    assert [step for step, _ in read_metrics(folder / "metrics.csv")["train/loss"]] == list(range(1, 7))


def test_wandb_online_without_an_account_is_refused_at_once(tmp_path: Path, wandb_home: Path) -> None:
    with pytest.raises(UsageError, match=r"no account.*wandb login"):
        open_tracker("wandb", tmp_path / "run", CONFIG, name="small")
    assert files(tmp_path / "run") == []


def test_a_mirror_that_fails_is_dropped_and_the_training_continues(tmp_path: Path, wandb_home: Path) -> None:
    lines: list[str] = []
    tracker = open_tracker("wandb", tmp_path / "run", CONFIG, name="small", offline=True, report=lines.append)
    record(tracker, 1, 3)
    import wandb

    wandb.teardown()  # its service is gone, and the run with it
    record(tracker, 4, 6)
    tracker.close()
    assert len(lines) == 1
    assert "wandb tracking ended" in lines[0]
    assert [step for step, _ in read_metrics(tmp_path / "run" / "metrics.csv")["train/loss"]] == list(range(1, 7))


@pytest.mark.parametrize(("package", "kind"), [("wandb", "wandb"), ("tensorboard", "tensorboard")])
def test_a_missing_package_names_its_extra(tmp_path: Path, package: str, kind: str) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom trainer.tracking import open_tracker\n"
        f"sys.modules[{package!r}] = None\n"
        "try: open_tracker(sys.argv[2], Path(sys.argv[1]), {}, name='small')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    command = [sys.executable, "-c", code, str(tmp_path), kind]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"UsageError {package} is not installed; pip install 'polyexport[{kind}]'\n"
    assert files(tmp_path) == []


def test_tracking_loads_no_torch_and_no_service_by_itself() -> None:
    heavy = "{'torch', 'wandb', 'tensorboard', 'matplotlib'}"
    code = f"import sys, trainer.tracking\nprint(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
