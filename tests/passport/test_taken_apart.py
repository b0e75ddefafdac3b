"""Graphs cut out of a model's graph."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from two_sides import side_of

from polyexport.errors import ContractError
from polyexport.passport.taken_apart import SIZES_PREFIX, TakenApart
from polyexport.runtime.open import open_session
from polyexport.runtime.session import SessionOptions

CPU = SessionOptions(provider="cpu", threads=1)
IMAGE = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
FEEDS = {"image": IMAGE, "color": np.array([[200, 30, 90]], np.uint8)}


def test_every_step_depends_on_the_inputs(tiny: bytes) -> None:
    graph = TakenApart(tiny)
    assert tuple(graph.inputs) == ("image", "color")
    known = set(graph.inputs)
    for step in graph.steps:
        assert step.inputs
        assert known.issuperset(step.inputs)
        known.update(step.tensors)
    assert graph.outputs[0] in known


def test_a_cut_gives_what_the_graph_computes(tiny: bytes) -> None:
    graph = TakenApart(tiny)
    names = [graph.steps[5].tensors[0], graph.outputs[0]]
    session = open_session(graph.cut(names), CPU)
    found = session.run_all(names, {name: FEEDS[name] for name in graph.used_inputs(names)})
    assert np.array_equal(found[1], open_session(tiny, CPU).run(names[1], FEEDS))
    (first,) = side_of(tiny).tensors([names[0]], [FEEDS])
    assert np.allclose(first[names[0]], found[0])


def test_a_cut_has_only_what_its_tensors_need(tiny: bytes) -> None:
    graph = TakenApart(tiny)
    first = graph.steps[0].tensors
    assert graph.used_inputs(first) == ("image",)
    model = onnx.load_model_from_string(graph.cut(first))
    assert len(model.graph.node) == 1
    assert not model.graph.initializer


def test_the_sizes_are_those_of_the_tensors(tiny: bytes) -> None:
    graph = TakenApart(tiny)
    session = open_session(graph.sizes(), CPU)
    names = list(session.outputs)
    sizes = dict(zip(names, session.run_all(names, FEEDS), strict=True))
    (tensors,) = side_of(tiny).tensors([name for step in graph.steps for name in step.tensors], [FEEDS])
    assert {name.removeprefix(SIZES_PREFIX): int(size) for name, size in sizes.items()} == {
        name: value.size for name, value in tensors.items()
    }


def test_a_node_alone_computes_what_it_does_among_others(tiny: bytes) -> None:
    side = side_of(tiny)
    (tensors,) = side.tensors([name for step in side.graph.steps for name in step.tensors], [FEEDS])
    for step in side.graph.steps:
        alone = side.alone(step, {**FEEDS, **tensors})
        for name in step.tensors:
            assert np.allclose(alone[name], tensors[name], atol=1e-4), step.name


def test_weights_belong_to_their_node(tiny: bytes) -> None:
    graph = TakenApart(tiny)
    convolution = next(step for step in graph.steps if step.node.op_type == "Conv")
    assert set(graph.weights_of(convolution)) == set(convolution.node.input[1:])
    assert graph.num_weights(convolution) > 16


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError):
        TakenApart(b"no model")
