"""The other commands, and the path of an engineer from nothing to pictures."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from polyexport.data.splits import SPLITS
from polyexport.model.loading.load import load_model

Cli = Callable[..., subprocess.CompletedProcess[str]]
Refused = Callable[..., str]


def test_train_export_infer_evaluate(cli: Cli, drawings: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    cli("dataset", "pairs", "--count", 9, "--size", 32, check=0)
    training = ("--data", "pairs", "--initial", tiny_checkpoint, "--steps", 2, "--validate-every", 2, "-b", 2)
    cli("train", *training, "--workers", 0, "-o", "m.safetensors", check=0)
    first = cli("export", "m.safetensors", check=0)
    second = cli("export", "m.safetensors", "-o", "again.onnx", "--images", drawings, "--json", check=0)
    cli("infer", drawings, "--color", "#ff8800", "-m", "m.onnx", check=0)
    cli("dataset", "set", "--count", 3, check=0)
    scores = json.loads(cli("evaluate", "m.onnx", "set", "--json", check=0).stdout)

    assert hashlib.sha256((tmp_path / "m.onnx").read_bytes()).hexdigest() in first.stdout
    assert "simplified: 50 nodes, " in first.stderr
    assert "max abs diff" in first.stderr
    assert json.loads(second.stdout)["parity"]["images"] == 6
    assert len(list((tmp_path / "drawings-colored" / "ff8800").iterdir())) == 6
    assert [scores["splits"]["set"][method]["images"] for method in ("model", "trapped_ball", "flood_fill")] == [
        3,
        3,
        3,
    ]


@pytest.mark.slow
def test_a_data_set_of_ones_own_trains(cli: Cli, refused: Refused, tmp_path: Path) -> None:
    cli("dataset", "set", "--count", 3, "--size", 64, check=0)
    cli("train", "--data", "set", "--steps", 1, "--validate-every", 1, "--workers", 0, "-o", "m.safetensors", check=0)
    (tmp_path / "set" / "data.json").write_text("[]")
    assert "data.json" in refused(1, "train", "--data", "set", "--steps", 1)
    cli("dataset", "odd", "--count", 1, "--size", 40, check=0)
    assert "40x40" in refused(1, "train", "--data", "odd", "--steps", 1)
    assert "--data" in refused(2, "train", "--validation", "odd", "--steps", 1)


def test_splits(cli: Cli, refused: Refused, tmp_path: Path) -> None:
    cli("dataset", "sets", "--split", "all", "--count", 2, "--size", 32, check=0)
    cli("dataset", "two", "--split", "gapped", "--split", "noisy", "--count", 2, "--size", 32, check=0)

    assert {path.name for path in (tmp_path / "sets").iterdir()} == set(SPLITS)
    assert {path.name for path in (tmp_path / "two").iterdir()} == {"gapped", "noisy"}
    for name in ("gapped", "noisy"):
        index = json.loads((tmp_path / "sets" / name / "data.json").read_text())
        assert index == json.loads((tmp_path / "two" / name / "data.json").read_text())
        assert all(entry["shape"] in entry["input_polygon"] for entry in index)
    cli("dataset", "named", "--named-colors", "--count", 40, "--size", 16, check=0)
    colors = [entry["colour"] for entry in json.loads((tmp_path / "named" / "data.json").read_text())]
    assert len(set(colors)) == 20
    assert colors[:20] == colors[20:]
    assert "known: clean, thick" in refused(2, "dataset", "three", "--split", "dirty")
    assert "already holds" in refused(2, "dataset", "sets", "--split", "multi")


@pytest.mark.slow
def test_a_killed_training_resumes_to_the_same_bytes(
    cli: Cli, refused: Refused, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    tiny = (
        "train",
        "--initial",
        tiny_checkpoint,
        "--size",
        64,
        "--steps",
        12,
        "--validate-every",
        4,
        "-b",
        2,
        "--workers",
        1,
    )
    whole = cli(*tiny, "-o", "whole.safetensors", check=0)
    command = [sys.executable, "-m", "polyexport.cli.main", *map(str, tiny), "-o", "killed.safetensors"]
    with subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("step 4: ")
        os.killpg(process.pid, signal.SIGKILL)

    assert "continue that training with --resume" in refused(2, *tiny, "-o", "killed.safetensors")
    resumed = cli(*tiny, "-o", "killed.safetensors", "--resume", check=0)
    assert "resumed at step " in resumed.stderr
    files = [(tmp_path / f"{name}.safetensors").read_bytes() for name in ("whole", "killed")]
    assert files[0] == files[1]
    digest = whole.stdout.split("weights ")[1].split(";")[0]
    assert f"weights {digest};" in resumed.stdout
    curves = [(tmp_path / name / "metrics.csv").read_text().splitlines() for name in ("whole", "killed")]
    assert [row for row in curves[0] if "images_per_s" not in row] == [
        row for row in curves[1] if "images_per_s" not in row
    ]


@pytest.mark.slow
def test_what_a_resumed_training_must_agree_with(cli: Cli, refused: Refused, tmp_path: Path) -> None:
    short = ("train", "--size", 64, "--steps", 1, "-b", 2, "--workers", 0, "-o", "m.safetensors")
    assert "no training to resume" in refused(2, *short, "--resume")
    cli(*short, check=0)
    assert "1024" in refused(4, *short, "--resume", "--network", "base")
    assert "exclude" in refused(2, *short, "--resume", "--overwrite")
    cli(*short, "--overwrite", check=0)
    (tmp_path / "m" / "state.safetensors").write_bytes(b"torn")
    assert "not a complete state" in refused(4, *short, "--resume")


@pytest.mark.slow
def test_several_devices_share_a_training(cli: Cli, tmp_path: Path) -> None:
    short = ("train", "--size", 64, "--steps", 2, "-b", 2, "--workers", 0)
    done = cli(*short, "--devices", 2, "-o", "m.safetensors", check=0)
    assert len(done.stdout.splitlines()) == 1
    assert done.stdout.startswith("m.safetensors: 2 steps, ")
    assert (tmp_path / "m" / "curves.png").exists()


@pytest.mark.slow
def test_an_offline_run_of_weights_and_biases(cli: Cli, tmp_path: Path) -> None:
    options = ("--steps", 10, "--validate-every", 5, "-b", 2, "--workers", 0, "--tracker", "wandb", "--offline")
    cli("train", *options, "-o", "m.safetensors", check=0)
    (run,) = (tmp_path / "m" / "wandb").glob("offline-run-*")
    assert list(run.glob("*.wandb"))
    assert len(list(run.rglob("*.png"))) == 2


def test_checkpoints_that_are_refused(refused: Refused, tiny_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.safetensors").write_bytes(tiny_checkpoint.read_bytes()[:-10])
    (tmp_path / "foreign.pth").write_bytes(b"PK\x03\x04 a pickle in a zip")
    for name, said in (
        ("cut.safetensors", "damaged"),
        ("foreign.pth", "damaged zip archive"),
        ("missing", "cannot be read"),
    ):
        assert said in refused(4, "export", name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.safetensors", "foreign.pth"]


def test_a_data_set_is_the_same_for_one_seed_and_not_replaced(cli: Cli, refused: Refused, tmp_path: Path) -> None:
    for name in ("a", "b"):
        cli("dataset", name, "--count", 4, "--size", 32, "--seed", 5, check=0)
    files = [
        sorted(path.relative_to(tmp_path / name) for path in (tmp_path / name).rglob("*.*")) for name in ("a", "b")
    ]

    assert files[0] == files[1]
    assert all((tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files[0])
    assert "--overwrite" in refused(2, "dataset", "a", "--count", 4)


@pytest.mark.slow
def test_bench_passes_misses_and_tells(cli: Cli) -> None:
    quick = ("bench", "--seconds", 0.05, "--size", 64, "--provider", "cpu")
    missed = cli(*quick, "--target-ms", 0.0001, check=7)
    assert "CPUExecutionProvider" in missed.stdout
    # No disturbance explains a miss of this size, and one that is UNSTABLE misses nothing.
    assert ": MISSED" in missed.stdout or "UNSTABLE" in missed.stdout
    # A machine that keeps its pace meets the target; on another the windows differ or the samples are too few.
    easy = cli(*quick, "throughput", "--json", "-b", 2, "--target-ms", 100_000, check=None)
    report = json.loads(easy.stdout)
    assert [each["name"] for each in report["rows"]] == ["batch 2"]
    verdict, row = report["gate"]["verdict"], report["rows"][0]
    assert verdict in ("met", "undecided")
    assert (verdict == "met") is (easy.returncode == 0) is (not report["gate"]["reasons"])
    assert row["stable"] or verdict == "undecided"
    assert report["environment"]["cores_granted"] >= 1


@pytest.mark.slow
def test_bench_keeps_and_compares_reports(cli: Cli, tmp_path: Path) -> None:
    command = ["bench", "latency", "--seconds", 0.2, "--size", 64, "--provider", "cpu", "--target-ms", 100_000]
    first = cli(*command, "-o", "old.json", "--report", "page.html", "--compare", "onnxruntime-pool,openvino")
    assert "onnxruntime-pool" in first.stdout
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")
    old = json.loads((tmp_path / "old.json").read_text())
    row = old["rows"][0]
    # As if the machine had kept its pace and the code had been ten times as fast, whatever this run met with.
    old["rows"] = [row | {"stable": True, "block_ms": [ms / 10 for ms in row["block_ms"]]}]
    old["environment"]["cpu"] = "Another CPU"
    (tmp_path / "old.json").write_text(json.dumps(old))
    second = cli(*command, "--baseline", "old.json", check=None)
    assert second.returncode == 7 or "no stable measurement" in second.stderr
    assert "WORSE" in second.stdout or "no stable measurement" in second.stderr
    assert second.stderr.startswith("old.json differs in cpu: Another CPU then")


@pytest.mark.slow
def test_bench_runs_a_competitor_from_files_to_files(cli: Cli, drawings: Path, tmp_path: Path) -> None:
    copy = f"{sys.executable} -c 'import shutil, sys; shutil.copytree(sys.argv[1], sys.argv[2])' {{input}} {{output}}"
    quick = ["bench", "latency", "--seconds", 0.05, "--provider", "cpu", "--target-ms", 100_000, "--images", drawings]
    good = cli(*quick, "--json", "--compare-command", f"copy={copy}", check=None)
    assert good.returncode in (0, 7)
    ours, other = json.loads(good.stdout)["compared"]
    assert (ours["work"], other["name"], other["images"], len(other["block_ms"])) == ("files", "copy", 6, 5)
    assert other["ratio"]["high"] < 1
    # The target is missed on a machine that is not steady.
    bad = cli(*quick, "--compare-command", f"{sys.executable} -c pass {{input}} {{output}}", check=None)
    assert bad.returncode in (3, 7)
    assert f"failed: {Path(sys.executable).name}: it wrote 0 pictures, and polyexport 6; check" in bad.stderr
    assert "Traceback" not in bad.stderr


@pytest.mark.slow
def test_bench_refuses_before_it_measures(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("{}")
    assert "multiple of 64" in refused(2, "bench", "--size", 50)
    assert "cannot compare with 'tensorflow'" in refused(2, "bench", "--compare", "torch,tensorflow")
    assert "no number as its schema" in refused(2, "bench", "--baseline", "old.json")
    url = ("--url", "http://127.0.0.1:1")
    assert "only the scenario capacity does that" in refused(2, "bench", *url)
    assert "name capacity alone" in refused(2, "bench", "capacity", "latency", *url)
    assert "has its own --threads" in refused(2, "bench", "capacity", *url, "--threads", 2)
    assert "has its own --compare" in refused(2, "bench", "capacity", *url, "--compare", "openvino")
    assert "nobody answers at http://127.0.0.1:1" in refused(2, "bench", "capacity", *url)
    assert "is not the URL of a service" in refused(2, "bench", "capacity", "--url", "")
    assert "ends in .html" in refused(2, "bench", "--report", "page.pdf")
    assert "exported from" in refused(2, "bench", "latency", "--seconds", 0.01, "--size", 64, "--compare", "torch")
    assert "has no {output}" in refused(2, "bench", "--compare-command", "true {input}")
    assert "cannot be found" in refused(2, "bench", "--compare-command", "no-such {input} {output}")
    assert "none of 1 files" in refused(2, "bench", "--results", "old.json")
    assert "--results measures nothing" in refused(2, "bench", "latency", "--results", "old.json")


def test_bench_shows_results_side_by_side(cli: Cli, tmp_path: Path) -> None:
    recorded = Path(__file__).parents[2] / "benchmarks" / "results"
    reports = sorted(recorded.glob("small-128_*.json"))
    given = [word for path in reports for word in ("--results", path)]
    shown = cli("bench", *given, "--report", "page.html", check=0)
    assert all(path.name in shown.stdout for path in reports)
    assert reports[0].name in (tmp_path / "page.html").read_text()
    (tmp_path / "cut.json").write_text(reports[0].read_text()[:5000])
    some = cli("bench", *given, "--results", "cut.json", "--json", check=3)
    assert sorted(line["file"] for line in json.loads(some.stdout)["lines"]) == [path.name for path in reports]
    assert "failed: cut.json: is not JSON, or is cut short" in some.stderr


def test_doctor_tells_what_is_there(cli: Cli) -> None:
    text = cli("doctor", check=0).stdout
    report = json.loads(cli("doctor", "--json", check=0).stdout)

    assert "provider cpu (CPUExecutionProvider): works" in text
    assert {"cpu", "cuda"} <= {status["name"] for status in report["providers"]}
    assert all(status["works"] or status["reason"] for status in report["providers"])
    assert report["model"]["sha256"] == load_model(provider="cpu").sha256


def test_version_help_and_no_command(cli: Cli) -> None:
    assert cli("--version", check=0).stdout.startswith("polyexport 0.")
    assert "infer" in cli("--help", check=0).stdout
    assert cli().returncode == 2


@pytest.mark.parametrize(
    "command", ["train", "dataset", "export", "verify", "inspect", "package", "infer", "evaluate", "bench", "doctor"]
)
def test_every_command_explains_itself(cli: Cli, command: str) -> None:
    assert "Usage: " in cli(command, "--help", check=0).stdout


def test_verbose_shows_the_traceback(tmp_path: Path, drawings: Path) -> None:
    program = Path(sys.executable).with_name("polyexport")
    done = subprocess.run(
        [program, "infer", drawings, "--color", "x", "-v"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_the_checkpoint_is_never_the_output(refused: Refused, tiny_checkpoint: Path) -> None:
    before = tiny_checkpoint.read_bytes()
    assert "is the source" in refused(2, "export", tiny_checkpoint, "-o", tiny_checkpoint)
    assert tiny_checkpoint.read_bytes() == before


def test_outputs_that_cannot_be_written_are_found_before_the_work(
    refused: Refused, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    refused(5, "export", tiny_checkpoint, "-o", tmp_path / "file" / "m.onnx")
    refused(5, "train", "--steps", 1, "-o", tmp_path / "file" / "m.safetensors")


def heed_interrupts() -> None:
    """A test suite that was started in the background ignores SIGINT, and its children would too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow
def test_an_interrupted_training_keeps_what_it_learned(tmp_path: Path) -> None:
    from trainer.checkpoint import load_checkpoint

    arguments = ["train", "--size", "64", "--minutes", "5", "--validate-every", "2", "-b", "2", "-o", "m.safetensors"]
    with subprocess.Popen(
        [sys.executable, "-m", "polyexport.cli.main", *arguments],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        preexec_fn=heed_interrupts,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("step 2: ")
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: every process of the group
        errors = process.stderr.read()

    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert errors.splitlines()[-1] == "interrupted"
    assert "--resume continues" in errors
    assert load_checkpoint(tmp_path / "m.safetensors").training["steps"] >= 2
