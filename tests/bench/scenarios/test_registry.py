"""A scenario is one file and one row: a new one reaches the command line, the table, the target and the report."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from polyexport.bench.scenarios import SCENARIOS, markdown_table, scenario_options

ROOT = Path(__file__).parents[3]

FAKE = '''
"""A scenario that measures nothing: its samples are made up."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from polyexport.bench.scenarios.scenario import Option, Scenario


@dataclass(frozen=True, kw_only=True, slots=True)
class Made(Scenario):
    name: ClassVar[str] = "made-up"
    description: ClassVar[str] = "Time of a made-up call."
    rule: ClassVar[str] = "nothing at all"
    milliseconds: Annotated[
        float, Option(flags=("--milliseconds",), help="Time of a made-up call.", minimum=1, maximum=100)
    ] = 5.0

    def measure(self, subject, settings, progress):
        from polyexport.bench.measure import Block, Window
        from polyexport.bench.rows import make_row

        block = Block(samples_ms=[self.milliseconds] * 100, wall_s=self.milliseconds / 10)
        progress("making up windows")
        return [make_row(self, "of nothing", [Window(blocks=[block])] * 3, subject, settings, size=16)]
'''

START = (
    "from polyexport.bench.scenarios import SCENARIOS\nfrom fake_scenario import Made\nSCENARIOS[Made.name] = Made\n"
    "import sys\nfrom polyexport.cli.main import main\nsys.argv[0] = 'polyexport'\nmain()"
)


def bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``polyexport bench`` with the fake scenario in the registry."""
    (folder / "fake_scenario.py").write_text(FAKE)
    command = [sys.executable, "-c", START, "bench", *arguments]
    path = os.pathsep.join([str(folder), str(ROOT)])
    return subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env=os.environ | {"PYTHONPATH": path, "COLUMNS": "500"}
    )


@pytest.mark.slow
def test_a_new_scenario_is_measured_and_compared_with_the_target(tmp_path: Path, tiny_model_path: Path) -> None:
    quick = ("made-up", "--model", str(tiny_model_path), "--provider", "cpu", "--milliseconds", "7")
    done = bench(tmp_path, *quick, "-o", "made.json", "--report", "made.html")
    assert done.returncode == 0, done.stderr
    assert "making up windows" in done.stderr
    assert any(line.split()[:4] == ["made-up", "of", "nothing", "300"] for line in done.stdout.splitlines())
    report = json.loads((tmp_path / "made.json").read_text())
    assert [(row["scenario"], row["image_ms"]) for row in report["rows"]] == [("made-up", 7.0)]
    assert report["rules"] == {"made-up": "nothing at all"}
    assert "made-up, of nothing" in (tmp_path / "made.html").read_text()

    missed = bench(tmp_path, *quick, "--target-ms", "6", "--baseline", "made.json")
    assert missed.returncode == 7
    assert "made-up, of nothing: p50 is 7.000 to 7.000 ms" in missed.stdout


def test_a_new_scenario_is_in_the_help_and_in_the_errors(tmp_path: Path) -> None:
    told = bench(tmp_path, "--help").stdout
    assert "made-up: Time of a made-up call." in told
    assert "Time of a made-up call. For made-up." in told
    assert "1<=x<=100" in told
    refused = bench(tmp_path, "speed")
    assert refused.returncode == 2
    assert f"there is no scenario 'speed'; give some of {', '.join(SCENARIOS)}, made-up" in refused.stderr
    assert bench(tmp_path, "made-up", "--milliseconds", "0").returncode == 2


def test_names_options_and_help_need_neither_numpy_nor_onnx_runtime() -> None:
    code = (
        "import sys\nfrom polyexport.bench.scenarios import SCENARIOS, scenario_options\nscenario_options()\n"
        "assert not {'onnxruntime', 'numpy', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_option_that_several_scenarios_take_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = {each.declared.field: each.scenarios for each in scenario_options()}
    assert shared["batch_sizes"] == ("throughput", "cold-start")
    assert shared["rate"] == ("latency", "capacity")


def test_the_documentation_has_every_scenario() -> None:
    assert markdown_table() in (ROOT / "docs" / "bench.md").read_text()
