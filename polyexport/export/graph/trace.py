"""PyTorch module -> ONNX graph with uint8 NHWC images in and out: traced, and then simplified."""

import contextlib
import gc
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import onnxsim
import torch
from torch import Tensor, nn

from polyexport.errors import ModelError, check_memory, reason_of
from polyexport.export.graph import foreign, operators
from polyexport.export.graph.inlining import inline_foreign
from polyexport.export.graph.norms import write_out_norms
from polyexport.export.graph.spectra import write_out_real_inverses
from polyexport.export.graph.user_code import cause_of
from polyexport.export.source.source import UNIT, Source
from polyexport.model.conditions.color_condition import COLOR_INPUT, EMBEDDING_INPUT, ColorCondition
from polyexport.model.conditions.condition import Condition
from polyexport.model.conditions.fields import Embedding
from polyexport.model.contract import IMAGE_INPUT

__all__ = [
    "OPSET",
    "Traced",
    "check_graph",
    "example_shape",
    "float_output",
    "simplify",
    "trace",
    "trace_encoder",
    "trace_with_fallback",
]

OPSET = 21
"""ONNX opset of exported graphs; ONNX Runtime reads it since version 1.18."""

_REMEDY = "nothing was written; mend the network, or report it if `forward` has nothing unusual"


@dataclass(frozen=True, kw_only=True, slots=True)
class Traced:
    """A graph as the exporter wrote it, but for its normalizations, and the PyTorch program that it stands for."""

    model: onnx.ModelProto
    program: torch.export.ExportedProgram
    """PyTorch program whose nodes have the names of the graph's tensors."""


def _dequantized(levels: Tensor, low: float, high: float) -> Tensor:
    scale, zero_point = torch.tensor((high - low) / 255), torch.tensor(0, dtype=torch.uint8)
    inputs = (levels, scale, zero_point)
    values = torch.onnx.ops.symbolic("DequantizeLinear", inputs, dtype=torch.float32, shape=levels.shape)
    return values + low if low else values


class _UInt8Wrapper(nn.Module):
    """Wrapper with uint8 NHWC inputs and outputs around a module that takes and gives float NCHW.

    Levels * (high - low) / 255 + low on the way in is DequantizeLinear and Add; round((y - low) * 255 / (high - low)),
    clipped to [0, 255], on the way out is Add and QuantizeLinear: a quarter of the bytes cross the bus, and no caller
    can get the scaling wrong. Only for tracing: the ONNX operators have no values in PyTorch.
    """

    def __init__(self, source: Source, conditions: Sequence[Condition[Any]]) -> None:
        super().__init__()
        embedded = any(isinstance(each, ColorCondition) and each.trained is not each for each in conditions)
        self.module = source.without_embedder() if embedded else source.module
        self.value_range = source.value_range
        self.output_range = source.output_range

    def forward(self, image: Tensor, *conditions: Tensor) -> Tensor:
        planes = _dequantized(image.permute(0, 3, 1, 2), *self.value_range)
        result = self.module(planes, *map(self._condition, conditions))
        low, high = self.output_range
        inputs = (result - low if low else result, torch.tensor((high - low) / 255), torch.tensor(0).to(torch.uint8))
        levels = torch.onnx.ops.symbolic("QuantizeLinear", inputs, dtype=torch.uint8, shape=result.shape)
        return levels.permute(0, 2, 3, 1)

    def _condition(self, value: Tensor) -> Tensor:
        if value.dtype != torch.uint8:
            return value
        return (
            _dequantized(value.permute(0, 3, 1, 2), *UNIT)
            if value.ndim == 4
            else _dequantized(value, *self.value_range)
        )


class _EncoderWrapper(nn.Module):
    """Wrapper around the color embedding: uint8 [B, 3] -> float32 [B, D]."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.module = source.embedder()
        self.value_range = source.value_range

    def forward(self, color: Tensor) -> Tensor:
        embedding: Tensor = self.module(_dequantized(color, *self.value_range))
        return embedding


def trace(source: Source, conditions: Sequence[Condition[Any]] | None = None) -> Traced:
    """Trace with dynamic batch, height and width, as far as the source says that they are free.

    Args:
        source: The network.
        conditions: Further inputs of the graph; the network's own conditions if None.

    Raises:
        ModelError: the tracer refuses the module; the message has its reason.
    """
    conditions = source.built_conditions() if conditions is None else conditions
    free: dict[int, Any] = {} if source.batch_one else {0: torch.export.Dim("batch")}
    extents: dict[int, Any] = {}
    if not source.fixed_size:
        multiple, least = source.size_multiple, -(-source.smallest_size // source.size_multiple)
        extents = {
            1: multiple * torch.export.Dim("rows", min=least),
            2: multiple * torch.export.Dim("columns", min=least),
        }
    count = 1 if source.batch_one else 2
    shape = example_shape(source)
    examples = [torch.zeros(count, *shape, source.image_channels, dtype=torch.uint8)]
    shapes: list[dict[int, Any]] = [free | extents]
    for condition in conditions:
        row = condition.row_shape if condition.textual else (*shape, condition.fields.channels)
        examples.append(torch.from_numpy(np.zeros((count, *row), condition.dtype)))
        shapes.append(free if condition.textual else free | extents)
    names = [IMAGE_INPUT, *(condition.name for condition in conditions)]
    return _export(
        _UInt8Wrapper(source, conditions),
        tuple(examples),
        {"image": shapes[0]} | ({"conditions": tuple(shapes[1:])} if conditions else {}),
        names,
        source.output_name,
    )


def _check_free(model: onnx.ModelProto, source: Source) -> None:
    """Check that the tracer left free what was asked to be; it may freeze an extent and say nothing.

    Raises:
        ModelError: an extent of the image is frozen.
    """
    image = next(value for value in model.graph.input if value.name == IMAGE_INPUT)
    extents = image.type.tensor_type.shape.dim
    asked = [axis for axis, kept in ((0, source.batch_one), (1, source.fixed_size), (2, source.fixed_size)) if not kept]
    frozen = [axis for axis in asked if extents[axis].HasField("dim_value")]
    if frozen:
        what = "its batch" if frozen[0] == 0 else "the size of its image"
        raise ModelError(
            f"the network cannot be exported: its trace freezes {what} at {extents[frozen[0]].dim_value}",
            remedy=_REMEDY,
        )


def example_shape(source: Source) -> tuple[int, int]:
    """Return the height and width that a network is traced with, pixels.

    Two different extents of more than one multiple, so that none is taken for a constant; the one size of a network
    that takes no other.
    """
    if source.fixed_shape is not None:
        return source.fixed_shape
    multiple = source.size_multiple
    count = max(2, -(-source.smallest_size // multiple))
    return count * multiple, (count + 1) * multiple


def trace_with_fallback(source: Source, embedding: Embedding | None = None) -> tuple[Source, Traced]:
    """Trace a network as freely as it lets itself be traced.

    A loop over the images of a batch, or a shape that is read as a number, freezes an extent. Then the graph takes one
    image at a time, and if that does not help, images of the training size alone.

    Args:
        source: The network.
        embedding: Source of the vectors that the graph takes in place of a color; None for the color itself.

    Returns:
        The source as it was traced, with a remark if something was frozen, and its trace.

    Raises:
        ModelError: the tracer refuses the module in every way; the message has its first reason.
    """
    refusal: ModelError | None = None
    for batch_one, fixed_size, remark in _FALLBACKS:
        if remark and batch_one <= source.batch_one and fixed_size <= source.fixed_size:
            continue  # no less than what was tried
        attempt = replace(
            source,
            batch_one=source.batch_one or batch_one,
            fixed_size=source.fixed_size or fixed_size,
            remarks=(*source.remarks, remark) if remark else source.remarks,
        )
        try:
            traced = trace(attempt, attempt.built_conditions(embedding))
            _check_free(traced.model, attempt)
        except ModelError as error:
            refusal = refusal or error
        else:
            return attempt, traced
    assert refusal is not None
    raise refusal


_FALLBACKS = (
    (False, False, ""),
    (True, False, "its trace freezes the batch, so the graph takes one image at a time"),
    (False, True, "its trace freezes the size of the image, so the graph takes the training size alone"),
    (True, True, "its trace freezes batch and size, so the graph takes one image of the training size at a time"),
)
"""Whether the graph takes one image at a time, whether it takes one size, and what the user is told."""


def trace_encoder(source: Source) -> onnx.ModelProto:
    """Trace the submodule that embeds a color: ``color`` uint8 [batch, 3] -> ``color_embedding`` float32 [batch, D].

    Raises:
        ModelError: the tracer or the checker refuses it.
    """
    example = torch.zeros(2, 3, dtype=torch.uint8)
    shapes = {"color": {0: torch.export.Dim("batch")}}
    return simplify(_export(_EncoderWrapper(source), (example,), shapes, [COLOR_INPUT], EMBEDDING_INPUT).model)


def _export(
    wrapper: nn.Module,
    example: tuple[Tensor, ...],
    shapes: dict[str, Any],
    inputs: list[str],
    output: str,
) -> Traced:
    try:
        # The cache of fake tensors triples the time with free sizes.
        with _quiet(), _uncollected(), torch._dynamo.config.patch(fake_tensor_cache_enabled=False):
            program = torch.onnx.export(
                wrapper.eval(),
                example,
                dynamo=True,
                input_names=inputs,
                output_names=[output],
                dynamic_shapes=shapes,
                opset_version=OPSET,
                custom_translation_table=operators.translations() | foreign.translations(),
                verbose=False,
            )
    except Exception as error:
        check_memory(error, "tracing the network")
        raise ModelError(f"the network cannot be exported: {cause_of(error)}", remedy=_REMEDY) from error
    assert program is not None
    assert program.exported_program is not None
    # The normalizations of a foreign graph stay as they are: its reference computes them in the same way.
    model = inline_foreign(write_out_norms(write_out_real_inverses(program.model_proto)))
    return Traced(model=model, program=program.exported_program)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Pause the collection of garbage, which takes up to a tenth of the time of a trace."""
    paused = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if paused:
            gc.enable()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    exporter_log = logging.getLogger("torch.onnx")
    level = exporter_log.level
    exporter_log.setLevel(logging.ERROR)  # it warns that torchvision is absent
    try:
        # It writes whole programs to stderr where it fails, and the error says it in one line.
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")  # deprecations inside the exporter itself
            yield
    finally:
        exporter_log.setLevel(level)


def simplify(traced: onnx.ModelProto) -> onnx.ModelProto:
    """Run onnxsim, remove traces of the exporting machine such as paths, and check the graph.

    Raises:
        ModelError: the simplifier or the checker refuses it.
    """
    try:
        simplified: onnx.ModelProto
        simplified, same = onnxsim.simplify(traced)
    except Exception as error:
        check_memory(error, "simplifying the graph")
        raise ModelError(f"the graph cannot be simplified: {reason_of(error)}", remedy=_REMEDY) from error
    if not same:
        raise ModelError("the simplified graph is not the traced one", remedy=_REMEDY)
    _strip(simplified)
    check_graph(simplified)
    return simplified


def check_graph(model: onnx.ModelProto) -> None:
    """Check types, shapes and operators of a graph.

    Raises:
        ModelError: it is not valid ONNX.
    """
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"the exported graph is not valid ONNX: {reason_of(error)}", remedy=_REMEDY) from error


_AXES = ("batch", "height", "width")


def _strip(model: onnx.ModelProto) -> None:
    """Remove source lines and paths of this machine, and the statistics of the simplifier."""
    del model.metadata_props[:]
    model.doc_string = ""
    graph = model.graph
    graph.doc_string = ""
    del graph.metadata_props[:]
    for holder in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        holder.doc_string = ""
        del holder.metadata_props[:]
    graph.name = "polyexport"
    known = {dimension.dim_param for value in graph.input for dimension in value.type.tensor_type.shape.dim}
    for value in (*graph.input, *graph.output):
        extents = value.type.tensor_type.shape.dim
        for dimension, name in zip(extents, _AXES, strict=False):
            if not dimension.HasField("dim_value"):
                changed = name != "batch" and dimension.dim_param not in ("", *known)
                dimension.dim_param = f"result_{name}" if changed else name
    del graph.value_info[:]  # symbolic shapes in the tracer's names; ONNX Runtime infers shapes again


def float_output(model: onnx.ModelProto, source: Source) -> str:
    """Name of the network's own output: the float tensor before it is shifted and quantized.

    Raises:
        ModelError: the graph does not end as it was written.
    """
    producers = {output: node for node in model.graph.node for output in node.output}
    node = producers[source.output_name]
    while node.op_type in ("Transpose", "Reshape"):
        node = producers[node.input[0]]
    if node.op_type != "QuantizeLinear":
        raise ModelError(f"the graph ends in {node.op_type} where QuantizeLinear was written", remedy=_REMEDY)
    name = str(node.input[0])
    if not source.output_range[0]:
        return name
    constants = {initializer.name for initializer in model.graph.initializer}
    node = producers[name]
    operands = [operand for operand in node.input if operand not in constants]
    if node.op_type not in ("Add", "Sub") or len(operands) != 1:
        raise ModelError(f"the graph ends in {node.op_type} where a shift was written", remedy=_REMEDY)
    return str(operands[0])
