"""Where the time goes, layer by layer, and how many multiplications there are: from ONNX Runtime's own profile."""

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyexport.errors import ProviderError
from polyexport.model.contract import COLORED
from polyexport.runtime.onnxruntime_session import create_session
from polyexport.runtime.session import SessionOptions

__all__ = ["Layer", "Profile", "count_macs", "profile"]

_KERNEL = "_kernel_time"
_CONVOLUTIONS = ("Conv", "FusedConv", "NhwcFusedConv", "QLinearConv")
_PRODUCTS = ("Gemm", "FusedGemm", "MatMul", "FusedMatMul")
_CHANNEL_BLOCK = 16  # of ONNX Runtime's own layout, NCHWc, at most
_WARM_UP = 3

Feeds = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """A node of the graph as ONNX Runtime runs it, fused and in its own layout."""

    name: str
    operator: str
    provider: str
    output: str
    """Type and shape."""

    ms: float
    """Median of the runs."""

    macs: int | None
    """Multiply-accumulates; None for operators that do not multiply matrices."""

    @property
    def gflop_per_s(self) -> float | None:
        """Two operations for each multiply-accumulate."""
        return 2 * self.macs / self.ms / 1e6 if self.macs and self.ms else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """All layers, in the order in which they run."""

    layers: tuple[Layer, ...]
    run_ms: float
    """Median of whole runs. Looking costs time: more than the same call takes without a profile."""

    runs: int
    limit_gflop_per_s: float
    """At which ONNX Runtime multiplies matrices in the model's precision, here and now."""

    @property
    def layers_ms(self) -> float:
        """Of all layers together."""
        return sum(layer.ms for layer in self.layers)


def profile(model: bytes, feeds: Feeds, *, limit_gflop_per_s: float, threads: int = 0, runs: int = 20) -> Profile:
    """Time every node on ONNX Runtime's CPU provider.

    Args:
        model: the bytes of a model file.
        feeds: its inputs.
        limit_gflop_per_s: what fractions refer to.
        threads: of a call; 0 takes every granted core.
        runs: counted ones.

    Raises:
        ProviderError: the profile has nothing of what is looked for.
    """
    events = _events(model, feeds, SessionOptions(provider="cpu", threads=threads), runs=runs)
    macs = _aligned(events.nodes, _convolutions(_events(model, feeds, _AS_WRITTEN, runs=1).nodes))
    layers = [
        Layer(
            name=node["name"].removesuffix(_KERNEL),
            operator=node["args"]["op_name"],
            provider=node["args"]["provider"],
            output=_typed(node["args"]["output_type_shape"]),
            ms=ms / 1e3,
            macs=macs[number] if number in macs else _product(node),
        )
        for number, (node, ms) in enumerate(zip(events.nodes, events.node_us, strict=True))
    ]
    return Profile(layers=tuple(layers), run_ms=events.run_us / 1e3, runs=runs, limit_gflop_per_s=limit_gflop_per_s)


def count_macs(model: bytes, feeds: Feeds) -> int:
    """Multiply-accumulates of one run of the graph as it stands in the file; the products of padding count.

    Raises:
        ProviderError: the profile has nothing of what is looked for.
    """
    nodes = _events(model, feeds, _AS_WRITTEN, runs=1).nodes
    return sum(macs for _, macs in _convolutions(nodes)) + sum(_product(node) or 0 for node in nodes)


_AS_WRITTEN = SessionOptions(provider="cpu", fused=False)


@dataclass(frozen=True, slots=True)
class _Events:
    nodes: Sequence[dict[str, Any]]
    """Of the last run."""

    node_us: Sequence[float]
    run_us: float


def _events(model: bytes, feeds: Feeds, options: SessionOptions, *, runs: int) -> _Events:
    with tempfile.TemporaryDirectory(prefix="polyexport-profile-") as folder:
        session = create_session(
            model, "cpu", replace(options, profile=str(Path(folder, "nodes"))), metadata={}
        )  # its errors are not the user's: the same bytes have been loaded before
        for _ in range(_WARM_UP + runs):
            session.run(COLORED, feeds)
        events = json.loads(session.end_profiling().read_text())
    named = [e for e in events if e.get("cat") == "Node" and str(e.get("name", "")).endswith(_KERNEL)]
    wholes = [event["dur"] for event in events if event.get("name") == "model_run"]
    per_run = len(named) // (_WARM_UP + runs)
    if not per_run or len(wholes) != _WARM_UP + runs or len(named) != per_run * len(wholes):
        raise ProviderError(
            f"ONNX Runtime's profile has {len(named)} nodes of {len(wholes)} runs, expected as many in each of "
            f"{_WARM_UP + runs}",
            remedy="leave out --profile",
        )
    times = np.array([event["dur"] for event in named], np.float64).reshape(-1, per_run)[_WARM_UP:]
    return _Events(named[-per_run:], np.median(times, axis=0).tolist(), median(wholes[_WARM_UP:]))


def _convolutions(nodes: Sequence[dict[str, Any]]) -> list[tuple[int, int]]:
    """Of a graph as written: elements of the output, and multiply-accumulates."""
    found = []
    for node in nodes:
        if node["args"]["op_name"] == "Conv":
            elements = math.prod(_shape(node["args"]["output_type_shape"][0]))
            weight = _shape(node["args"]["input_type_shape"][1])  # [out, in / groups, height, width]
            found.append((elements, elements * math.prod(weight[1:])))
    return found


def _aligned(nodes: Sequence[dict[str, Any]], written: Sequence[tuple[int, int]]) -> dict[int, int]:
    """Which of the fused nodes is which convolution of the file: they keep their order, but not their weights' shape.

    Nothing where they do not fit; a wrong figure would be worse than none. Channels may have been filled up to a block.
    """
    numbers = [number for number, node in enumerate(nodes) if node["args"]["op_name"] in _CONVOLUTIONS]
    elements = [math.prod(_shape(nodes[number]["args"]["output_type_shape"][0])) for number in numbers]
    if len(elements) != len(written) or not all(
        fewest <= found < fewest * _CHANNEL_BLOCK for found, (fewest, _) in zip(elements, written, strict=True)
    ):
        return {}
    return dict(zip(numbers, (macs for _, macs in written), strict=True))


def _product(node: dict[str, Any]) -> int | None:
    """Of a multiplication of matrices, [..., rows, inner] x [inner, columns]."""
    if node["args"]["op_name"] not in _PRODUCTS:
        return None
    return math.prod(_shape(node["args"]["output_type_shape"][0])) * _shape(node["args"]["input_type_shape"][0])[-1]


def _shape(typed: Mapping[str, Sequence[int]]) -> Sequence[int]:
    return next(iter(typed.values()))


def _typed(outputs: Sequence[Mapping[str, Sequence[int]]]) -> str:
    return ", ".join(f"{dtype} [{', '.join(map(str, shape))}]" for output in outputs for dtype, shape in output.items())
