"""What `pip install polyexport` brings."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    return built(ROOT, tmp_path_factory.mktemp("wheel"))


def built(source: Path, folder: Path) -> zipfile.ZipFile:
    command: list[str | Path] = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_it_carries_both_packages_and_the_default_model(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())

    assert {
        "polyexport/cli/main.py",
        "polyexport/data/drawings.py",
        "polyexport/py.typed",
        "polyexport/bench/report.schema.json",
        "polyexport/bench/results.html.jinja",
        "polyexport/evaluate/report.html.jinja",
        "polyexport/package/bootstrap.py",
        "polyexport/package/LICENSE",
    } <= names
    assert wheel.read("polyexport/models/small.onnx") == (ROOT / "artifacts" / "small.onnx").read_bytes()
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "artifacts/"))]


def test_the_default_dependencies_are_for_inference_alone(wheel: zipfile.ZipFile) -> None:
    (metadata,) = (wheel.read(name).decode() for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    required = re.findall(r"^Requires-Dist: ([\w-]+)(.*)$", metadata, flags=re.MULTILINE)
    default = {name for name, rest in required if "extra ==" not in rest}

    assert default == {"numpy", "onnxruntime", "onnxruntime-gpu", "opencv-python-headless", "pillow", "typer"}
    markers = {name: rest for name, rest in required if name.startswith("onnxruntime") and "extra" not in rest}
    assert markers["onnxruntime"] != markers["onnxruntime-gpu"]  # never both: they share one import name


def test_it_carries_the_page_and_its_runtime(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    page = {path.relative_to(ROOT).as_posix() for path in (ROOT / "polyexport" / "demo" / "page").rglob("*.*")}
    assert page <= names
    assert "polyexport/demo/runtime.json" in names
    if not (ROOT / "polyexport" / "demo" / "runtime").exists():
        pytest.skip("built without onnxruntime-web; python hatch_build.py fetches it")
    files = json.loads(wheel.read("polyexport/demo/runtime.json"))["files"]
    assert {f"polyexport/demo/runtime/{name}" for name in files} <= names


def test_what_the_dockerfile_copies_is_enough(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """No Docker here: the same files, in a folder of their own, make the same wheel."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from" not in line]
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    source = tmp_path / "source"
    for name in (name for names in copied for name in names):
        assert name in kept
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, target)
    assert set(built(source, tmp_path).namelist()) == set(wheel.namelist())
