import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyexport.errors import ContractError, ProviderError
from polyexport.runtime import open as module
from polyexport.runtime.onnxruntime_session import CPU, CpuSession
from polyexport.runtime.open import open_session
from polyexport.runtime.probe import PROBE_MODEL, ProviderStatus, probe_provider
from polyexport.runtime.provider import load_provider
from polyexport.runtime.session import Session, SessionOptions

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
    monkeypatch.setattr(module, "auto_order", lambda: (load_provider("cuda"), load_provider("cpu")))
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


def message_of_misplaced_nodes(
    monkeypatch: pytest.MonkeyPatch, placement: dict[str, dict[str, int]], model: bytes
) -> str:
    """The error for a session on CUDA whose nodes landed there; empty if the session is accepted."""
    works = ProviderStatus(name="cuda", execution_provider="CUDAExecutionProvider", works=True)
    monkeypatch.setattr(module, "probe_provider", lambda name: works)

    def create(*arguments: object, **keywords: object) -> CpuSession:
        session = CpuSession(ort.InferenceSession(model, providers=[CPU]))
        monkeypatch.setattr(CpuSession, "execution_provider", "CUDAExecutionProvider")
        monkeypatch.setattr(CpuSession, "placement", lambda session: placement)
        return session

    monkeypatch.setattr(load_provider("cuda"), "open", create)
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
    message = message_of_misplaced_nodes(monkeypatch, placement, relu_model.SerializeToString())
    assert message == (f"cuda left nodes to other providers: {said}" if said else "")


def test_misplaced_nodes_count_wherever_they_are(relu_model: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    placement = {"CUDAExecutionProvider": {}, CPU: {"Conv": 1}, "OtherExecutionProvider": {"Conv": 2}}
    assert "3 Conv" in message_of_misplaced_nodes(monkeypatch, placement, relu_model.SerializeToString())


def test_auto_goes_on_when_a_session_is_not_accepted(
    relu_model: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session is refused, for example, if it does not repeat the golden sample of a model file."""
    if not probe_provider("openvino").works:
        pytest.skip("no OpenVINO")
    monkeypatch.setattr(module, "auto_order", lambda: (load_provider("openvino"), load_provider("cpu")))
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


def test_an_exception_of_a_driver_is_an_error_with_the_remedy(
    relu_model: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(model: bytes, options: SessionOptions) -> Session:
        raise RuntimeError("out of device memory\nand a second line")

    works = ProviderStatus(name="cuda", execution_provider="CUDAExecutionProvider", works=True)
    monkeypatch.setattr(module, "probe_provider", lambda name: works)
    monkeypatch.setattr(load_provider("cuda"), "open", fails)
    with pytest.raises(ProviderError, match="^cuda could not load the model: out of device memory; install"):
        open_session(relu_model.SerializeToString(), SessionOptions(provider="cuda"))


def test_bytes_that_are_cut_off_are_refused_whatever_the_provider(relu_model: onnx.ModelProto) -> None:
    with pytest.raises(ContractError, match="not a whole ONNX model"):
        open_session(relu_model.SerializeToString()[:-3], SessionOptions(provider="cuda"))


def test_importing_sessions_loads_neither_openvino_nor_the_plugin() -> None:
    code = (
        "import sys\n"
        "from polyexport.runtime.open import open_session\n"
        "from polyexport.runtime.provider import all_providers\n"
        "from polyexport.runtime.session import SessionOptions\n"
        "assert len(all_providers()) > 1\n"
        "open_session(bytes.fromhex('" + PROBE_MODEL.hex() + "'), SessionOptions(provider='cpu'))\n"
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


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_model_are_refused(data: bytes) -> None:
    with pytest.raises(ContractError):
        open_session(data, SessionOptions(provider="cpu"))
