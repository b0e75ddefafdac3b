"""The proof must fail when the graph is wrong: each test breaks it in one way that has really happened to people."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from polyexport.errors import ParityError
from polyexport.export.graph import ExportedGraph, export_graph
from polyexport.export.parity import ParityOptions, check_parity
from polyexport.export.source import Source, load_source
from trainer.polygons import draw

QUICK = ParityOptions(sizes=(16, 32), batches=(1, 2, 5), images=6)


@pytest.fixture(scope="module")
def source(tiny_checkpoint: Path) -> Source:
    return load_source(tiny_checkpoint)


@pytest.fixture(scope="module")
def graph(source: Source) -> ExportedGraph:
    return export_graph(source)


def broken(graph: ExportedGraph, change: Callable[[onnx.GraphProto], None]) -> ExportedGraph:
    model = copy.deepcopy(graph.model)
    change(model.graph)
    return replace(graph, model=model)


def set_initializer(proto: onnx.GraphProto, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    for initializer in proto.initializer:
        if initializer.name == name:
            value = change(numpy_helper.to_array(initializer).copy())
            initializer.CopyFrom(numpy_helper.from_array(value, name))
            return
    raise AssertionError(name)


def test_the_export_equals_the_module(source: Source, graph: ExportedGraph) -> None:
    parity = check_parity(source, graph, QUICK)

    assert parity.max_abs_diff <= 1e-4
    assert parity.uint8_max_diff <= 1
    assert parity.uint8_equal >= 0.999
    # six images in five colors, in whole batches of 1, 2 and 5, at two sizes
    assert parity.values == (30 + 30 + 30) * (16 * 16 + 32 * 32) * 3


def test_own_images_are_resized_to_every_size(source: Source, graph: ExportedGraph) -> None:
    images = [draw(np.random.default_rng(i), 40).image for i in range(3)]
    assert check_parity(source, graph, QUICK, images=images).images == 3


def test_one_flipped_weight_is_caught(source: Source, graph: ExportedGraph) -> None:
    weight = next(node for node in graph.model.graph.node if node.op_type == "Conv").input[1]

    def flip(values: np.ndarray) -> np.ndarray:
        values.flat[0] = -values.flat[0] + 0.5
        return values

    with pytest.raises(ParityError, match="max abs diff"):
        check_parity(source, broken(graph, lambda g: set_initializer(g, weight, flip)), QUICK)


def test_a_changed_normalisation_is_caught(source: Source, graph: ExportedGraph) -> None:
    scale = next(node for node in graph.model.graph.node if node.op_type == "DequantizeLinear").input[1]
    changed = broken(graph, lambda g: set_initializer(g, scale, lambda s: (s * (127.5 / 127)).astype(np.float32)))
    with pytest.raises(ParityError, match="max abs diff"):
        check_parity(source, changed, QUICK)


def test_red_and_blue_exchanged_is_caught(source: Source, graph: ExportedGraph) -> None:
    weight = next(node for node in graph.model.graph.node if node.op_type == "Conv").input[1]
    swapped = broken(graph, lambda g: set_initializer(g, weight, lambda w: np.ascontiguousarray(w[:, ::-1])))
    with pytest.raises(ParityError):
        check_parity(source, swapped, QUICK)


def test_a_rounding_of_half_a_level_is_caught_in_the_8_bit_output(source: Source, graph: ExportedGraph) -> None:
    """The float tensor is right; only what users get is wrong."""
    quantize = next(node for node in graph.model.graph.node if node.op_type == "QuantizeLinear")

    def shift(proto: onnx.GraphProto) -> None:
        add = next(node for node in proto.node if node.output[0] == quantize.input[0])
        constant = next(name for name in add.input if name != graph.float_output)
        set_initializer(proto, constant, lambda one: (one + 0.5 / 127.5).astype(np.float32))

    with pytest.raises(ParityError, match="8-bit values equal"):
        check_parity(source, broken(graph, shift), QUICK)


def test_nan_is_never_equal(source: Source, graph: ExportedGraph) -> None:
    bias = next(node for node in graph.model.graph.node if node.op_type == "Conv").input[2]
    poisoned = broken(graph, lambda g: set_initializer(g, bias, lambda b: np.full_like(b, np.nan)))
    with pytest.raises(ParityError, match="inf"):
        check_parity(source, poisoned, QUICK)


def test_every_fault_is_named(source: Source, graph: ExportedGraph) -> None:
    scale = next(node for node in graph.model.graph.node if node.op_type == "DequantizeLinear").input[1]
    changed = broken(graph, lambda g: set_initializer(g, scale, lambda s: (s / 2).astype(np.float32)))
    with pytest.raises(ParityError, match=r"max abs diff .*8-bit difference .*8-bit values equal"):
        check_parity(source, changed, QUICK)
