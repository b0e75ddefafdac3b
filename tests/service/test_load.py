"""Load tests of a running service by `polyexport bench capacity --url`."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

QUICK = ("--seconds", "0.3", "--size", "64", "--probe-seconds", "6")


def bench(port: int, *options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "polyexport.cli.main", "bench", "capacity", "--url", f"http://127.0.0.1:{port}"]
    return subprocess.Popen(
        [*command, *QUICK, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"NO_COLOR": "1"},
    )  # fmt: skip


@pytest.mark.slow
def test_a_rate_that_a_live_service_holds(service: Any, tmp_path: Path) -> None:
    # The bound is wide: the machine of a test may be busy.
    running = bench(service.port, "--rate", "150", "--max-p99-ms", "4000", "-o", str(tmp_path / "load.json"))
    out, errors = running.communicate(timeout=120)
    assert running.returncode in (0, 7), errors
    report = json.loads((tmp_path / "load.json").read_text())
    (row,) = report["rows"]
    (probe,) = row["capacity"]["probes"]
    assert report["model"]["name"] == "small.onnx"
    assert report["model"]["execution_provider"] == "CPUExecutionProvider"
    assert probe["errors"] == {}
    assert probe["requests"] > 100
    assert (running.returncode == 0) is (probe["finding"] == "holds")
    assert "150.0 requests/s" in out
    assert "Traceback" not in errors
    # What the service counts is what was sent to it: no request was lost.
    _, metrics = service.ask("GET", "/metrics")
    assert b'status="200"' in metrics


def test_ctrl_c_ends_it_without_a_traceback(service: Any) -> None:
    running = bench(service.port, "--rate", "20", "--max-p99-ms", "20", "--probe-seconds", "60")
    assert running.stderr is not None
    assert "connections at most" in running.stderr.readline()
    time.sleep(1)
    running.send_signal(signal.SIGINT)
    out, errors = running.communicate(timeout=30)
    assert running.returncode in (130, 7), errors  # 7: one request took longer than the bound, so there was no traffic
    assert "Traceback" not in errors
    if running.returncode == 130:
        assert errors.splitlines()[-1] == "interrupted"
        assert out == ""


@pytest.mark.slow
def test_a_service_that_is_killed_in_the_middle(serve: Callable[..., Any]) -> None:
    service = serve()
    running = bench(service.port, "--rate", "30", "--max-p99-ms", "10000", "--probe-seconds", "60", "--seconds", "20")
    assert running.stderr is not None
    assert "connections at most" in running.stderr.readline()
    killer = threading.Timer(3.0, service.process.kill)
    killer.start()
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 1, errors
    assert "Traceback" not in errors
    last = errors.splitlines()[-1]
    assert last.startswith("error: ")
    assert "; look at its log" in last


@pytest.mark.slow
def test_a_search_of_a_live_service(serve: Callable[..., Any], tmp_path: Path) -> None:
    service = serve()
    running = bench(
        service.port, "--max-p99-ms", "500", "-o", str(tmp_path / "a.json"), "--report", str(tmp_path / "a.html")
    )
    _, errors = running.communicate(timeout=300)
    assert running.returncode in (0, 7), errors
    found = json.loads((tmp_path / "a.json").read_text())["rows"][0]["capacity"]
    assert found["probes"] or found["verdict"] == "missed"
    if found["holds_per_s"] and found["fails_per_s"]:
        assert found["holds_per_s"] < found["fails_per_s"]
    assert "Capacity:" in (tmp_path / "a.html").read_text()
