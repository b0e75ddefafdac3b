from dataclasses import replace
from pathlib import Path

import pytest

from polyexport.bench.scenarios.cold_start import ColdStart
from polyexport.bench.scenarios.scenario import Settings, Subject
from polyexport.errors import PolyexportError


def test_the_stages_of_a_process(subject: Subject, settings: Settings) -> None:
    measured = ColdStart(processes=3, batch_sizes=(2, 1)).measure(subject, settings, print)
    rows = {row.name: row for row in measured}
    assert list(rows) == [
        "whole process",
        "imports",
        "load the model",
        "first run of batch 1",
        "second run of batch 1",
        "first run of batch 2",
        "second run of batch 2",
    ]
    whole = rows["whole process"].windows
    parts = [row.windows for name, row in rows.items() if name != "whole process"]
    assert sum(part[0].p50_ms for part in parts) < whole[0].p50_ms
    assert all(sum(window.samples for window in row.windows) == 3 for row in rows.values())


def test_a_process_that_fails_says_why(
    subject: Subject, settings: Settings, tiny_model_path: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(tiny_model_path.read_bytes()[:100])
    with pytest.raises(PolyexportError, match="cold-start failed"):
        ColdStart(processes=3).measure(replace(subject, path=broken), settings, print)
