"""Tiny models on two sides, and copies of them whose weights are disturbed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from polyexport.passport.side import Side
from polyexport.passport.taken_apart import TakenApart
from polyexport.runtime.session import SessionOptions

Disturb = Callable[[bytes, str, float], bytes]


def side_of(data: bytes, provider: str = "cpu", precision: str = "fp32") -> Side:
    options = SessionOptions(provider=provider, precision=precision, check_placement=False, threads=1)
    return Side(label=provider, options=options, model=data, graph=TakenApart(data))


def convolutions(data: bytes) -> list[str]:
    return [node.name for node in onnx.load_model_from_string(data).graph.node if node.op_type == "Conv"]


@pytest.fixture
def disturb() -> Disturb:
    """Change one weight of a node, in the file itself or, of 8-bit weights, behind their DequantizeLinear."""

    def changed(data: bytes, node: str, amount: float) -> bytes:
        model = onnx.load_model_from_string(data)
        makers = {name: one for one in model.graph.node for name in one.output}
        (wanted,) = (one for one in model.graph.node if one.name == node)
        weights = wanted.input[1]
        weights = makers[weights].input[0] if weights in makers else weights
        for tensor in model.graph.initializer:
            if tensor.name == weights:
                values: NDArray[np.generic] = numpy_helper.to_array(tensor).copy()
                flat = values.reshape(-1)
                flat[flat.size // 2] += np.asarray(amount).astype(values.dtype)
                tensor.CopyFrom(numpy_helper.from_array(values, weights))
        return bytes(model.SerializeToString())

    return changed


@pytest.fixture
def tiny(tiny_model_path: Path) -> bytes:
    return tiny_model_path.read_bytes()


def renamed(data: bytes, output: str) -> bytes:
    """Return a graph whose output has another name."""
    model = onnx.load_model_from_string(data)
    for node in model.graph.node:
        node.output[:] = ["other" if name == output else name for name in node.output]
    model.graph.output[0].name = "other"
    return bytes(model.SerializeToString())
