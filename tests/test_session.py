from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from polyexport import session as module
from polyexport.contract import COLOR_INPUT, COLORED, IMAGE_INPUT
from polyexport.errors import ContractError, ProviderError
from polyexport.model import Model, load_model
from polyexport.session import CPU, SessionOptions, cuda_options, open_session, probe_provider

no_cuda = pytest.mark.skipif(probe_provider("cuda").works, reason="CUDA is there")


def test_the_cpu_works_and_takes_every_node(relu_model: onnx.ModelProto) -> None:
    session = open_session(relu_model.SerializeToString(), SessionOptions(provider="cpu"))

    assert session.execution_provider == CPU
    assert session.placement() == {CPU: {"Relu": 1}}
    assert session.run("y", {"x": np.array([-1, 2], np.float32)}).tolist() == [0, 2]


@no_cuda
def test_cuda_without_cuda_is_refused_with_what_is_missing(relu_model: onnx.ModelProto) -> None:
    with pytest.raises(ProviderError, match=r"cuda.*(missing lib|built without|driver).*--provider cpu"):
        open_session(relu_model.SerializeToString(), SessionOptions(provider="cuda"))


@no_cuda
def test_auto_falls_back_and_says_why(relu_model: onnx.ModelProto) -> None:
    session = open_session(relu_model.SerializeToString(), SessionOptions(provider="auto"))

    assert session.execution_provider == CPU
    assert session.fallback_reason.startswith("cuda: ")


@no_cuda
def test_a_session_that_onnx_runtime_quietly_moved_to_the_cpu_is_refused(
    relu_model: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The probe is fooled; the session itself is what ONNX Runtime really gives here: a CPU one.
    works = module.ProviderStatus(name="cuda", execution_provider="CUDAExecutionProvider", works=True)
    monkeypatch.setattr(module, "probe_provider", lambda name: works)
    with pytest.raises(ProviderError, match="gave CPUExecutionProvider"):
        open_session(relu_model.SerializeToString(), SessionOptions(provider="cuda"))


def test_heavy_nodes_on_the_cpu_are_a_silent_fallback_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The provider is the CPU under the name of another, so its nodes count as astray."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "x"], ["y"])],
        "matmul",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    works = module.ProviderStatus(name="cuda", execution_provider=CPU, works=True)
    monkeypatch.setattr(module, "probe_provider", lambda name: works)
    monkeypatch.setitem(module._EXECUTION_PROVIDERS, "cuda", CPU)
    monkeypatch.setattr(module, "_provider_list", lambda name, options: [CPU])
    with pytest.raises(ProviderError, match="left MatMul nodes to the CPU"):
        open_session(model.SerializeToString(), SessionOptions(provider="cuda"))


def test_cuda_options_are_the_documented_ones() -> None:
    options = cuda_options(SessionOptions(device_id=1, use_tf32=False))
    assert options == {
        "device_id": "1",
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",
        "use_tf32": "0",
    }


@pytest.mark.parametrize("values", [{"provider": "gpu"}, {"threads": -1}, {"device_id": -1}])
def test_options_are_checked_when_built(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        SessionOptions(**values)  # type: ignore[arg-type]


def test_io_binding_gives_the_same_as_a_plain_run(tiny_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of every provider but the CPU, run on the CPU: whatever `execution_provider` says decides."""
    feeds = {
        IMAGE_INPUT: np.random.default_rng(0).integers(0, 256, (3, 16, 8, 3), dtype=np.uint8),
        COLOR_INPUT: np.array([[1, 2, 3]] * 3, np.uint8),
    }
    plain = tiny_model.session.run(COLORED, feeds)
    monkeypatch.setattr(module, "CPU", "none")
    assert np.array_equal(tiny_model.session.run(COLORED, feeds), plain)


@pytest.mark.parametrize("where", ["initializer", "attribute", "subgraph", "function"])
def test_external_data_anywhere_is_refused(relu_model: onnx.ModelProto, where: str) -> None:
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "w")
    external_data_helper.set_external_data(tensor, "secret.bin")
    tensor.ClearField("raw_data")
    constant = helper.make_node("Constant", [], ["w"], value=tensor)
    if where == "initializer":
        relu_model.graph.initializer.append(tensor)
    elif where == "attribute":
        relu_model.graph.node.append(constant)
    elif where == "subgraph":
        branch = helper.make_graph([constant], "branch", [], [helper.make_tensor_value_info("w", 1, [4])])
        relu_model.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch))
    else:
        relu_model.functions.append(
            helper.make_function("own", "f", [], ["w"], [constant], [helper.make_opsetid("", 17)])
        )
    with pytest.raises(ContractError, match="other files"):
        open_session(relu_model.SerializeToString(), SessionOptions(provider="cpu"))


@pytest.mark.parametrize("key", [b"\x0a\x88\x00location", b"\x8a\x80\x80\x80\x10\x08location", b"\x88\x80\x00location"])
def test_padded_protobuf_does_not_hide_external_data(key: bytes) -> None:
    with pytest.raises(ContractError, match="other files"):
        open_session(b"anything" + key, SessionOptions(provider="cpu"))


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_model_are_refused(data: bytes) -> None:
    with pytest.raises(ContractError):
        open_session(data, SessionOptions(provider="cpu"))


def test_the_probe_tells_an_unknown_build_from_a_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CPU])
    status = probe_provider.__wrapped__("cuda")

    assert not status.works
    assert "built without it" in status.reason


@pytest.mark.gpu
def test_cuda_takes_the_whole_graph_and_equals_the_cpu(shipped_path: Path) -> None:
    model = load_model(shipped_path, provider="cuda")
    reference = load_model(shipped_path, provider="cpu")
    image = np.random.default_rng(0).integers(0, 256, (3, 128, 128, 3), dtype=np.uint8)
    color = np.array([[255, 136, 0], [0, 0, 0], [1, 2, 3]], np.uint8)

    assert model.session.execution_provider == "CUDAExecutionProvider"
    difference = np.abs(model.run(image, color).astype(int) - reference.run(image, color))
    assert np.mean(difference <= 1) > 0.999
