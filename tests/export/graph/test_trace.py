from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from polyexport.errors import ModelError, OutOfMemoryError
from polyexport.export.graph.trace import OPSET, float_output, simplify, trace, trace_encoder
from polyexport.export.source.load import load_source
from polyexport.export.source.source import Source
from polyexport.model.conditions.color_condition import EMBEDDING_INPUT
from polyexport.model.conditions.fields import ColorFields, Embedding
from polyexport.model.contract import COLORED
from polyexport.runtime.open import open_session
from polyexport.runtime.session import SessionOptions


@pytest.fixture(scope="module")
def source(tiny_checkpoint: Path) -> Source:
    return load_source(tiny_checkpoint)


@pytest.fixture(scope="module")
def traced(source: Source) -> onnx.ModelProto:
    return trace(source).model


@pytest.fixture(scope="module")
def graph(traced: onnx.ModelProto) -> onnx.ModelProto:
    return simplify(traced)


def shape(value: onnx.ValueInfoProto) -> list[str | int]:
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


def test_inputs_and_outputs_are_the_contracts(graph: onnx.ModelProto) -> None:
    proto = graph.graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*proto.input, *proto.output)}

    assert kinds == dict.fromkeys(("image", "color", "colored"), onnx.TensorProto.UINT8)
    assert [shape(value) for value in proto.input] == [["batch", "height", "width", 3], ["batch", 3]]
    assert shape(proto.output[0]) == ["batch", "height", "width", 3]
    assert graph.opset_import[0].version == OPSET


def test_no_shape_arithmetic_no_batch_norm_and_no_cast_is_left(graph: onnx.ModelProto, traced: onnx.ModelProto) -> None:
    operators = {node.op_type for node in graph.graph.node}
    assert not operators & {"Shape", "Gather", "Cast", "BatchNormalization", "Identity"}
    assert len(graph.graph.node) <= len(traced.graph.node)


def test_nothing_of_the_exporting_machine_is_in_the_file(graph: onnx.ModelProto) -> None:
    data = graph.SerializeToString()
    for trace_of_it in (str(Path(__file__).parents[3]), "site-packages", ".py", "stack_trace"):
        assert trace_of_it.encode() not in data


def test_batch_norm_is_folded_not_dropped(graph: onnx.ModelProto) -> None:
    convolutions = [node for node in graph.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 11
    assert all(len(node.input) == 3 for node in convolutions)


def test_the_float_output_is_the_networks_own(graph: onnx.ModelProto, source: Source) -> None:
    producer = next(node for node in graph.graph.node if float_output(graph, source) in node.output)
    assert producer.op_type == "Tanh"


def test_a_graph_with_another_end_is_refused(source: Source) -> None:
    end = onnx.helper.make_node("Relu", ["x"], [COLORED])
    with pytest.raises(ModelError, match="ends in Relu"):
        float_output(onnx.helper.make_model(onnx.helper.make_graph([end], "g", [], [])), source)


@pytest.mark.slow
def test_the_embedding_as_second_input(source: Source) -> None:
    conditions = source.built_conditions(Embedding(dim=5, encoder="AAAA"))
    graph = simplify(trace(source, conditions).model)
    (color,) = [value for value in graph.graph.input if value.name == EMBEDDING_INPUT]
    assert shape(color) == ["batch", 5]
    assert color.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert not {node.op_type for node in graph.graph.node} & {"Log"}  # the encoder is outside


def test_the_encoder_alone(source: Source) -> None:
    colors = np.array([[255, 0, 3], [7, 8, 9]], np.uint8)
    session = open_session(trace_encoder(source).SerializeToString(), SessionOptions(provider="cpu"))
    with torch.inference_mode():
        encoder = source.module.get_submodule("color_embedding")
        true = encoder(source.scaled(torch.from_numpy(colors))).numpy()
    assert np.abs(session.run(EMBEDDING_INPUT, {"color": colors}) - true).max() < 1e-5


def network(forward: Callable[[Tensor, Tensor], Tensor]) -> Source:
    class Network(nn.Module):
        def forward(self, image: Tensor, color: Tensor) -> Tensor:
            return forward(image, color)

    return Source(
        module=Network(),
        conditions=(ColorFields(conditioning="rgb"),),
        value_range=(0.0, 1.0),
        output_range=(0.0, 1.0),
        size_multiple=4,
        training_size=16,
        network="test",
        sha256="0" * 64,
    )


def run(source: Source, image: np.ndarray, color: np.ndarray) -> np.ndarray:
    session = open_session(simplify(trace(source).model).SerializeToString(), SessionOptions(provider="cpu"))
    return session.run(COLORED, {"image": image, "color": color})


@pytest.mark.slow
def test_values_from_0_to_1_are_scaled_without_a_shift() -> None:
    source = network(lambda image, color: image * 1.0 + color[:, :, None, None] * 0.0)
    image = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    assert np.array_equal(run(source, image, np.zeros((1, 3), np.uint8)), image)
    assert not {node.op_type for node in trace(source).model.graph.node} & {"Sub"}


def test_what_leaves_the_range_saturates() -> None:
    source = network(lambda image, color: image * 4 - 2 + color[:, :, None, None] * 0.0)
    image = np.full((1, 16, 16, 3), (0, 128, 255), np.uint8)
    assert run(source, image, np.zeros((1, 3), np.uint8))[0, 0, 0].tolist() == [0, 2, 255]


def test_a_module_that_cannot_be_traced_is_refused_in_one_line() -> None:
    with pytest.raises(ModelError, match="cannot be exported") as caught:
        trace(network(lambda image, color: image if image.sum() > 0 else -image))
    assert "\n" not in str(caught.value)


def test_an_operator_without_an_onnx_counterpart_is_named() -> None:
    with pytest.raises(ModelError, match="lgamma") as caught:
        trace(network(lambda image, color: torch.special.gammaln(image + 1) + torch.lgamma(color)[:, :, None, None]))
    assert "\n" not in str(caught.value)


def test_a_lack_of_memory_is_not_called_a_fault_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> None:
        raise MemoryError("std::bad_alloc")

    monkeypatch.setattr("onnxsim.simplify", full)
    with pytest.raises(OutOfMemoryError, match="while simplifying the graph"):
        simplify(onnx.ModelProto())
