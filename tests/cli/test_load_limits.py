"""Every command that loads a model has the options of its first load, and hands them on."""

import shutil
from pathlib import Path
from typing import NoReturn

import pytest
from typer.testing import CliRunner

from polyexport.cli.app import make_app
from polyexport.errors import ContractError, ExitCode
from polyexport.model.loading.limits import GrantedLimits

OLD = Path(__file__).parents[1] / "files_of_0_1_0"
RUNTIME = Path(__file__).parents[2] / "polyexport" / "demo" / "runtime" / "ort.wasm.min.mjs"
LIMITS = ["--load-timeout", "7.5", "--max-model-memory", "99"]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[GrantedLimits]:
    """The limits of each process that would have been started; none is, and the file is refused."""
    found: list[GrantedLimits] = []

    def refuse(task: str, model: bytes, limits: GrantedLimits) -> NoReturn:
        del task, model
        found.append(limits)
        raise ContractError("it was looked at", remedy="look elsewhere")

    monkeypatch.setattr("polyexport.model.loading.confinement.run_confined", refuse)
    monkeypatch.setattr("polyexport.model.inspect.run_confined", refuse)
    monkeypatch.setattr("polyexport.model.loading.verdicts._passed", {})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return found


@pytest.mark.parametrize(
    "command",
    [
        "verify MODEL",
        "inspect MODEL",
        "package MODEL -o OUT/package",
        "infer INPUTS/0.png -c red -o OUT/images -m MODEL --provider cpu",
        "infer INPUTS/0.png -c red -o OUT/images -m MODEL --dry-run",
        "infer INPUTS/0.png -c red -o OUT/images -m MODEL --engine ray",
        "serve -m MODEL --port 18473",
        "evaluate MODEL SET",
        "bench latency -m MODEL --seconds 0.01",
        pytest.param(
            "demo -m MODEL --export OUT/site",
            marks=pytest.mark.skipif(not RUNTIME.exists(), reason="built without onnxruntime-web"),
        ),
    ],
)
def test_a_command_hands_the_limits_on(command: str, given: list[GrantedLimits], tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    shutil.copy(OLD / "rgb.onnx", model)
    places = {"MODEL": model, "INPUTS": OLD / "inputs", "SET": OLD / "set", "OUT": tmp_path}
    for name, place in places.items():
        command = command.replace(name, str(place))
    done = CliRunner().invoke(make_app(), [*command.split(), *LIMITS])
    assert isinstance(done.exception, ContractError), done.output
    assert done.exception.exit_code == ExitCode.MODEL_REFUSED
    assert "model.onnx is refused: it was looked at" in done.exception.message
    assert given == [GrantedLimits(seconds=7.5, memory_mib=99)]


@pytest.mark.parametrize("option", [["--load-timeout", "-1"], ["--load-timeout", "nan"], ["--max-model-memory", "1.5"]])
def test_impossible_limits_are_refused(option: list[str]) -> None:
    done = CliRunner().invoke(make_app(), ["verify", str(OLD / "rgb.onnx"), *option])
    assert done.exit_code == ExitCode.USAGE
