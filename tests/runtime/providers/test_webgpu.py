"""WebGPU on a software adapter: also the only test of the device path that all GPU providers share on a real device.

Debian's `chromium` brings SwiftShader, a Vulkan driver in software. A call takes tenths of a second, so images
are 16x16.
"""

import ctypes
import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from polyexport.errors import ProviderError
from polyexport.model.contract import COLORED
from polyexport.model.loading.load import load_model
from polyexport.runtime.onnxruntime_session import _KEPT_INPUT_SHAPES, CPU, DeviceSession
from polyexport.runtime.open import open_session
from polyexport.runtime.probe import probe_provider
from polyexport.runtime.session import Session, SessionOptions

WEBGPU = "WebGpuExecutionProvider"
SWIFTSHADER = Path("/usr/lib/chromium/vk_swiftshader_icd.json")


def missing() -> str:
    """What these tests need and this machine lacks; empty if it lacks nothing."""
    if importlib.util.find_spec("onnxruntime_ep_webgpu") is None:
        return "the WebGPU plugin is not installed"
    if not SWIFTSHADER.exists():
        return f"there is no {SWIFTSHADER}, the Vulkan driver of Debian's chromium"
    try:
        ctypes.CDLL("libvulkan.so.1")  # the plugin loads it by this name, too
    except OSError:
        return "there is no libvulkan.so.1, the loader of Vulkan drivers in Debian's libvulkan1"
    return ""


if reason := missing():
    pytest.skip(reason, allow_module_level=True)

Feeds = dict[str, NDArray[np.generic]]


@pytest.fixture(scope="module", autouse=True)
def adapter() -> Iterator[None]:
    """Name the software driver before the plugin is loaded, which looks for it only then."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VK_DRIVER_FILES", str(SWIFTSHADER))
        patch.setenv("ORT_WEBGPU_EP_ALLOW_SOFTWARE_ADAPTER", "1")
        status = probe_provider("webgpu")
        assert status.works, status.reason
        yield


def feeds(batch: int, *, height: int = 16, seed: int = 0) -> Feeds:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (batch, height, 16, 3), dtype=np.uint8)
    return {"image": image, "color": rng.integers(0, 256, (batch, 3), dtype=np.uint8)}


@pytest.fixture(scope="module")
def both(tiny_model_path: Path) -> tuple[DeviceSession, Session]:
    data = tiny_model_path.read_bytes()
    session = open_session(data, SessionOptions(provider="webgpu"))
    assert isinstance(session, DeviceSession)
    return session, open_session(data, SessionOptions(provider="cpu"))


def agree(both: tuple[DeviceSession, Session], inputs: Feeds) -> bool:
    found, expected = (session.run(COLORED, inputs) for session in both)
    difference = np.abs(found.astype(int) - expected)
    return found.shape == expected.shape and bool(difference.max() <= 1) and bool(np.mean(difference > 0) < 0.01)


def test_a_named_provider_is_what_runs(both: tuple[DeviceSession, Session]) -> None:
    session, reference = both
    assert (session.execution_provider, session.fallback_reason, session.stable_shapes) == (WEBGPU, "", True)
    assert session.inputs == reference.inputs
    assert session.outputs == reference.outputs


def test_every_node_is_there_but_the_one_at_the_edge(both: tuple[DeviceSession, Session]) -> None:
    placed = both[0].placement()
    assert placed[CPU] == {"QuantizeLinear": 1}  # makes uint8 of the output; the plugin has no such kernel
    assert placed[WEBGPU]["Conv"] == both[1].placement()[CPU]["Conv"]


def test_it_equals_the_cpu_at_any_shape_and_with_other_values(both: tuple[DeviceSession, Session]) -> None:
    for inputs in (feeds(1), feeds(3), feeds(1, seed=1), feeds(2, height=32), feeds(3, seed=2)):
        assert agree(both, inputs)


def test_tensors_stay_on_the_device_and_are_used_again(both: tuple[DeviceSession, Session]) -> None:
    session = both[0]
    first = session.run(COLORED, feeds(1, seed=3))
    kept = session._binding((COLORED,), feeds(1))
    addresses = [value.data_ptr() for value in (*kept._inputs.values(), *kept._results)]
    assert {value.device_name() for value in (*kept._inputs.values(), *kept._results)} == {"webgpu"}
    second = session.run(COLORED, feeds(1, seed=4))

    assert session._binding((COLORED,), feeds(1)) is kept
    assert [value.data_ptr() for value in (*kept._inputs.values(), *kept._results)] == addresses
    assert not np.array_equal(first, second)
    assert np.array_equal(session.run(COLORED, feeds(1, seed=3)), first)  # an array of its own, not a view


def test_views_and_foreign_strides_are_copied_right(both: tuple[DeviceSession, Session]) -> None:
    whole = feeds(4, seed=5)
    assert agree(both, {"image": whole["image"][::2, :, ::-1], "color": whole["color"][::2]})


def test_only_so_many_shapes_are_kept(relu_model: onnx.ModelProto) -> None:
    session = open_session(relu_model.SerializeToString(), SessionOptions(provider="webgpu"))
    assert isinstance(session, DeviceSession)
    for _ in range(2):
        for size in range(1, _KEPT_INPUT_SHAPES + 4):
            values = np.linspace(-1, 1, size, dtype=np.float32)
            assert np.array_equal(session.run("y", {"x": values}), np.maximum(values, 0))
    assert len(session._shared) == _KEPT_INPUT_SHAPES


def test_threads_take_turns(both: tuple[DeviceSession, Session]) -> None:
    right: list[bool] = []

    def work(seed: int) -> None:
        right.extend(agree(both, feeds(1 + seed % 2, seed=10 * seed + i)) for i in range(2))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 8


def test_the_shipped_model_repeats_its_golden_sample(tiny_model_path: Path) -> None:
    model = load_model(tiny_model_path, provider="webgpu")
    assert model.golden_difference < 0.01
    assert model.colorize([np.full((16, 16, 3), 255, np.uint8)], ["red"])[0][0].shape == (16, 16, 3)


def test_a_graph_with_a_node_it_cannot_take_is_refused() -> None:
    """The plugin has no MatMul of float64; ONNX Runtime alone would run it on the CPU without an error."""
    graph = helper.make_graph(
        [
            helper.make_node("Relu", ["x"], ["r"]),
            helper.make_node("Cast", ["r"], ["d"], to=TensorProto.DOUBLE),
            helper.make_node("MatMul", ["d", "d"], ["m"]),
            helper.make_node("Cast", ["m"], ["y"], to=TensorProto.FLOAT),
        ],
        "doubles",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 2])],
    )
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    with pytest.raises(ProviderError, match="webgpu left nodes to other providers: 1 MatMul; give an fp32 model"):
        open_session(data, SessionOptions(provider="webgpu"))
    taken = open_session(data, SessionOptions(provider="webgpu", check_placement=False))
    assert np.array_equal(taken.run("y", {"x": np.eye(2, dtype=np.float32)}), np.eye(2))


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "finds no GPU"),
        ({"ORT_WEBGPU_EP_ALLOW_SOFTWARE_ADAPTER": "1"}, "No supported adapters"),
        ({"VK_DRIVER_FILES": str(SWIFTSHADER)}, "finds no GPU"),
    ],
)
def test_without_an_adapter_it_is_refused_and_nothing_crashes(environment: dict[str, str], said: str) -> None:
    code = (
        "from polyexport import load_model, ProviderError\n"
        "try: load_model(provider='webgpu')\n"
        "except ProviderError as error: print(error)\n"
        "print(load_model(provider='cpu').session.execution_provider)"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_WEBGPU", "VK_"))}
    if "VK_DRIVER_FILES" not in environment:
        environment = {**environment, "VK_DRIVER_FILES": "/nonexistent"}
    done = subprocess.run([sys.executable, "-c", code], env=kept | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    refusal, runs = done.stdout.splitlines()
    assert refusal.startswith("the webgpu execution provider cannot be used: ")
    assert said in refusal
    assert "polyexport[webgpu]" in refusal
    assert runs == CPU
    assert done.stderr == ""
