"""Sessions of ONNX Runtime: the device path of CUDA is tested with the CPU's memory in place of the device's."""

import threading
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from polyexport.model.contract import COLORED
from polyexport.runtime.onnxruntime_session import (
    _KEPT_INPUT_SHAPES,
    CPU,
    CpuSession,
    DeviceSession,
    create_session,
    session_settings,
)
from polyexport.runtime.session import SessionOptions

Feeds = dict[str, NDArray[np.generic]]


def feeds(batch: int, seed: int = 0) -> Feeds:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (batch, 16, 16, 3), dtype=np.uint8)
    return {"image": image, "color": rng.integers(0, 256, (batch, 3), dtype=np.uint8)}


@pytest.fixture
def session(tiny_model_path: Path) -> ort.InferenceSession:
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = 1
    return ort.InferenceSession(tiny_model_path.read_bytes(), settings, providers=[CPU])


@pytest.mark.parametrize("one_call_at_a_time", [False, True])
def test_binding_gives_the_same_as_a_plain_run(session: ort.InferenceSession, one_call_at_a_time: bool) -> None:
    plain = CpuSession(session)
    device = DeviceSession(session, device="cpu", one_call_at_a_time=one_call_at_a_time)
    assert (plain.stable_shapes, device.stable_shapes) == (False, True)
    results = []
    for batch, seed in ((1, 0), (3, 1), (1, 2), (3, 3)):
        inputs = feeds(batch, seed)
        results.append((device.run(COLORED, inputs), plain.run(COLORED, inputs)))
    assert all(np.array_equal(found, expected) for found, expected in results)


def test_threads_have_tensors_of_their_own(session: ort.InferenceSession) -> None:
    plain, device = CpuSession(session), DeviceSession(session, device="cpu")
    cases = [(1 + seed % 2, seed) for seed in range(40)]
    expected = [plain.run(COLORED, feeds(*case)) for case in cases]
    wrong: list[int] = []
    bindings: list[int] = []
    ready = threading.Barrier(4)

    def work(first: int) -> None:
        ready.wait()
        found = {i: device.run(COLORED, feeds(*cases[i])) for i in range(first, 40, 4)}
        wrong.extend(i for i, one in found.items() if not np.array_equal(one, expected[i]))
        bindings.extend(id(binding) for binding in device._own.kept.values())
        ready.wait()

    threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(set(bindings)) == len(bindings) == 4  # each thread met one batch size


def test_the_most_recently_used_shapes_are_kept(relu_model: onnx.ModelProto) -> None:
    device = DeviceSession(ort.InferenceSession(relu_model.SerializeToString(), providers=[CPU]), device="cpu")
    for size in (1, 2, *range(3, _KEPT_INPUT_SHAPES + 1), 1, _KEPT_INPUT_SHAPES + 1):
        values = np.linspace(-1, 1, size, dtype=np.float32)
        assert np.array_equal(device.run("y", {"x": values}), np.maximum(values, 0))
    sizes = [key[1][0][2][0] for key in device._own.kept]
    assert sizes == [*range(3, _KEPT_INPUT_SHAPES + 1), 1, _KEPT_INPUT_SHAPES + 1]  # 2 was the least recently used


def test_the_cpu_provider_stands_behind_every_other_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(ort, "InferenceSession", lambda model, settings, **keywords: asked.append(keywords))
    create_session(b"", SessionOptions())
    create_session(b"", SessionOptions(), [("OneExecutionProvider", {"device_id": "1"})])
    assert asked == [
        {"providers": [CPU], "enable_fallback": False},
        {"providers": [("OneExecutionProvider", {"device_id": "1"}), CPU], "enable_fallback": False},
    ]


def test_no_plan_of_memory_is_kept_for_each_shape() -> None:
    assert not session_settings(SessionOptions()).enable_mem_pattern
