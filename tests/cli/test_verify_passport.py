"""`verify --passport`, and what `infer -v` and `inspect` say of its file."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from two_sides import Disturb, convolutions

if not importlib.util.find_spec("openvino"):
    pytest.skip("OpenVINO is not installed", allow_module_level=True)

Cli = Callable[..., subprocess.CompletedProcess[str]]
Refused = Callable[..., str]


@pytest.fixture
def model(tiny: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny)
    return path


def test_a_passport_is_written_shown_and_known(cli: Cli, model: Path, drawings: Path) -> None:
    infer = ("infer", drawings / "0.png", "--color", "red", "-m", model, "--provider", "openvino", "-v", "--overwrite")
    assert "the model has no passport for openvino" in cli(*infer, check=0).stderr

    done = cli("verify", model, "--passport", "openvino", check=0)
    assert "openvino (openvino 20" in done.stdout
    assert ") and cpu agree: 5" in done.stdout
    file = model.with_name("tiny.onnx.passport.json")
    written = file.read_bytes()
    said = cli(*infer, check=0).stderr.splitlines()
    assert len([line for line in said if line.startswith("passport: openvino")]) == 1
    shown = json.loads(cli("inspect", model, "--json", check=0).stdout)
    assert [one["candidate"]["provider"] for one in shown["passports"]] == ["openvino"]

    report = json.loads(cli("verify", model, "--passport", "openvino", "--json", check=0).stdout)
    assert report["passport"]["agrees"] is True
    assert file.read_bytes() == written  # no day, no random part

    file.write_bytes(written.replace(shown["sha256"].encode(), b"b" * 64))
    assert "passport   none:" in cli("inspect", model, check=0).stdout


def test_the_disturbed_node_is_named_and_nothing_is_written(cli: Cli, model: Path, disturb: Disturb) -> None:
    node = convolutions(model.read_bytes())[3]
    other = model.with_name("other.onnx")
    other.write_bytes(disturb(model.read_bytes(), node, 0.05))
    done = cli("verify", model, "--passport", "cpu,openvino", "--passport-model", other, check=4)
    assert f"first difference: Conv {node}, tensor " in done.stdout
    assert "by itself, on equal inputs, it differs too" in done.stdout
    assert "other weights in the second file: " in done.stdout
    assert f"computes something else than cpu, first by itself at Conv {node}; " in done.stderr
    assert sorted(path.name for path in model.parent.glob("*.json")) == []
    with_json = cli("verify", model, "--passport", "cpu,cpu", "--passport-model", other, "--json", check=4)
    assert json.loads(with_json.stdout)["passport"]["cause"]["node"] == node


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (("--passport", "nothing"), 2, "unknown provider 'nothing'"),
        (("--passport", "cpu"), 2, "compared with itself"),
        (("--passport-model", "other.onnx"), 2, "without --passport"),
        (("--passport", "cpu,openvino", "--passport-model", "missing.onnx"), 4, "missing.onnx cannot be read"),
    ],
)
def test_what_cannot_be_compared(
    refused: Refused, model: Path, arguments: tuple[str, ...], exit_code: int, said: str
) -> None:
    assert said in refused(exit_code, "verify", model, *arguments)
    assert list(model.parent.glob("*.json")) == []


def test_a_passport_that_cannot_be_written_is_refused_before_the_work(refused: Refused, model: Path) -> None:
    model.with_name("tiny.onnx.passport.json").mkdir()
    assert "passport.json is a folder" in refused(5, "verify", model, "--passport", "openvino")


def test_an_earlier_file_that_is_no_passport_is_replaced(cli: Cli, model: Path) -> None:
    file = model.with_name("tiny.onnx.passport.json")
    file.write_text('{"version": 99}')
    done = cli("verify", model, "--passport", "openvino", check=0)
    assert "warning: " in done.stderr
    assert "it is replaced" in done.stderr
    assert json.loads(file.read_text())["version"] == 1


def test_no_torch_is_loaded(model: Path) -> None:
    code = (
        "import sys; sys.argv = ['polyexport', *sys.argv[1:]]\n"
        "from polyexport.cli.main import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code\n"
        "assert 'onnx' in sys.modules and 'torch' not in sys.modules"
    )
    command = [sys.executable, "-c", code, "verify", str(model), "--passport", "openvino"]
    subprocess.run(command, check=True, capture_output=True)
