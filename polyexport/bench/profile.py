"""Time and multiply-accumulates of every layer, from ONNX Runtime's own profile of a model."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyexport.errors import ProviderError
from polyexport.model.macs import DENSE_OPERATORS, node_macs
from polyexport.model.nan_watch import WATCH
from polyexport.runtime.onnxruntime_session import CpuSession, create_session
from polyexport.runtime.session import SessionOptions
from polyexport.storage.scratch import scratch_folder

__all__ = ["Layer", "Profile", "count_macs", "profile"]

_KERNEL = "_kernel_time"
_CONVOLUTIONS = ("Conv", "FusedConv", "NhwcFusedConv", "QLinearConv")
_LARGEST_CHANNEL_BLOCK = 16  # channels, in ONNX Runtime's own layout NCHWc
_WARM_UP_RUNS = 3

Feeds = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """One node of the graph as ONNX Runtime runs it, fused and in its own layout."""

    name: str
    operator: str
    provider: str
    output: str
    """Type and shape of the outputs."""

    ms: float
    """Median time of the runs, milliseconds."""

    macs: int | None
    """Multiply-accumulates; None for operators that do not multiply matrices."""

    @property
    def gflop_per_s(self) -> float | None:
        """Rate of the layer, with two operations for each multiply-accumulate; None without any."""
        return 2 * self.macs / self.ms / 1e6 if self.macs and self.ms else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """Times of all layers of a model, in the order in which they run."""

    layers: tuple[Layer, ...]
    run_ms: float
    """Median time of whole runs, milliseconds; longer than without a profile, which itself takes time."""

    runs: int
    limit_gflop_per_s: float
    """Rate at which ONNX Runtime multiplies square matrices in the model's precision on this machine."""

    @property
    def layers_ms(self) -> float:
        """Time of all layers together, milliseconds."""
        return sum(layer.ms for layer in self.layers)


def profile(model: bytes, feeds: Feeds, *, limit_gflop_per_s: float, threads: int = 0, runs: int = 20) -> Profile:
    """Time every node on ONNX Runtime's CPU provider.

    Args:
        model: the bytes of a model file.
        feeds: its inputs.
        limit_gflop_per_s: rate that the rates of layers are compared with.
        threads: threads of a call; 0 takes every granted core.
        runs: number of runs that are counted.

    Raises:
        ProviderError: ONNX Runtime's profile lacks events that are expected.
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
            macs=macs.get(number) if node["args"]["op_name"] in _CONVOLUTIONS else _macs(node),
        )
        for number, (node, ms) in enumerate(zip(events.nodes, events.node_us, strict=True))
    ]
    return Profile(layers=tuple(layers), run_ms=events.run_us / 1e3, runs=runs, limit_gflop_per_s=limit_gflop_per_s)


def count_macs(model: bytes, feeds: Feeds) -> int:
    """Count the multiply-accumulates of one run of the graph as it stands in the file.

    Args:
        model: the bytes of a model file.
        feeds: its inputs, whose shapes decide.

    Raises:
        ProviderError: ONNX Runtime's profile lacks events that are expected.
    """
    nodes = _events(model, feeds, _AS_WRITTEN, runs=1).nodes
    return sum(_macs(node) or 0 for node in nodes)


_AS_WRITTEN = SessionOptions(provider="cpu", fused=False)


@dataclass(frozen=True, slots=True)
class _Events:
    """Events of ONNX Runtime's profile."""

    nodes: Sequence[dict[str, Any]]
    """Nodes of the last run, in the order in which they ran."""

    node_us: Sequence[float]
    """Median time of each node, microseconds."""

    run_us: float
    """Median time of whole runs, microseconds."""


def _events(model: bytes, feeds: Feeds, options: SessionOptions, *, runs: int) -> _Events:
    with scratch_folder() as folder:
        # An error here is not the user's: the same bytes have been loaded before.
        session = CpuSession(create_session(model, replace(options, profile=str(folder / "nodes"))))
        for _ in range(_WARM_UP_RUNS + runs):
            session.run(next(name for name in session.outputs if name != WATCH), feeds)
        events = json.loads(session.end_profiling().read_text())
    named = [e for e in events if e.get("cat") == "Node" and str(e.get("name", "")).endswith(_KERNEL)]
    wholes = [event["dur"] for event in events if event.get("name") == "model_run"]
    per_run = len(named) // (_WARM_UP_RUNS + runs)
    if not per_run or len(wholes) != _WARM_UP_RUNS + runs or len(named) != per_run * len(wholes):
        raise ProviderError(
            f"ONNX Runtime's profile has {len(named)} nodes of {len(wholes)} runs, expected as many in each of "
            f"{_WARM_UP_RUNS + runs}",
            remedy="leave out --profile",
        )
    times = np.array([event["dur"] for event in named], np.float64).reshape(-1, per_run)[_WARM_UP_RUNS:]
    return _Events(named[-per_run:], np.median(times, axis=0).tolist(), median(wholes[_WARM_UP_RUNS:]))


def _convolutions(nodes: Sequence[dict[str, Any]]) -> list[tuple[int, int]]:
    """Elements of the output and multiply-accumulates of each Conv of a graph as written."""
    return [
        (math.prod(_shape(node["args"]["output_type_shape"][0])), _macs(node) or 0)
        for node in nodes
        if node["args"]["op_name"] == "Conv"
    ]


def _aligned(nodes: Sequence[dict[str, Any]], written: Sequence[tuple[int, int]]) -> dict[int, int]:
    """Multiply-accumulates of the fused convolutions, by their place among the nodes.

    Fused nodes keep the order of the convolutions in the file, but not the shape of their weights. Nothing is returned
    where the outputs do not fit, apart from channels that were filled up to a block: no figure is better than a wrong
    one.
    """
    numbers = [number for number, node in enumerate(nodes) if node["args"]["op_name"] in _CONVOLUTIONS]
    elements = [math.prod(_shape(nodes[number]["args"]["output_type_shape"][0])) for number in numbers]
    if len(elements) != len(written) or not all(
        fewest <= found < fewest * _LARGEST_CHANNEL_BLOCK for found, (fewest, _) in zip(elements, written, strict=True)
    ):
        return {}
    return dict(zip(numbers, (macs for _, macs in written), strict=True))


def _macs(node: dict[str, Any]) -> int | None:
    """Multiply-accumulates of a node whose shapes are those of the file; None for operators that are not counted."""
    arguments = node["args"]
    operator = arguments["op_name"].removeprefix("Fused")
    if operator not in DENSE_OPERATORS:
        return None
    first, second = (_shape(each) for each in arguments["input_type_shape"][:2])
    return node_macs(operator, first, second, _shape(arguments["output_type_shape"][0]))


def _shape(typed: Mapping[str, Sequence[int]]) -> Sequence[int]:
    return next(iter(typed.values()))


def _typed(outputs: Sequence[Mapping[str, Sequence[int]]]) -> str:
    return ", ".join(f"{dtype} [{', '.join(map(str, shape))}]" for output in outputs for dtype, shape in output.items())
