"""What `pip install polyexport` brings."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_it_carries_both_packages_and_the_default_model(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())

    assert {
        "polyexport/cli/main.py",
        "trainer/polygons.py",
        "polyexport/py.typed",
        "polyexport/evaluate/report.html.jinja",
        "polyexport/handover/run.py",
        "polyexport/handover/LICENSE",
    } <= names
    assert wheel.read("polyexport/models/small.onnx") == (ROOT / "artifacts" / "small.onnx").read_bytes()
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "artifacts/"))]


def test_the_default_dependencies_are_for_inference_alone(wheel: zipfile.ZipFile) -> None:
    (metadata,) = (wheel.read(name).decode() for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    required = re.findall(r"^Requires-Dist: ([\w-]+)(.*)$", metadata, flags=re.MULTILINE)
    default = {name for name, rest in required if "extra ==" not in rest}

    assert default == {"numpy", "onnxruntime", "onnxruntime-gpu", "pillow", "typer"}
    markers = {name: rest for name, rest in required if name.startswith("onnxruntime") and "extra" not in rest}
    assert markers["onnxruntime"] != markers["onnxruntime-gpu"]  # never both: they share one import name
