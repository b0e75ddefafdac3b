"""The inspection of a model file: its contract, and its graph in numbers. It needs the onnx package, no torch."""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from polyexport.errors import ContractError, PolyexportError, reason_of
from polyexport.model.contract import Contract
from polyexport.model.file import read_contract, read_model, refusals_named
from polyexport.model.loading.confinement import run_confined
from polyexport.model.loading.limits import DEFAULT_LIMITS, LoadLimits
from polyexport.model.macs import DENSE_OPERATORS, node_macs
from polyexport.model.model import Model
from polyexport.runtime.session import SessionOptions
from polyexport.storage.typed_json import build

if TYPE_CHECKING:
    import onnx

__all__ = ["GraphFacts", "Inspection", "Macs", "Tensor", "inspect_graph", "inspect_model"]

_REMEDY = "give a model that `polyexport export` wrote"

_NO_PARAMETERS = {
    "QuantizeLinear": (1, 2),  # scale and zero point
    "DequantizeLinear": (1, 2),
    "Resize": (1, 2, 3),  # region, scales and sizes
    "BatchNormalization": (3, 4),  # running mean and variance; PyTorch calls them buffers
}
"""Operands of these operators that hold numbers, but no trained weights."""

_UNCOUNTED = frozenset(
    (
        "Attention",
        "ConvInteger",
        "DeformConv",
        "Einsum",
        "GRU",
        "LSTM",
        "MatMulInteger",
        "QLinearConv",
        "QLinearMatMul",
        "RNN",
    )
)
"""Operators that multiply and accumulate as well, and that no exported model contains."""

Shape = tuple[int | None, ...]
"""Shape of a tensor; None where an extent is unknown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tensor:
    """An input or output of the graph."""

    name: str
    """Name of the tensor in the graph."""

    dtype: str
    """Type of the values in numpy's terms, such as ``uint8``."""

    shape: tuple[int | str, ...]
    """Shape; a name where the extent is free."""

    def __str__(self) -> str:
        return f"{self.dtype} [{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True, kw_only=True, slots=True)
class Macs:
    """Multiply-accumulates of one image in one color, counted as ``polyexport.model.macs`` says."""

    size: int
    """Height and width of the image, pixels."""

    total: int | None
    """Multiply-accumulates of the whole graph; None if they are unknown."""

    by_type: dict[str, int] = field(default_factory=dict)
    """Multiply-accumulates by operator; empty if they are unknown."""

    further_color: int | None = None
    """Multiply-accumulates of each further color of the same image in one call; None if the model takes one color."""

    unknown: str = ""
    """Reason why the multiply-accumulates are unknown; empty if they are known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """The findings about a model file that was loaded, and is consistent with itself."""

    path: Path
    """Path of the file."""

    size_bytes: int
    """Size of the file, bytes."""

    sha256: str
    """SHA-256 of the file, lowercase hex."""

    contract: Contract
    """Contract of the model."""

    golden_difference: float
    """Mean absolute difference, in levels, of the golden sample as this machine's CPU repeats it."""

    inputs: tuple[Tensor, ...]
    """Inputs of the graph."""

    outputs: tuple[Tensor, ...]
    """Outputs of the graph."""

    parameters: int
    """Number of elements of the stored tensors with at least one axis that a node computes with: floats, and integers
    that a DequantizeLinear turns into floats. Each tensor counts once. Scalars, scales and zero points of quantization,
    running means and variances, shapes and resize factors do not count."""

    initializer_bytes: int
    """Size of everything stored in the graph, bytes."""

    nodes: dict[str, int]
    """Number of nodes by operator, the most frequent first."""

    macs: Macs
    """Multiply-accumulates of one image."""

    @property
    def num_nodes(self) -> int:
        """Number of nodes of the graph, constants included."""
        return sum(self.nodes.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class GraphFacts:
    """The part of an inspection that takes a loaded graph. The fields are those of ``Inspection``."""

    golden_difference: float
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    parameters: int
    initializer_bytes: int
    nodes: dict[str, int]
    macs: Macs


def inspect_model(path: Path, *, limits: LoadLimits = DEFAULT_LIMITS) -> Inspection:
    """Load a model file as inference does, on the CPU, and count what is in it, in a process with limits.

    Args:
        path: a file that ``polyexport export`` wrote.
        limits: limits of the process, which is needed each time: to infer shapes is as costly as the graph wants it.

    Raises:
        ContractError: missing, damaged, without a contract, not what its contract says, or beyond the limits.
        PolyexportError: the onnx package is not installed, or no process can be started.
    """
    if find_spec("onnx") is None:
        raise PolyexportError(
            "this command needs the onnx package", remedy="install it with pip install 'polyexport[inspect]'"
        )
    data = read_model(path)
    with refusals_named(str(path)):
        contract = read_contract(data)
        answer = run_confined("inspect", data, limits.granted(len(data)))
        try:
            facts = build(GraphFacts, answer)
        except ValueError as error:
            raise ContractError(f"the process that inspected it answered nonsense: {error}", remedy=_REMEDY) from error
    return Inspection(
        path=path,
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        contract=contract,
        **{each.name: getattr(facts, each.name) for each in fields(facts)},
    )


def inspect_graph(data: bytes) -> GraphFacts:
    """Load a model and count what is in it, in this process and without limits.

    Args:
        data: bytes of a model file.

    Raises:
        ContractError: not what its contract says.
    """
    import onnx

    contract, golden_difference = _verified(data)
    try:
        parsed = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's own, stricter in Python than in ONNX Runtime
        raise ContractError(reason_of(error), remedy=_REMEDY) from error
    stored = _stored(parsed)
    return GraphFacts(
        golden_difference=golden_difference,
        inputs=tuple(map(_tensor, _inputs(parsed))),
        outputs=tuple(map(_tensor, parsed.graph.output)),
        parameters=_parameters(parsed, stored),
        initializer_bytes=sum(map(_size_bytes, stored.values())),
        nodes=dict(Counter(str(node.op_type) for node in parsed.graph.node).most_common()),
        macs=_macs(parsed, contract),  # last: it drops the weights
    )


def _verified(data: bytes) -> tuple[Contract, float]:
    """Load and check the model, and free its session, so that the weights are not held twice."""
    model = Model.from_bytes(data, SessionOptions(provider="cpu", threads=1))
    return model.contract, model.golden_difference


def _inputs(model: "onnx.ModelProto") -> list["onnx.ValueInfoProto"]:
    """Return the inputs without initializers, which old files list among them."""
    stored = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in stored]


def _tensor(value: "onnx.ValueInfoProto") -> Tensor:
    from onnx.helper import tensor_dtype_to_np_dtype

    kind = value.type.tensor_type
    return Tensor(
        name=value.name,
        dtype=tensor_dtype_to_np_dtype(kind.elem_type).name,
        shape=tuple(d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in kind.shape.dim),
    )


def _stored(model: "onnx.ModelProto") -> dict[str, "onnx.TensorProto"]:
    """Return initializers, and the tensors of Constant nodes, which some exporters write instead, by their name."""
    graph = model.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    tensors |= {sparse.values.name: sparse.values for sparse in graph.sparse_initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in (each for each in node.attribute if each.HasField("t")):
                tensors[node.output[0]] = attribute.t
    return tensors


def _size_bytes(tensor: "onnx.TensorProto") -> int:
    from onnx.helper import tensor_dtype_to_np_dtype

    itemsize = int(tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    return len(tensor.raw_data) or math.prod(tensor.dims) * itemsize


def _parameters(model: "onnx.ModelProto", stored: Mapping[str, "onnx.TensorProto"]) -> int:
    from onnx import TensorProto

    floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
    found = set()
    for node in model.graph.node:
        for operand, name in enumerate(node.input):
            tensor = stored.get(name)
            if tensor is None or not tensor.dims or operand in _NO_PARAMETERS.get(node.op_type, ()):
                continue
            if tensor.data_type in floats or node.op_type == "DequantizeLinear":
                found.add(name)
    return sum(math.prod(stored[name].dims) for name in found)


class _UnknownError(Exception):
    """The multiply-accumulates of a graph cannot be counted; the message says why."""


def _macs(model: "onnx.ModelProto", contract: Contract) -> Macs:
    """Count the multiply-accumulates. Drops the weights of ``model`` and sets the extents of its inputs."""
    _drop_weights(model)
    size = contract.training_size
    try:
        if not contract.many_colors:
            counts = _count(model, size)
            return Macs(size=size, total=sum(counts.values()), by_type=counts)
        counts = _count(model, size, 1)
        total = sum(counts.values())
        further = sum(_count(model, size, 2).values()) - total
    except _UnknownError as unknown:
        return Macs(size=size, total=None, unknown=str(unknown))
    return Macs(size=size, total=total, by_type=counts, further_color=further)


def _drop_weights(model: "onnx.ModelProto") -> None:
    """Remove the weights, because shape inference copies the model and reads only shapes and small integer tensors."""
    from onnx import TensorProto

    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.INT64 and math.prod(tensor.dims) > 64:
            tensor.ClearField("raw_data")
            tensor.ClearField("float_data")


def _count(model: "onnx.ModelProto", size: int, *num_colors: int) -> dict[str, int]:
    """Count the multiply-accumulates of one image by operator, in ``num_colors`` colors if the graph has that axis."""
    for node in model.graph.node:
        if node.op_type in _UNCOUNTED:
            raise _UnknownError(f"those of {node.op_type} are not known here")
    shapes = _shapes(model, size, *num_colors)
    counts = Counter(dict.fromkeys(DENSE_OPERATORS, 0))
    for node in model.graph.node:
        if node.op_type in DENSE_OPERATORS:
            counts[node.op_type] += _macs_of(node, shapes)
    return {operator: count for operator, count in counts.most_common() if count}


def _shapes(model: "onnx.ModelProto", size: int, *num_colors: int) -> dict[str, Shape]:
    """Return the shape of every tensor, found by shape inference with the input extents set."""
    from onnx import shape_inference

    graph = model.graph
    del graph.value_info[:]  # an exporter may have left the extents of another size there
    for value in _inputs(model):
        pictures = len(value.type.tensor_type.shape.dim) == 4  # batch, height, width, channels
        free = (1, size, size) if pictures else (1, *num_colors)
        for dimension, extent in zip(value.type.tensor_type.shape.dim, free, strict=False):
            dimension.dim_value = extent
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        inferred = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    except (shape_inference.InferenceError, ValueError, RuntimeError) as error:
        raise _UnknownError(f"shape inference: {reason_of(error)}") from error
    shapes: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in inferred.initializer}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        kind = value.type.tensor_type
        if kind.HasField("shape"):
            shapes[value.name] = tuple(d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)
    return shapes


def _macs_of(node: "onnx.NodeProto", shapes: Mapping[str, Shape]) -> int:
    first, second, output = (_extents(name, node, shapes) for name in (node.input[0], node.input[1], node.output[0]))
    transposed = any(each.name == "transA" and each.i for each in node.attribute)
    return node_macs(node.op_type, first, second, output, transposed=transposed)


def _extents(name: str, node: "onnx.NodeProto", shapes: Mapping[str, Shape]) -> tuple[int, ...]:
    shape = shapes.get(name, (None,))
    known = tuple(extent for extent in shape if extent is not None)
    if len(known) != len(shape):
        raise _UnknownError(f"shape inference cannot tell the shape of {name}, at a {node.op_type} node")
    return known
