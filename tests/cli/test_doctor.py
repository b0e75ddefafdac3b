import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]


def test_it_tries_every_provider_and_says_how_to_get_it(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VK_DRIVER_FILES", "/nonexistent")  # no GPU, whatever this machine has
    monkeypatch.delenv("ORT_WEBGPU_EP_ALLOW_SOFTWARE_ADAPTER", raising=False)
    report = json.loads(cli("doctor", "--json", check=0).stdout)
    text = cli("doctor", check=0).stdout

    statuses = {status["name"]: status for status in report["providers"]}
    assert list(statuses) == ["cpu", "cuda", "tensorrt", "openvino", "webgpu"]
    for name, status in statuses.items():
        shown = next(line for line in text.splitlines() if line.startswith(f"provider {name} "))
        if status["works"]:
            assert shown.endswith(": works")
        else:
            assert f"polyexport[{name}]" in status["remedy"]
            assert shown.endswith(f"does not work: {status['reason']}; {status['remedy']}")
    assert statuses[report["auto"]]["works"]
    assert f"--provider auto takes {report['auto']}" in text
    assert {"openvino", "tensorrt", "webgpu"} <= set(report["extras"])
    assert "extra openvino: openvino " in text


def test_the_cache_is_shown(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POLYEXPORT_CACHE_DIR", str(tmp_path / "kept"))
    (tmp_path / "kept" / "compiled-models").mkdir(parents=True, mode=0o700)
    (tmp_path / "kept" / "compiled-models" / "a.entry").write_bytes(bytes(1_500_000))
    folder = tmp_path / "kept" / "compiled-models"
    assert f"cache of compiled models: {folder}, 1 with 1.5 MB, at most 537 MB" in cli("doctor", check=0).stdout
    folder.chmod(0o755)
    cache = json.loads(cli("doctor", "--json", check=0).stdout)["cache"]
    assert (cache["path"], cache["compiled_models"], cache["bytes"]) == (str(folder), 1, 1_500_000)
    assert "chmod 700" in cache["fault"]
