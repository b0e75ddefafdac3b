"""Probes of execution providers: the reasons and remedies of those that do not work."""

import importlib.util

import onnxruntime as ort
import pytest

from polyexport.runtime import probe as module
from polyexport.runtime.onnxruntime_session import CPU
from polyexport.runtime.probe import ProviderStatus, auto_choice, probe_provider
from polyexport.runtime.provider import load_provider


def test_auto_takes_the_first_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    def works(*working: str) -> str:
        def probe(name: str) -> ProviderStatus:
            return ProviderStatus(name=name, execution_provider=name, works=name in working)

        monkeypatch.setattr(module, "probe_provider", probe)
        return auto_choice()

    assert works("cpu", "tensorrt", "webgpu") == "cpu"
    assert works("cpu", "openvino") == "openvino"
    assert works("cpu", "openvino", "cuda") == "cuda"


@pytest.mark.parametrize("name", ["cuda", "tensorrt"])
def test_the_probe_tells_an_unknown_build_from_a_missing_library(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here = probe_provider.__wrapped__(name)
    assert here.works or here.reason
    assert here.works or here.remedy == load_provider(name).remedy
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CPU])
    status = probe_provider.__wrapped__(name)
    assert not status.works
    assert "built without it" in status.reason


@pytest.mark.parametrize(("name", "package"), [("openvino", "openvino"), ("webgpu", "onnxruntime_ep_webgpu")])
def test_a_missing_package_is_named(name: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda wanted: None if wanted == package else find(wanted))
    status = probe_provider.__wrapped__(name)
    assert (status.works, status.reason) == (False, f"the package {package} is not installed")
    assert f"polyexport[{name}]" in status.remedy


def test_a_probe_that_raises_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object, **keywords: object) -> None:
        raise RuntimeError("/a/place/in/its/source.cc:1 " + "x" * 300 + " was false. No supported adapters\nmore")

    provider = load_provider("openvino")
    monkeypatch.setattr(provider, "missing", lambda: "")
    monkeypatch.setattr(provider, "open", fails)
    assert probe_provider.__wrapped__("openvino").reason == "No supported adapters"


def test_a_library_that_was_not_found_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def prints() -> None:
        print("Failed to load /somewhere/libcublas.so.13: no such file")  # noqa: T201 - as ONNX Runtime does

    provider = load_provider("cuda")
    monkeypatch.setattr(provider, "missing", lambda: "")
    monkeypatch.setattr(provider, "preload", prints)
    monkeypatch.setattr(provider, "open", lambda model, options: load_provider("cpu").open(model, options))
    assert probe_provider.__wrapped__("cuda").reason == "missing libcublas.so.13"


def test_a_session_on_the_cpu_is_no_session_on_the_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = load_provider("cuda")
    monkeypatch.setattr(provider, "missing", lambda: "")
    monkeypatch.setattr(provider, "preload", lambda: None)
    monkeypatch.setattr(provider, "open", lambda model, options: load_provider("cpu").open(model, options))
    for fault, reason in (("no NVIDIA driver", "no NVIDIA driver"), ("", "ONNX Runtime gave a CPU session")):
        monkeypatch.setattr(provider, "driver_fault", lambda fault=fault: fault)
        assert probe_provider.__wrapped__("cuda").reason == reason
