"""The CUDA provider: its options, tested on every machine, and a comparison with the CPU on a machine with a GPU."""

import ctypes
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from polyexport.model.loading.load import load_model
from polyexport.runtime.providers.cuda import PROVIDER, cuda_entry
from polyexport.runtime.session import SessionOptions


def test_its_options_are_the_documented_ones() -> None:
    assert cuda_entry(SessionOptions(device_id=1, use_tf32=False)) == (
        "CUDAExecutionProvider",
        {
            "device_id": "1",
            "arena_extend_strategy": "kSameAsRequested",
            "cudnn_conv_algo_search": "HEURISTIC",
            "use_tf32": "0",
        },
    )


def test_its_library_knows_every_option() -> None:
    """ONNX Runtime accepts a misspelled name without an error."""
    found = [*(Path(ort.__file__).parent / "capi").glob("*onnxruntime_providers_cuda.*")]
    if not found:
        pytest.skip("this ONNX Runtime has no CUDA provider")
    content = found[0].read_bytes()
    assert b"\0no_such_option\0" not in content
    for name in cuda_entry(SessionOptions())[1]:
        assert f"\0{name}\0".encode() in content, name


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_library(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", no_library)
    assert PROVIDER.driver_fault() == "no NVIDIA driver"
    monkeypatch.setattr(ctypes, "CDLL", lambda name: None)
    assert PROVIDER.driver_fault() == ""


@pytest.mark.gpu
def test_it_takes_the_whole_graph_and_equals_the_cpu(shipped_path: Path) -> None:
    model = load_model(shipped_path, provider="cuda")
    reference = load_model(shipped_path, provider="cpu")
    image = np.random.default_rng(0).integers(0, 256, (3, 128, 128, 3), dtype=np.uint8)
    color = np.array([[255, 136, 0], [0, 0, 0], [1, 2, 3]], np.uint8)

    assert model.session.execution_provider == "CUDAExecutionProvider"
    difference = np.abs(model.run(image, color).astype(int) - reference.run(image, color))
    assert np.mean(difference <= 1) > 0.999
