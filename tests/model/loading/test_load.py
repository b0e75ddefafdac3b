import os
import shutil
from pathlib import Path

import pytest
from hostile_models import HOSTILE_GRAPHS, stamped
from onnx import load_model_from_string

import polyexport
from polyexport.errors import ContractError
from polyexport.model.loading import confinement
from polyexport.model.loading.limits import DEFAULT_LIMITS, GrantedLimits, LoadLimits
from polyexport.model.loading.load import load_model, open_model
from polyexport.runtime.session import SessionOptions

GOOD = Path(__file__).parents[2] / "files_of_0_1_0" / "rgb.onnx"
CPU = SessionOptions(provider="cpu")
TIGHT = LoadLimits(seconds=0.5, memory_mib=64)


@pytest.fixture(autouse=True)
def forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No model is known when a test begins."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("polyexport.model.loading.verdicts._passed", {})


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tasks that a process of its own was started for."""
    found: list[str] = []
    real = confinement.run_confined

    def counted(task: confinement.TaskName, model: bytes, limits: GrantedLimits) -> dict[str, object]:
        found.append(task)
        return real(task, model, limits)

    monkeypatch.setattr(confinement, "run_confined", counted)
    return found


@pytest.mark.parametrize("name", HOSTILE_GRAPHS)
def test_a_hostile_graph_is_refused(name: str) -> None:
    """Each graph would take hours or gigabytes; the file of ``rgb`` keeps the tight limits."""
    with pytest.raises(ContractError, match=r"^model x\.onnx is refused: ") as caught:
        open_model(HOSTILE_GRAPHS[name](GOOD.read_bytes()), CPU, name="x.onnx", limits=TIGHT)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("deep_convolutions", r"its first check took more than 0\.5 s of processor time; --load-timeout raises"),
        ("huge_constant", r"its first check took more than 64 MiB of memory; --max-model-memory raises"),
        ("doubled", r"its first check took more than 64 MiB of memory; --max-model-memory raises"),
        ("endless_loop", r"a node with a graph of its own \('Loop'\), which may run without end; export .* without If"),
        ("laughing_functions", r"an operator of the domain 'laughs'"),
    ],
)
def test_the_message_names_the_limit_and_the_option(name: str, said: str) -> None:
    with pytest.raises(ContractError, match=said):
        open_model(HOSTILE_GRAPHS[name](GOOD.read_bytes()), CPU, limits=TIGHT)


@pytest.mark.parametrize("size", [2048, 1028, 100_000])
def test_an_expensive_training_size_is_refused(size: int) -> None:
    data = stamped(load_model_from_string(GOOD.read_bytes()), {"training_size": size})
    with pytest.raises(ContractError, match=f"up to 1024, got {size}"):
        open_model(data, CPU)


def test_an_unknown_file_is_checked_once(checks: list[str]) -> None:
    for _ in range(2):
        load_model(GOOD, provider="cpu")
    assert checks == ["check"]


def test_other_bytes_are_another_file(checks: list[str]) -> None:
    load_model(GOOD, provider="cpu")
    open_model(stamped(load_model_from_string(GOOD.read_bytes()), {"network": "another"}), CPU)
    assert checks == ["check", "check"]


def test_the_shipped_model_needs_no_check(checks: list[str], shipped_path: Path) -> None:
    polyexport.load_model(provider="cpu")
    load_model(shipped_path.parent / "small-int8.onnx", provider="cpu")
    assert checks == []


def test_stricter_limits_are_checked_again_and_wider_ones_are_not(checks: list[str]) -> None:
    load_model(GOOD, provider="cpu")
    load_model(GOOD, provider="cpu", limits=LoadLimits(seconds=100, memory_mib=4096))
    assert len(checks) == 1
    load_model(GOOD, provider="cpu", limits=TIGHT)
    assert len(checks) == 2


def test_a_damaged_file_starts_no_process(checks: list[str]) -> None:
    with pytest.raises(ContractError, match="not a whole ONNX model"):
        open_model(GOOD.read_bytes()[:-10], CPU)
    assert checks == []


def test_what_the_check_refuses_is_refused_in_its_words() -> None:
    data = stamped(
        load_model_from_string(GOOD.read_bytes()), {"conditioning": "vocabulary", "palette": [["red", [255, 0, 0]]]}
    )
    with pytest.raises(ContractError, match=r"model v is refused: its inputs are .*; give a model that `polyexport"):
        open_model(data, CPU, name="v")


def test_without_a_folder_for_the_cache_it_is_checked_and_loaded(
    checks: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    load_model(GOOD, provider="cpu")
    assert checks == ["check"]


def test_every_old_file_keeps_the_limits(tmp_path: Path) -> None:
    for file in GOOD.parent.glob("*.onnx"):
        shutil.copy(file, tmp_path)
        assert load_model(tmp_path / file.name, provider="cpu", limits=DEFAULT_LIMITS).golden_difference < 0.5
    assert not [name for name in os.listdir(tmp_path) if "core" in name]
