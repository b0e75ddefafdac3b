"""Reading of a foreign ONNX file: untrusted bytes become a checked graph, and a session that runs the file as it is."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx.inliner
import onnxruntime as ort
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto

from polyexport.errors import ContractError, ModelError, check_memory, reason_of
from polyexport.export.graph.foreign import FATAL_SEVERITY
from polyexport.export.graph.inlining import OWN_DOMAINS
from polyexport.export.graph.widening import holds_float16, widened
from polyexport.model.contract import METADATA_KEY
from polyexport.model.loading.confinement import run_confined
from polyexport.model.loading.limits import LoadLimits
from polyexport.runtime.graph_limits import refuse_unbounded
from polyexport.runtime.onnx_bytes import metadata_props, refuse_incomplete
from polyexport.storage.files import read_limited

__all__ = ["OnnxFile", "OnnxValue", "read_onnx_file"]

_MAX_BYTES = (1 << 31) - 1  # of one protobuf message
_MAX_NODES = 200_000
"""Largest number of nodes after functions are inlined. Functions that call functions can double at every level."""

_LOAD_S = 60.0
_LOAD_MIB = 1024
"""Processor time and memory, beside eight times the file, that loading may take; most of it are constants."""

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class OnnxValue:
    """An input or output of a graph."""

    name: str
    dtype: str
    """Type of its values in numpy's words, such as ``float32``; ONNX Runtime's own word for any other."""

    shape: tuple[int | None, ...]
    """Its extents; None for one that the file leaves free."""

    def __str__(self) -> str:
        extents = ", ".join("?" if extent is None else str(extent) for extent in self.shape)
        shown = self.name if self.name.isprintable() else ascii(self.name)
        return f"{shown[:60]} {self.dtype} [{extents}]"


@dataclass(frozen=True, kw_only=True, slots=True)
class OnnxFile:
    """A foreign ONNX file that was read and checked."""

    path: Path
    sha256: str
    """SHA-256 of the file, lowercase hex."""

    model: ModelProto
    """Its graph, with functions inlined, and float32 in the place of float16."""

    session: ort.InferenceSession
    """Session on ONNX Runtime's CPU provider: on the bytes of the file, or on its graph in float32."""

    float16_session: ort.InferenceSession | None
    """Session on the bytes of a file that holds float16; None for any other."""

    inputs: tuple[OnnxValue, ...]
    """The inputs that every call has to give: not those that have a value in the file."""

    outputs: tuple[OnnxValue, ...]


def read_onnx_file(path: Path) -> OnnxFile:
    """Read a foreign ONNX file of at most 2 GiB.

    Raises:
        ModelError: unreadable or damaged, a model file of polyexport, with data in other files, with operators of other
            domains than ONNX's own or with subgraphs, or refused by ONNX's checker or by ONNX Runtime.
    """
    try:
        data = read_limited(path, _MAX_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or reason_of(error)
        raise ModelError(f"{path} cannot be read ({reason})", remedy="give an ONNX file of at most 2 GiB") from error
    try:
        refuse_incomplete(data)
        ours = METADATA_KEY in metadata_props(data)
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's own kinds of error, of which there is no common class
        check_memory(error, f"reading {path}")
        reason = error.message if isinstance(error, ContractError) else reason_of(error)
        raise ModelError(f"{path} is not an ONNX file, or damaged ({reason})", remedy=_GIVE) from error
    if ours:
        raise ModelError(
            f"{path} is already a model of polyexport",
            remedy="give the source that it was exported from, or use it as it is with `polyexport infer`",
        )
    _refuse_external_data(model, path)
    _refuse_subgraphs(model, path)
    model = _without_functions(model, path)
    _refuse_other_domains(model, path)
    try:
        refuse_unbounded(model.SerializeToString())
        onnx.checker.check_model(model)
    except ContractError as error:
        raise ModelError(f"{path} is refused: {error.message}", remedy=_OWN_OPERATORS) from error
    except Exception as error:  # the checker's own kinds, and ValueError beyond 2 GiB
        raise ModelError(f"{path} is not valid ONNX ({reason_of(error)})", remedy=_GIVE) from error
    _open_confined(data, path)
    session = _open(data, path)
    float16_session = None
    if holds_float16(model):
        float16_session, model = session, widened(model)
        session = _open(model.SerializeToString(), path)
    return OnnxFile(
        path=path,
        sha256=hashlib.sha256(data).hexdigest(),
        model=model,
        session=session,
        float16_session=float16_session,
        inputs=_values(session.get_inputs()),
        outputs=_values(session.get_outputs()),
    )


_GIVE = "give a file that onnx.checker.check_model accepts"
_OWN_OPERATORS = "export it again with ONNX's own operators alone, before ONNX Runtime optimizes it"


def _refuse_external_data(model: ModelProto, path: Path) -> None:
    for tensor in _tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            where = next((each.value for each in tensor.external_data if each.key == "location"), "another file")
            raise ModelError(
                f"{path} keeps the data of {_shown(tensor.name)} in another file ({_shown(where)}), which is never "
                "opened",
                remedy="save it as one file, with onnx.save(onnx.load(FILE), NEW, save_as_external_data=False)",
            )


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    for sparse in model.graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from model.graph.initializer
    for node in _nodes(model):
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)


def _nodes(model: ModelProto) -> Iterator[NodeProto]:
    yield from model.graph.node
    for function in model.functions:
        yield from function.node


def _refuse_subgraphs(model: ModelProto, path: Path) -> None:
    """Refuse nodes with graphs of their own, also in functions, before anything descends into them."""
    for node in _nodes(model):
        if any(each.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) or each.HasField("g") or each.graphs
               for each in node.attribute):  # fmt: skip
            raise ModelError(
                f"{path} has a node with a graph of its own ({_named(node)}), which may run without end",
                remedy="export the network without If, Loop and Scan; onnxsim removes an If that is decided",
            )
    if model.graph.sparse_initializer:
        raise ModelError(f"{path} has sparse weights", remedy="save them as dense ones")


def _refuse_other_domains(model: ModelProto, path: Path) -> None:
    for node in model.graph.node:
        if node.domain not in OWN_DOMAINS:
            raise ModelError(
                f"{path} has an operator of the domain {_shown(node.domain)} ({_named(node)}), expected ONNX's own",
                remedy=_OWN_OPERATORS,
            )


def _without_functions(model: ModelProto, path: Path) -> ModelProto:
    """Inline the functions of a model, once it is known how many nodes that makes."""
    if not model.functions:
        return model
    functions = {(each.domain, each.name): each.node for each in model.functions}
    counts: dict[tuple[str, str], int] = {}
    total = _count(model.graph.node, functions, counts, ())
    if total > _MAX_NODES:
        raise ModelError(
            f"{path} has functions that call each other, {total if total < 10**9 else 'very many'} nodes in all, or "
            "without end",
            remedy="export it again without functions",
        )
    try:
        inlined: ModelProto = onnx.inliner.inline_local_functions(model)
    except Exception as error:  # the inliner's own kinds
        raise ModelError(f"the functions of {path} cannot be inlined ({reason_of(error)})", remedy=_GIVE) from error
    return inlined


_Key = tuple[str, str]


def _count(
    nodes: Iterable[NodeProto],
    functions: Mapping[_Key, Iterable[NodeProto]],
    counts: dict[_Key, int],
    within: tuple[_Key, ...],
) -> int:
    """Number of nodes after inlining; a number beyond the limit if a function calls itself or calls go deep."""
    total = 0
    for node in nodes:
        key = (node.domain, node.op_type)
        if key not in functions:
            total += 1
        elif key in within or len(within) > _MAX_DEPTH:
            return _MAX_NODES + 10**9
        else:
            if key not in counts:
                counts[key] = _count(functions[key], functions, counts, (*within, key))
            total += counts[key]
    return total


_MAX_DEPTH = 64  # of functions that call functions


def _open_confined(data: bytes, path: Path) -> None:
    """Load the file in a process with limits first, and run it once: constants are computed while it is loaded."""
    limits = LoadLimits(seconds=_LOAD_S, memory_mib=_LOAD_MIB + 8 * len(data) // 2**20)
    try:
        run_confined("open", data, limits.granted(len(data)))
    except ContractError as error:
        raise ModelError(
            f"ONNX Runtime cannot load {path}: {error.message}",
            remedy="give a file that runs on ONNX Runtime's CPU provider, with its constants computed",
        ) from error


def _open(data: bytes, path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = FATAL_SEVERITY
    try:
        return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises unrelated types
        check_memory(error, f"loading {path}")
        raise ModelError(
            f"ONNX Runtime cannot load {path}: {reason_of(error)}",
            remedy="give a file that runs on ONNX Runtime's CPU provider",
        ) from error


def _values(found: Iterable[ort.NodeArg]) -> tuple[OnnxValue, ...]:
    return tuple(
        OnnxValue(
            name=each.name,
            dtype=_DTYPES.get(each.type, each.type),
            shape=tuple(extent if isinstance(extent, int) and extent > 0 else None for extent in each.shape),
        )
        for each in found
    )


def _named(node: NodeProto) -> str:
    return f"{_shown(node.op_type)} {_shown(node.name)}".strip()


def _shown(name: str) -> str:
    return (name if name.isprintable() else ascii(name))[:60]
