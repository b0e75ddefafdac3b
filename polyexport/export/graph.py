"""PyTorch module -> simplified ONNX graph with uint8 NHWC images in and out."""

import contextlib
import io
import logging
import warnings
from dataclasses import dataclass

import onnx
import onnxsim
import torch
from torch import Tensor, nn

from polyexport.contract import COLOR_INPUT, COLORED, IMAGE_INPUT
from polyexport.errors import ModelError, reason_of
from polyexport.export.source import Source

__all__ = ["OPSET", "ExportedGraph", "export_graph"]

OPSET = 21
"""Read by every ONNX Runtime since 1.18."""

_REMEDY = "this is a fault of the export, not of your call; report it with the checkpoint"


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportedGraph:
    """A checked graph without metadata."""

    model: onnx.ModelProto
    float_output: str
    """Name of the tensor in [-1, 1] before it is shifted and quantized."""

    nodes_before: int
    """Before simplification."""

    nodes_after: int


class _UInt8Wrapper(nn.Module):
    """uint8 NHWC in and out around a module that takes and gives float NCHW in [-1, 1].

    x / 127.5 - 1 on the way in is DequantizeLinear and Sub; round((y + 1) * 127.5), clipped to [0, 255], on the way out
    is Add and QuantizeLinear: a quarter of the bytes cross the bus, and no caller can get the scaling wrong. Only for
    tracing: the ONNX operators have no values in PyTorch.
    """

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.module = source.module
        self.rgb = source.conditioning == "rgb"

    def forward(self, image: Tensor, color: Tensor) -> Tensor:
        scale = torch.tensor(1 / 127.5)
        zero_point = torch.tensor(0, dtype=torch.uint8)

        def dequantize(levels: Tensor) -> Tensor:
            inputs = (levels, scale, zero_point)
            return torch.onnx.ops.symbolic("DequantizeLinear", inputs, dtype=torch.float32, shape=levels.shape) - 1

        planes = dequantize(image.permute(0, 3, 1, 2))
        colored = self.module(planes, dequantize(color) if self.rgb else color) + 1
        levels = torch.onnx.ops.symbolic(
            "QuantizeLinear", (colored, scale, zero_point), dtype=torch.uint8, shape=colored.shape
        )
        return levels.permute(0, 2, 3, 1)


def export_graph(source: Source) -> ExportedGraph:
    """Trace, simplify and check, with dynamic batch, height and width.

    Raises:
        ModelError: the tracer, the simplifier or the checker refuses the module.
    """
    try:
        traced = _trace(source)
        simplified, same = onnxsim.simplify(traced)
    except Exception as error:
        raise ModelError(f"the network cannot be exported: {reason_of(error)}", remedy=_REMEDY) from error
    if not same:
        raise ModelError("the simplified graph is not the traced one", remedy=_REMEDY)
    _strip(simplified)
    try:
        onnx.checker.check_model(simplified, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"the exported graph is not valid ONNX: {error}", remedy=_REMEDY) from error
    return ExportedGraph(
        model=simplified,
        float_output=_float_output(simplified),
        nodes_before=len(traced.graph.node),
        nodes_after=len(simplified.graph.node),
    )


def _trace(source: Source) -> onnx.ModelProto:
    multiple = source.size_multiple
    batch = torch.export.Dim("batch")
    # The traced example has three different extents of more than one, so that none is taken for a constant.
    image = torch.zeros(2, 2 * multiple, 3 * multiple, 3, dtype=torch.uint8)
    color = torch.zeros(2, 3, dtype=torch.uint8) if source.conditioning == "rgb" else torch.zeros(2, dtype=torch.int64)
    height, width = torch.export.Dim("rows", min=1), torch.export.Dim("columns", min=1)
    shapes = {"image": {0: batch, 1: multiple * height, 2: multiple * width}, "color": {0: batch}}
    exporter_log = logging.getLogger("torch.onnx")
    level = exporter_log.level
    exporter_log.setLevel(logging.ERROR)  # it warns that torchvision is absent
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # deprecations inside the exporter itself
            program = torch.onnx.export(
                _UInt8Wrapper(source).eval(),
                (image, color),
                dynamo=True,
                input_names=[IMAGE_INPUT, COLOR_INPUT],
                output_names=[COLORED],
                dynamic_shapes=shapes,
                opset_version=OPSET,
                verbose=False,
            )
    finally:
        exporter_log.setLevel(level)
    assert program is not None
    return program.model_proto


def _strip(model: onnx.ModelProto) -> None:
    """Drop what the tools left behind: source lines and paths of this machine, statistics of the simplifier."""
    del model.metadata_props[:]
    model.doc_string = ""
    graph = model.graph
    graph.doc_string = ""
    del graph.metadata_props[:]
    for holder in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        holder.doc_string = ""
        del holder.metadata_props[:]
    graph.name = "polyexport"
    for value, extents in (
        (graph.input[0], ("batch", "height", "width")),
        (graph.output[0], ("batch", "height", "width")),
    ):
        for dimension, name in zip(value.type.tensor_type.shape.dim, extents, strict=False):
            dimension.dim_param = name
    del graph.value_info[:]  # their symbolic shapes speak of the tracer's names; ONNX Runtime infers them again


def _float_output(model: onnx.ModelProto) -> str:
    producers = {output: node for node in model.graph.node for output in node.output}
    node = producers[COLORED]
    for operator in ("Transpose", "QuantizeLinear", "Add"):
        if node.op_type != operator:
            raise ModelError(f"the graph ends in {node.op_type} where {operator} was written", remedy=_REMEDY)
        name = str(node.input[0])
        node = producers[name]
    return name
