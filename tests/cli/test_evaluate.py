"""polyexport evaluate."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from polyexport.cli.evaluate import evaluate
from polyexport.data.drawings import draw
from polyexport.data.pairs import PairPixels, write_pairs
from polyexport.evaluate.catalog import METRICS
from polyexport.imaging.color import parse_color
from polyexport.imaging.pixels import read_image

Cli = Callable[..., subprocess.CompletedProcess[str]]
Refused = Callable[..., str]


@pytest.fixture
def splits(cli: Cli, tmp_path: Path) -> Path:
    for name in ("clean", "gapped"):
        cli("dataset", f"data/{name}", "--count", 2, "--size", 32, "-q", check=0)
    return tmp_path / "data"


def test_a_folder_of_splits_a_table_a_report_and_json(cli: Cli, splits: Path, shipped_path: Path) -> None:
    table = cli("evaluate", shipped_path, splits, "--provider", "cpu", check=0).stdout.splitlines()
    files = ("--report", "out/r.html", "--contact-sheet", "out/s.png")
    done = cli("evaluate", shipped_path, splits, *files, "--json", "--provider", "cpu", check=0)
    report, scores = (splits.parent / "out" / "r.html").read_text(encoding="utf-8"), json.loads(done.stdout)

    assert [line.split()[0] for line in table] == ["data", *["clean"] * 3, *["gapped"] * 3, *["all"] * 3]
    assert {"PSNR", "min", "SSIM", "within", "dE00", "IoU", "wrong", "ahead", "bleeding", "confused"} <= set(
        table[0].split()
    )
    assert list(scores["splits"]) == ["clean", "gapped"]
    assert len(scores["splits"]["gapped"]["images"]) == 2
    assert scores["all"]["model"]["images"] == 4
    assert f"{scores['all']['model']['metrics']['psnr_db']['mean']:.2f}" in table[7]
    assert done.stderr.splitlines() == ["report: out/r.html", "contact sheet: out/s.png"]
    assert read_image(splits.parent / "out" / "s.png").pixels.shape[0] > 600
    ahead = scores["splits"]["gapped"]["better_rival"]["model_ahead_db"]
    assert table[4].endswith(f"{ahead:+.2f}")
    assert report.startswith("<!DOCTYPE html>")
    assert scores["model"]["sha256"] in report


def test_means_over_fewer_images_are_marked(
    tmp_path: Path, shipped_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = []
    for number, name in enumerate(("white", "red")):
        color = parse_color(name)
        one = draw(np.random.default_rng(number), 32, color=color.rgb)
        pairs.append((name, PairPixels(image=one.image, color=color, colored=one.colored, shape=one.shape)))
    write_pairs(tmp_path, {"set": pairs})
    evaluate(shipped_path, [tmp_path / "set"], provider="cpu")
    done = capsys.readouterr()
    assert re.search(r"^set +model +2 +\d ", done.out, re.MULTILINE)
    assert re.search(r"[0-9]\*", done.out)
    assert "* over fewer images than the row counts: on the others the metric is undefined" in done.err.splitlines()


def test_the_metrics_are_listed(cli: Cli) -> None:
    lines = cli("evaluate", "--list-metrics", check=0).stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == [metric.name for metric in METRICS]


def test_bad_inputs_are_one_line(refused: Refused, splits: Path, shipped_path: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "data.json cannot be read" in refused(1, "evaluate", shipped_path, "empty")
    assert "data.json cannot be read" in refused(1, "evaluate", shipped_path, "missing")
    assert "data.json cannot be read" in refused(1, "evaluate", shipped_path, tmp_path)  # two levels down
    (splits / "gapped" / "data.json").write_text("[]")
    assert "not a list of entries" in refused(1, "evaluate", shipped_path, splits)
    (splits / "gapped" / "data.json").unlink()
    assert "gapped/data.json cannot be read" in refused(1, "evaluate", shipped_path, splits)
    (next((splits / "clean" / "outputs").iterdir())).write_bytes(b"no image")
    assert "known format" in refused(1, "evaluate", shipped_path, splits / "clean")


def test_a_report_never_lands_on_something_else(refused: Refused, splits: Path, shipped_path: Path) -> None:
    assert "ends in .html" in refused(2, "evaluate", shipped_path, splits, "--report", "model.onnx")
    assert "ends in .png" in refused(2, "evaluate", shipped_path, splits, "--contact-sheet", "sheet.jpg")
    (splits.parent / "file").write_text("in the way")
    refused(5, "evaluate", shipped_path, splits, "--report", "file/r.html")
    (splits.parent / "folder.html").mkdir()
    assert "folder.html is not the name" in refused(2, "evaluate", shipped_path, splits, "--report", "folder.html")


@pytest.mark.parametrize("missing", ["skimage", "matplotlib", "jinja2"])
def test_a_missing_library_is_named_with_its_extra(missing: str, splits: Path, shipped_path: Path) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None\nfrom polyexport.cli.main import main\nmain()"
    arguments = ["evaluate", str(shipped_path), str(splits), "--report", str(splits.parent / "r.html")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 1
    assert "pip install 'polyexport[evaluate]'" in done.stderr.splitlines()[-1]
    assert not (splits.parent / "r.html").exists()


def test_export_needs_none_of_its_libraries() -> None:
    code = (
        "import sys\nfor name in ('skimage', 'scipy', 'matplotlib', 'jinja2'): sys.modules[name] = None\n"
        "import polyexport.evaluate.predict, polyexport.evaluate.metrics, polyexport.evaluate.catalog"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_a_report_loads_no_torch(splits: Path, shipped_path: Path) -> None:
    code = (
        "import sys\nfrom polyexport.cli.main import main\n"
        "try: main()\nexcept SystemExit as done: assert not done.code, done.code\n"
        "assert not {'torch', 'lightning', 'onnx', 'trainer'} & set(sys.modules)"
    )
    report = splits.parent / "r.html"
    arguments = ["evaluate", str(shipped_path), str(splits), "--report", str(report), "-q"]
    subprocess.run([sys.executable, "-W", "error", "-c", code, *arguments], check=True, capture_output=True)
    assert report.stat().st_size < 3 * 2**20
