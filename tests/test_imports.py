"""What an application developer installs: no torch, no onnx, and a public surface that is what it says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import polyexport

HEAVY = "{'torch', 'lightning', 'onnx', 'onnxscript', 'onnxsim', 'safetensors', 'cryptography'}"


def modules_after(code: str, *arguments: str) -> str:
    check = f"{code}\nimport sys\nprint(sorted(({HEAVY}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", check, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()[-1]


def test_importing_and_running_a_model_loads_no_torch() -> None:
    code = (
        "import polyexport, numpy as np\n"
        "for name in polyexport.__all__: getattr(polyexport, name)\n"
        "polyexport.load_model(provider='cpu').colorize([np.zeros((16, 16, 3), np.uint8)], ['red'])"
    )
    assert modules_after(code) == "[]"


@pytest.mark.slow
def test_no_command_but_train_and_export_loads_torch(tmp_path: Path) -> None:
    for arguments in (
        ["dataset", str(tmp_path / "set"), "--count", "2", "--size", "32"],
        ["infer", str(tmp_path / "set" / "inputs"), "--color", "red"],
        ["evaluate", "MODEL", str(tmp_path / "set")],
        ["bench", "--seconds", "0.01", "--size", "64"],
        ["doctor"],
    ):
        code = (
            "import sys\nfrom polyexport.cli.main import main\nfrom polyexport.model.file import default_model_path\n"
            "BUSY = 7  # bench gives no figure then\n"
            "sys.argv = ['polyexport', *[str(default_model_path()) if a == 'MODEL' else a for a in sys.argv[1:]]]\n"
            "try: main()\nexcept SystemExit as done: assert done.code in (0, None, BUSY), done.code"
        )
        assert modules_after(code, *arguments) == "[]", arguments


def test_help_is_quick_because_it_loads_no_onnx_runtime() -> None:
    code = "import sys, polyexport.cli.main\nassert not {'onnxruntime', 'numpy'} & set(sys.modules)"
    assert modules_after(code) == "[]"


def test_exported_members() -> None:
    assert dir(polyexport) == sorted(polyexport.__all__)
    for name in polyexport.__all__:
        assert getattr(polyexport, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        polyexport.nothing  # noqa: B018


def test_nothing_is_kept_or_told_of_this_machine(tmp_path: Path) -> None:
    """ONNX Runtime would leave an identity in the home folder."""
    code = "import polyexport; polyexport.load_model(provider='cpu')"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment | {"HOME": str(tmp_path)})
    assert list(tmp_path.rglob("*")) == []
