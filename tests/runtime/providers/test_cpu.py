import numpy as np
import onnx
import pytest

from polyexport.errors import ContractError
from polyexport.runtime.onnxruntime_session import CPU
from polyexport.runtime.probe import ProviderStatus, probe_provider
from polyexport.runtime.providers.cpu import PROVIDER
from polyexport.runtime.session import SessionOptions


def test_it_works_everywhere() -> None:
    assert probe_provider("cpu") == ProviderStatus(name="cpu", execution_provider=CPU, works=True)


def test_it_takes_the_whole_graph(relu_model: onnx.ModelProto) -> None:
    session = PROVIDER.open(relu_model.SerializeToString(), SessionOptions())
    assert session.placement() == {CPU: {"Relu": 1}}
    assert session.run("y", {"x": np.array([-1, 2], np.float32)}).tolist() == [0, 2]


def test_a_graph_that_it_cannot_load_is_no_model(relu_model: onnx.ModelProto) -> None:
    relu_model.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(ContractError, match="not a whole ONNX model: .*NoSuchOperator"):
        PROVIDER.open(relu_model.SerializeToString(), SessionOptions())
