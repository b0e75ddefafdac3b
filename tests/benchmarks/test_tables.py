"""What the pages show of a record of `throughput.py`."""

import json
import runpy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from polyexport.bench.document import Compared, read_report
from polyexport.bench.statistics import Interval

ROOT = Path(__file__).parents[2]


def compared(name: str, ms: float, ratio: Interval | None) -> Compared:
    return Compared(
        name=name,
        how="",
        versions="",
        work="files",
        images=5000,
        p50_ms=ms,
        cpu_ms=2 * ms,
        ratio=ratio,
        mean_difference=0.25,
        max_difference=9,
        gflop_per_s=None,
        block_ms=(ms, ms, 2 * ms),
        failure="",
    )


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, Any]:
    """The script, with an empty folder of results."""
    found = runpy.run_path(str(ROOT / "benchmarks" / "tables.py"))
    found["folder"].__globals__["RESULTS"] = tmp_path
    return found


RATIO = Interval(estimate=1.07, low=1.05, high=1.1)


def record(path: Path, provider: str, ms: float, size: int = 128, ratio: Interval = RATIO) -> None:
    both = [asdict(one) for one in (compared("polyexport", ms, None), compared("loop.py", 5, ratio))]
    run = {"size": size, "provider": provider, "compared": both}
    path.write_text(json.dumps({"throughput": 1, "model": "small.onnx", "images": 5000, "rounds": 3, "runs": [run]}))


def test_nothing_is_claimed_without_a_record(tables: dict[str, Any]) -> None:
    assert tables["folder"]() == tables["pools"]() == "No run has been recorded yet.\n"
    assert "times the rate" not in tables["speed"]()


def test_the_latest_record_of_a_run_counts(tables: dict[str, Any], tmp_path: Path) -> None:
    record(tmp_path / "throughput_small_cpu_epyc-zen4-2core_2026-01.json", "cpu", 8.0)
    record(tmp_path / "throughput_small_cpu_epyc-zen4-2core_2026-02.json", "cpu", 4.0)
    record(tmp_path / "throughput_small_openvino_epyc-zen4-2core_2026-03.json", "openvino", 2.0)
    record(tmp_path / "throughput_small_cpu_epyc-avx2-2core_2026-04.json", "cpu", 16.0)
    assert (
        tables["folder"]()
        .splitlines()[2]
        .startswith("| 5,000 of 128x128, `small`, AVX2 | `infer --provider cpu` | 62 |")
    )
    (tmp_path / "throughput_small_cpu_epyc-avx2-2core_2026-04.json").unlink()
    rows = tables["folder"]().splitlines()
    assert rows[2] == "| 5,000 of 128x128, `small`, VNNI | `infer --provider cpu` | 250 | 8.00 |  |  |"
    assert rows[3] == "|  | `benchmarks/rivals/loop.py` | 200 | 10.00 | 1.07 (1.05 to 1.10) | 0.25 |"
    assert rows[4].startswith("| 5,000 of 128x128, `small`, VNNI | `infer --provider openvino` | 500 |")
    assert len(rows) == 6
    told = " ".join(tables["speed"]().split())
    assert "1.07 (1.05 to 1.10) times the rate of a pool of threads around ONNX Runtime on 5,000 pictures" in told
    assert "times the rate of OpenVINO's asynchronous queue" in told


def test_the_readme_has_the_smallest_and_the_largest_pictures(tables: dict[str, Any], tmp_path: Path) -> None:
    for size, low in ((512, 1.4), (128, 0.7), (256, 1.1)):
        record(
            tmp_path / f"throughput_small_{size}_epyc-zen4-2core_2026-01.json",
            "cpu",
            8.0,
            size,
            Interval(estimate=low + 0.1, low=low, high=2.0),
        )
    told = " ".join(tables["speed"]().split())
    assert "at 0.80 (0.70 to 2.00) times the rate of a pool of threads around ONNX Runtime on 5,000 pictures" in told
    assert "of 128x128, and at 1.50 (1.40 to 2.00) on 5,000 pictures of 512x512; " in told
    assert "256" not in told


def test_loops_in_memory_have_their_own_table(tables: dict[str, Any], tmp_path: Path) -> None:
    (recorded,) = (ROOT / "benchmarks" / "results").glob("small-128_fp32_*.json")
    ratio = Interval(estimate=1.2, low=1.1, high=1.3)
    made = (compared("polyexport", 4.0, None), compared("openvino-queue", 4.8, ratio))
    report = replace(read_report(recorded), compared=tuple(replace(one, work="throughput") for one in made))
    (tmp_path / "pools_small-128_fp32_openvino_a-machine_2026-01-01.json").write_text(report.to_json())
    assert tables["pools"]().splitlines()[2] == "| `small`, 128 | fp32, OpenVINO | 250 |  | 1.20 (1.10 to 1.30) |"
