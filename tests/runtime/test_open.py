import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import external_data_helper, helper, numpy_helper

from polyexport.errors import ContractError, ProviderError
from polyexport.model.model import load_model
from polyexport.runtime import open as module
from polyexport.runtime.onnxruntime_session import CpuSession
from polyexport.runtime.open import open_session
from polyexport.runtime.probe import _PROBE_MODEL as PROBE
from polyexport.runtime.probe import ProviderStatus, probe_provider
from polyexport.runtime.provider_options import CPU
from polyexport.runtime.session import InputRange, Session, SessionOptions

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
def test_auto_falls_back_and_says_why(relu_model: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AUTO_ORDER", ("cuda", "cpu"))
    session = open_session(relu_model.SerializeToString(), SessionOptions(provider="auto"))

    assert session.execution_provider == CPU
    assert session.fallback_reason.startswith("cuda: ")
    assert "cannot be used" not in session.fallback_reason


@no_cuda
def test_a_session_that_onnx_runtime_quietly_moved_to_the_cpu_is_refused(
    relu_model: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The probe is fooled; the session itself is what ONNX Runtime really gives here: a CPU one.
    works = ProviderStatus(name="cuda", execution_provider="CUDAExecutionProvider", works=True)
    monkeypatch.setattr(module, "probe_provider", lambda name: works)
    with pytest.raises(ProviderError, match="gave CPUExecutionProvider"):
        open_session(relu_model.SerializeToString(), SessionOptions(provider="cuda"))


def astray(monkeypatch: pytest.MonkeyPatch, placement: dict[str, dict[str, int]], model: bytes) -> str:
    """What is said of a session on CUDA whose nodes landed there; nothing if it is taken."""
    works = ProviderStatus(name="cuda", execution_provider="CUDAExecutionProvider", works=True)
    monkeypatch.setattr(module, "probe_provider", lambda name: works)

    def create(*arguments: object, **keywords: object) -> CpuSession:
        session = CpuSession(ort.InferenceSession(model, providers=[CPU]))
        monkeypatch.setattr(CpuSession, "execution_provider", "CUDAExecutionProvider")
        monkeypatch.setattr(CpuSession, "placement", lambda session: placement)
        return session

    monkeypatch.setattr(module, "create_session", create)
    try:
        open_session(model, SessionOptions(provider="cuda"))
    except ProviderError as error:
        return error.message
    return ""


@pytest.mark.parametrize(
    ("elsewhere", "said"),
    [
        ({"MatMul": 1}, "1 MatMul"),
        ({"Conv": 2, "Resize": 1, "Shape": 9}, "2 Conv, 1 Resize"),
        ({"QuantizeLinear": 1, "Shape": 4}, ""),
        ({"QuantizeLinear": 2}, "2 QuantizeLinear"),
        ({}, ""),
    ],
)
def test_heavy_nodes_elsewhere_are_a_silent_fallback_in_parts(
    relu_model: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch, elsewhere: dict[str, int], said: str
) -> None:
    placement = {"CUDAExecutionProvider": {"Conv": 19}, CPU: elsewhere}
    message = astray(monkeypatch, placement, relu_model.SerializeToString())
    assert message == (f"cuda left nodes to other providers: {said}" if said else "")


def test_nodes_count_as_astray_wherever_they_are(relu_model: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    placement = {"CUDAExecutionProvider": {}, CPU: {"Conv": 1}, "OtherExecutionProvider": {"Conv": 2}}
    assert "3 Conv" in astray(monkeypatch, placement, relu_model.SerializeToString())


def test_auto_goes_on_when_a_session_is_not_accepted(
    relu_model: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a provider does not repeat the golden sample of a model file."""
    if not probe_provider("openvino").works:
        pytest.skip("no OpenVINO")
    monkeypatch.setattr(module, "AUTO_ORDER", ("openvino", "cpu"))
    seen: list[str] = []

    def accept(session: Session) -> None:
        seen.append(session.execution_provider)
        if session.execution_provider != CPU:
            raise ContractError("its golden sample comes out 9 levels off", remedy="")

    session = open_session(relu_model.SerializeToString(), SessionOptions(), accept=accept)
    assert seen == ["OpenVINO", CPU]
    assert session.execution_provider == CPU
    assert session.fallback_reason == "openvino: its golden sample comes out 9 levels off"
    with pytest.raises(ContractError, match="golden"):
        open_session(relu_model.SerializeToString(), SessionOptions(provider="openvino"), accept=accept)


def test_the_metadata_is_that_of_the_bytes(relu_model: onnx.ModelProto) -> None:
    helper.set_model_props(relu_model, {"a": "1", "b": "\N{SNOWMAN}"})
    session = open_session(relu_model.SerializeToString(), SessionOptions(provider="cpu"))
    assert session.metadata == {"a": "1", "b": "\N{SNOWMAN}"}
    with pytest.raises(ContractError, match="not UTF-8"):
        open_session(
            relu_model.SerializeToString().replace("\N{SNOWMAN}".encode(), b"\xff\xff\xff"),
            SessionOptions(provider="cpu"),
        )


def test_importing_sessions_loads_neither_openvino_nor_the_plugin() -> None:
    code = (
        "import sys, polyexport.runtime.open as s\n"
        "s.open_session(bytes.fromhex('" + PROBE.hex() + "'), s.SessionOptions(provider='cpu'))\n"
        "assert not {'openvino', 'openvino_telemetry', 'onnxruntime_ep_webgpu'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "values", [{"provider": "gpu"}, {"threads": -1}, {"images": -1}, {"device_id": -1}, {"streams": 0}]
)
def test_options_are_checked_when_built(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        SessionOptions(**values)  # type: ignore[arg-type]


def test_streams_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyexport.runtime.session.granted_cores", lambda: 8)
    assert SessionOptions().granted_threads == 8
    assert SessionOptions(streams=3).granted_threads == 2
    assert SessionOptions(streams=16).granted_threads == 1
    assert SessionOptions(streams=4, threads=3).granted_threads == 3


@pytest.mark.parametrize(("smallest", "largest"), [((1,), (1, 2)), ((2,), (1,)), ((0,), (1,))])
def test_a_range_of_shapes_is_checked_when_built(smallest: tuple[int, ...], largest: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="image"):
        InputRange(name="image", smallest=smallest, largest=largest)


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


@pytest.mark.gpu
def test_cuda_takes_the_whole_graph_and_equals_the_cpu(shipped_path: Path) -> None:
    model = load_model(shipped_path, provider="cuda")
    reference = load_model(shipped_path, provider="cpu")
    image = np.random.default_rng(0).integers(0, 256, (3, 128, 128, 3), dtype=np.uint8)
    color = np.array([[255, 136, 0], [0, 0, 0], [1, 2, 3]], np.uint8)

    assert model.session.execution_provider == "CUDAExecutionProvider"
    difference = np.abs(model.run(image, color).astype(int) - reference.run(image, color))
    assert np.mean(difference <= 1) > 0.999
