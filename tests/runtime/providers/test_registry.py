"""The registry of execution providers, and a provider that is added to it with one file and one row."""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from polyexport.runtime.provider import all_providers, auto_order, load_provider, provider_of
from polyexport.runtime.providers import PROVIDER_MODULES, provider_choices

ROOT = Path(__file__).parents[3]

FAKE_PROVIDER = """
from polyexport.runtime.onnxruntime_session import CpuSession, create_session
from polyexport.runtime.provider import Provider
from polyexport.runtime.session import SessionOptions


class FakeSession(CpuSession):
    @property
    def execution_provider(self) -> str:
        return "FakeExecutionProvider"


class FakeProvider(Provider):
    name = "fake"
    execution_provider = "FakeExecutionProvider"
    remedy = "install the fake, or use --provider cpu"
    module = "fake_provider"
    packages = ("numpy", "no-such-package")
    auto_rank = 1
    takes_whole_graph = True

    def open(self, model: bytes, options: SessionOptions) -> FakeSession:
        return FakeSession(create_session(model, options))

    def auto_skips(self, model: bytes, options: SessionOptions) -> str:
        return "needs more than one image" if options.images == 1 else ""


PROVIDER = FakeProvider()
"""

PROGRAM = """
from polyexport.runtime import providers

providers.PROVIDER_MODULES = {**providers.PROVIDER_MODULES, "fake": "fake_provider"}

from polyexport.cli.main import main

main()
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def polyexport(tmp_path: Path) -> Run:
    """The whole program in a process of its own, with a row for the fake provider in the registry."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "fake_provider.py").write_text(FAKE_PROVIDER)
    path = os.pathsep.join((str(tmp_path / "modules"), str(ROOT)))

    def run(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *map(str, arguments)],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": path},
        )
        assert done.returncode == code, done.stderr
        return done

    return run


def test_an_added_provider_is_in_doctor(polyexport: Run) -> None:
    report = json.loads(polyexport("doctor", "--json").stdout)
    statuses = {status["name"]: status for status in report["providers"]}
    assert (statuses["fake"]["execution_provider"], statuses["fake"]["works"]) == ("FakeExecutionProvider", True)
    assert report["auto"] == "fake"
    assert report["extras"]["fake"]["numpy"]
    assert report["extras"]["fake"]["no-such-package"] is None
    assert "provider fake (FakeExecutionProvider): works" in polyexport("doctor").stdout


def test_an_added_provider_runs_a_folder(polyexport: Run, tiny_model_path: Path, drawings: Path) -> None:
    def infer(output: str, *options: str) -> dict[str, object]:
        target = drawings.parent / output
        arguments = (drawings, "-m", tiny_model_path, "--color", "red", "-o", target, "--json", *options)
        report: dict[str, object] = json.loads(polyexport("infer", *arguments).stdout.splitlines()[-1])
        assert len([*(target / "red").iterdir()]) == 6
        return report

    assert infer("named", "--provider", "fake")["execution_provider"] == "FakeExecutionProvider"
    assert infer("auto")["execution_provider"] == "FakeExecutionProvider"
    assert infer("cpu", "--provider", "cpu")["execution_provider"] == "CPUExecutionProvider"
    for name in ("0.png", "5.png"):
        named, plain = (drawings.parent / output / "red" / name for output in ("named", "cpu"))
        assert named.read_bytes() == plain.read_bytes()


def test_auto_asks_an_added_provider_whether_it_is_worth_its_start(
    polyexport: Run, tiny_model_path: Path, drawings: Path
) -> None:
    done = polyexport("infer", drawings / "0.png", "-m", tiny_model_path, "--color", "red", "-o", drawings.parent / "o")
    assert "fake: needs more than one image" in done.stderr


def test_an_added_provider_does_not_disturb_inspect(polyexport: Run, tiny_model_path: Path) -> None:
    assert "golden" in polyexport("inspect", tiny_model_path).stdout


def test_the_command_line_lists_an_added_provider(polyexport: Run, tiny_model_path: Path) -> None:
    assert "webgpu|fake>" in polyexport("infer", "--help").stdout
    refused = polyexport("verify", tiny_model_path, "--provider", "no-such-provider", code=2)
    assert "'fake'" in refused.stderr
    assert "on FakeExecutionProvider" in polyexport("verify", tiny_model_path, "--provider", "fake").stdout


def test_a_provider_is_known_under_the_name_of_its_row() -> None:
    for name, module in PROVIDER_MODULES.items():
        provider = load_provider(name)
        assert provider.name == name == module.rpartition(".")[2]
        assert provider_of(provider.execution_provider) is provider
    with pytest.raises(KeyError):
        provider_of("NoSuchExecutionProvider")
    assert provider_choices() == ("auto", "cpu", "cuda", "tensorrt", "openvino", "webgpu")


def test_every_provider_but_the_built_in_one_has_a_remedy_and_an_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for provider in all_providers():
        if provider.built_in:
            continue
        assert f"polyexport[{provider.name}]" in provider.remedy
        assert "--provider " in provider.remedy
        required = {re.split(r"[\[<>=;]", requirement)[0] for requirement in extras[provider.name]}
        assert set(provider.packages) <= required


def test_auto_goes_by_rank_and_ends_with_the_built_in_provider() -> None:
    assert [provider.name for provider in auto_order()] == ["cuda", "openvino", "cpu"]
    assert auto_order()[-1].built_in


def test_the_names_are_known_without_onnx_runtime() -> None:
    code = (
        "import sys\n"
        "from polyexport.cli import options\n"
        "from polyexport.runtime.providers import provider_choices\n"
        "assert 'cpu' in provider_choices()\n"
        "assert not {'onnxruntime', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


NAMED_ELSEWHERE = {
    "cuda": {
        "runtime/providers/tensorrt.py": "CUDA takes the nodes that TensorRT leaves",
        "export/precision/fp16.py": "the provider on which an fp16 graph must be faster than fp32",
        "package/runner.py": "the command line of a package, whose requirements bring two providers",
        "package/readme.py": "documents that command line",
        "package/write.py": "names the GPU package in the package's requirements",
    },
    "openvino": {
        "bench/contenders.py": "OpenVINO called directly is a rival that bench compares with",
        "bench/pools.py": "OpenVINO's asynchronous queue is another one",
        "cli/bench.py": "the help of --compare lists that rival",
        "bench/environment.py": "a key of the reports that bench writes",
    },
}
"""Files that name a provider although they are neither its own file nor the registry, with the reason."""


def test_a_provider_is_named_in_its_own_file_and_the_registry_alone() -> None:
    for name in set(PROVIDER_MODULES) - {"cpu"}:  # the one provider that every machine has is the default of many calls
        files = {
            str(file.relative_to(ROOT / "polyexport"))
            for file in (ROOT / "polyexport").rglob("*.py")
            if re.search(rf"\b{name}\b", file.read_text(encoding="utf-8"))
        }
        own = {f"runtime/providers/{name}.py", "runtime/providers/__init__.py"}
        assert files - own == set(NAMED_ELSEWHERE.get(name, {})), name
