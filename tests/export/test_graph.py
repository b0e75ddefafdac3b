from pathlib import Path

import onnx
import pytest
from torch import Tensor, nn

from polyexport.errors import ModelError
from polyexport.export.graph import OPSET, ExportedGraph, export_graph
from polyexport.export.source import Source, load_source


@pytest.fixture(scope="module")
def graph(tiny_checkpoint: Path) -> ExportedGraph:
    return export_graph(load_source(tiny_checkpoint))


def shape(value: onnx.ValueInfoProto) -> list[str | int]:
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


def test_inputs_and_outputs_are_the_contracts(graph: ExportedGraph) -> None:
    proto = graph.model.graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*proto.input, *proto.output)}

    assert kinds == dict.fromkeys(("image", "color", "colored"), onnx.TensorProto.UINT8)
    assert [shape(value) for value in proto.input] == [["batch", "height", "width", 3], ["batch", 3]]
    assert shape(proto.output[0]) == ["batch", "height", "width", 3]
    assert graph.model.opset_import[0].version == OPSET


def test_no_shape_arithmetic_no_batch_norm_and_no_cast_is_left(graph: ExportedGraph) -> None:
    operators = {node.op_type for node in graph.model.graph.node}
    assert not operators & {"Shape", "Gather", "Cast", "BatchNormalization", "Identity"}
    assert graph.nodes_after == len(graph.model.graph.node) <= graph.nodes_before


def test_nothing_of_the_exporting_machine_is_in_the_file(graph: ExportedGraph) -> None:
    data = graph.model.SerializeToString()
    for trace in (str(Path(__file__).parents[2]), "site-packages", ".py", "stack_trace"):
        assert trace.encode() not in data


class Branching(nn.Module):
    def forward(self, image: Tensor, color: Tensor) -> Tensor:
        return image if image.sum() > 0 else -image


def test_a_module_that_cannot_be_traced_is_refused_in_one_line() -> None:
    source = Source(
        module=Branching(), conditioning="rgb", palette=(), size_multiple=4, training_size=16, sha256="0" * 64
    )
    with pytest.raises(ModelError, match="cannot be exported") as caught:
        export_graph(source)
    assert "\n" not in str(caught.value)


def test_batch_norm_is_folded_not_dropped(graph: ExportedGraph) -> None:
    convolutions = [node for node in graph.model.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 11
    assert all(len(node.input) == 3 for node in convolutions)
