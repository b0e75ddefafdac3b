import json
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyexport.bench.capacity import Capacity
from polyexport.bench.document import Row, Verdict
from polyexport.bench.gate import judge
from polyexport.bench.machine import Machine, MachineState
from polyexport.bench.measure import Block, Window
from polyexport.bench.order_statistics import Bounds
from polyexport.bench.probe import Probe
from polyexport.bench.rows import capacity_row, make_row, with_note
from polyexport.bench.scenarios.capacity import CapacitySearch
from polyexport.bench.scenarios.cold_start import ColdStart
from polyexport.bench.scenarios.latency import Latency
from polyexport.bench.scenarios.scenario import Settings, Subject
from polyexport.runtime.cores import granted_cores

STATE = MachineState(governor="", turbo="", temperature_c=None, load_1min=0.0)


def machine(others: float) -> Machine:
    return Machine(
        before=STATE, after=STATE, seconds=6.0, steal=0.0, others=others, throttled_times=None, throttled=None,
        heat_throttled_times=None,
    )  # fmt: skip


def windows(*parts: list[float]) -> list[Window]:
    """Windows of ten blocks each."""
    return [
        Window(
            blocks=[
                Block(samples_ms=block.tolist(), wall_s=float(block.sum()) / 1e3)
                for block in np.array_split(np.array(part), 10)
            ]
        )
        for part in parts
    ]


def around(subject: Subject, middle: float, spread: float, settings: Settings, calls: int = 100, seed: int = 0) -> Row:
    """Row of calls with a normal distribution."""
    random = np.random.default_rng(seed)
    parts = [np.abs(random.normal(middle, spread, calls)).tolist() for _ in range(3)]
    return make_row(Latency(), "closed loop", windows(*parts), subject, settings, size=16)


@pytest.mark.parametrize(
    ("middle", "spread", "given_settings", "verdict", "told"),
    [
        (40.0, 1.0, Settings(target_ms=50.0), "met", ""),
        (60.0, 1.0, Settings(target_ms=50.0), "missed", "p50 is 59."),
        (50.0, 2.0, Settings(target_ms=50.0), "undecided", "samples would decide; give --seconds"),
        (40.0, 1.0, Settings(target_ms=50.0, percentile=90), "met", ""),
        (40.0, 1.0, Settings(target_ms=50.0, percentile=99), "undecided", "too few samples for p99: 300, it takes "),
        (60.0, 1.0, Settings(target_ms=50.0, percentile=99), "missed", "to more ms with 95 % confidence"),
        (40.0, 1.0, Settings(target_ms=50.0, percentile=99.9), "undecided", "too few samples for p99.9"),
    ],
)
def test_the_interval_decides(
    subject: Subject, middle: float, spread: float, given_settings: Settings, verdict: str, told: str
) -> None:
    gate = judge([around(subject, middle, spread, given_settings)], given_settings, machine(0.0))
    assert gate.verdict == verdict
    assert gate.met is (verdict == "met")
    assert told in "; ".join(gate.reasons)


def test_the_seconds_that_it_names_decide(subject: Subject) -> None:
    asked = Settings(target_ms=50.0, seconds=2.0)
    (reason,) = judge([around(subject, 50.15, 2.0, asked, seed=3)], asked, None).reasons
    assert "samples would decide" in reason
    factor = float(reason.rpartition("--seconds ")[2]) / asked.seconds
    longer = around(subject, 50.15, 2.0, asked, calls=round(100 * factor * 2), seed=3)
    assert judge([longer], asked, None).verdict == "missed"


def test_a_percentile_on_the_target_itself(subject: Subject) -> None:
    asked = Settings(target_ms=50.0)
    even = make_row(Latency(), "even", windows(*[[49.0, 51.0] * 50] * 3), subject, asked, size=16)
    assert "it lies on the target itself; give another target" in judge([even], asked, None).reasons[0]


def test_windows_that_do_not_agree_decide_nothing(subject: Subject) -> None:
    asked = Settings(target_ms=50.0)
    unstable = make_row(
        Latency(), "closed loop", windows([10.0] * 40, [20.0] * 40, [10.0] * 40), subject, asked, size=16
    )
    gate = judge([unstable], asked, None)
    assert gate.verdict == "undecided"
    assert "UNSTABLE; measure again when nothing else runs" in gate.reasons[0]


def test_a_rate_that_cannot_be_served_misses(subject: Subject) -> None:
    asked = Settings()
    row = with_note(around(subject, 10.0, 0.1, asked), "SATURATED: 5 of 10 requests/s were served")
    assert judge([row], asked, None).verdict == "missed"


def test_a_cold_start_is_not_held_against_a_target(subject: Subject) -> None:
    slow = make_row(ColdStart(), "whole process", windows(*[[900.0] * 10] * 3), subject, Settings(), size=16)
    assert judge([slow], Settings(), None).met


def test_a_disturbance_excuses_no_more_than_it_took(subject: Subject) -> None:
    asked = Settings(target_ms=50.0)
    row = around(subject, 60.0, 1.0, asked)
    assert judge([row], asked, machine(0.04)).verdict == "missed"  # too small to be counted
    assert judge([row], asked, machine(0.06)).verdict == "missed"
    gate = judge([row], asked, machine(0.4))
    assert gate.verdict == "undecided"
    assert "40 % of the time was taken by others; measure again without them" in gate.reasons[0]
    # It makes nothing quicker, so a target that is met is met.
    assert judge([around(subject, 40.0, 1.0, asked)], asked, machine(0.4)).verdict == "met"


def capacity(alone_ms: float, *probes: Probe, verdict: Verdict = "missed") -> Row:
    found = Capacity(
        bound_ms=50.0, percentile=99.0, holds_per_s=0.0, fails_per_s=100.0, verdict=verdict, reason="the reason",
        alone_ms=alone_ms, probes=probes,
    )  # fmt: skip
    return capacity_row(CapacitySearch(), found, "search", size=16, callers=2)


def failed(*, answered: float, p50_ms: float | None) -> Probe:
    return Probe(
        rate_per_s=100.0, finding="fails", seconds=6.0, requests=600, slow=Bounds(low=0.1, high=0.2), p50_ms=p50_ms,
        p99_ms=None, answered_per_s=answered, saturated=False, errors={},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("row", "others", "verdict"),
    [
        (capacity(10.0, verdict="met"), 0.5, "met"),
        (capacity(10.0, verdict="undecided"), 0.0, "undecided"),
        (capacity(60.0), 0.0, "missed"),
        (capacity(60.0), 0.2, "undecided"),  # alone, and a fifth of the time was taken
        (capacity(600.0), 0.2, "missed"),
        (capacity(10.0, failed(answered=99.0, p50_ms=20.0)), 0.0, "missed"),
        (capacity(10.0, failed(answered=99.0, p50_ms=20.0)), 0.06, "undecided"),
        (capacity(10.0, failed(answered=60.0, p50_ms=20.0)), 0.06, "missed"),
        (capacity(10.0, failed(answered=99.0, p50_ms=None)), 0.06, "missed"),
    ],
)
def test_a_capacity_is_judged_by_its_own_bound(row: Row, others: float, verdict: str) -> None:
    gate = judge([row], Settings(target_ms=1e-3), machine(others))
    assert gate.verdict == verdict
    assert ("capacity, search: the reason" in "; ".join(gate.reasons)) is (verdict != "met")


def test_one_sure_miss_outweighs_the_rest(subject: Subject) -> None:
    asked = Settings(target_ms=50.0)
    met, missed, undecided = (around(subject, middle, 2.0, asked) for middle in (40.0, 60.0, 50.0))
    assert judge([met, undecided, missed], asked, None).verdict == "missed"
    assert judge([met, undecided], asked, None).verdict == "undecided"
    assert judge([met, met], asked, None).verdict == "met"
    assert len(judge([met, undecided, missed], asked, None).reasons) == 2


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(1, 100), min_size=30, max_size=200), st.floats(1, 100), st.floats(1, 99.9), st.floats(0, 1))
def test_a_verdict_contradicts_no_sample(samples: list[float], target: float, percentile: float, others: float) -> None:
    asked = Settings(target_ms=target, percentile=percentile)
    subject = Subject(
        load=lambda **_: (_ for _ in ()).throw(AssertionError), path=None, provider="", device_id=0, threads=0,  # type: ignore[arg-type]
        load_limits=None, macs=0, calibrate=None,  # type: ignore[arg-type]
    )  # fmt: skip
    row = make_row(Latency(), "made", windows(samples, samples, samples), subject, asked, size=16)
    verdict = judge([row], asked, machine(others)).verdict
    slower = sum(sample > target for sample in samples) / len(samples)
    if verdict == "met":
        assert slower <= 1 - percentile / 100
    if verdict == "missed":
        assert slower > 1 - percentile / 100
    # The same samples beyond every target and below every target decide.
    if row.target_interval is not None and row.target_interval.high is not None:
        assert judge([replace(row, target_interval=replace(row.target_interval, high=target))], asked, None).met


@pytest.mark.slow
def test_real_noise_gives_no_verdict_that_it_may_have_caused(tiny_model_path: Path, tmp_path: Path) -> None:
    """Two busy programs for each core, against a target that the model meets when it has the machine for itself."""

    def run(target_ms: float) -> Any:
        command = [sys.executable, "-m", "polyexport.cli.main", "bench", "latency", "-m", str(tiny_model_path)]
        command += ["--provider", "cpu", "--size", "512", "--seconds", "1", "--target-ms", str(target_ms)]
        done = subprocess.run([*command, "-q", "-o", str(tmp_path / "report.json")], capture_output=True, text=True)
        assert done.returncode in (0, 7), done.stderr
        report = json.loads((tmp_path / "report.json").read_text())
        assert (report["gate"]["verdict"] == "met") is (done.returncode == 0)
        return report

    quiet = run(1e6)
    (row,) = quiet["rows"]
    assert quiet["gate"]["verdict"] in (("met", "undecided") if row["stable"] else ("undecided",))
    assert (quiet["gate"]["verdict"] == "met") is (not quiet["gate"]["reasons"])
    hopeless = run(1e-3 * min(row["block_ms"]))
    assert hopeless["gate"]["verdict"] == ("missed" if hopeless["rows"][0]["stable"] else "undecided")
    with ExitStack() as stack:
        for _ in range(2 * granted_cores()):
            noise = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(noise.kill)
        noisy = run(1.5 * min(row["block_ms"]))
    assert noisy["machine"]["others"] > 0.3
    assert noisy["gate"]["verdict"] != "missed"
