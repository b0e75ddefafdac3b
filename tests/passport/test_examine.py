"""The search for the first node that differs, on real providers."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from every_contract import KINDS
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from two_sides import Disturb, convolutions, renamed, side_of
from version3_models import LOCAL_KINDS, VERSION3_KINDS

from polyexport.errors import ContractError, OutOfMemoryError
from polyexport.model.model import Model
from polyexport.passport import examine as examination
from polyexport.passport.examine import Findings, examine
from polyexport.passport.examples import examples_for
from polyexport.passport.side import Side, Values
from polyexport.passport.taken_apart import Step
from polyexport.passport.tolerance import FLOAT32_BITS, tolerance_for
from polyexport.runtime.provider import load_provider
from polyexport.runtime.session import SessionOptions

OPENVINO = importlib.util.find_spec("openvino") is not None
needs_openvino = pytest.mark.skipif(not OPENVINO, reason="OpenVINO is not installed")


def bits_of(provider: str) -> int:
    """Return the bits behind the point of the format in which a provider multiplies on this machine."""
    return load_provider(provider).float_bits(SessionOptions(provider=provider, threads=1))


def compared(data: bytes, other: bytes | None = None, candidate: str = "cpu", precision: str = "fp32") -> Findings:
    model = Model.from_bytes(data, SessionOptions(provider="cpu", threads=1))
    return examine(
        side_of(data, "cpu", precision),
        side_of(data if other is None else other, candidate, precision),
        examples_for(model),
        tolerance_for(precision, bits_of(candidate)),
        output=model.contract.output_name,
        labels=model.contract.result.kind == "labels",
    )


@needs_openvino
@pytest.mark.parametrize("kind", [*VERSION3_KINDS, *LOCAL_KINDS])
def test_openvino_agrees_on_every_kind_of_contract(kind: str, version3_of: Callable[[str], Path]) -> None:
    found = compared(version3_of(kind).read_bytes(), candidate="openvino")
    assert (found.first, found.cause, found.uncompared) == (None, None, ())
    assert found.fused.agrees
    assert found.apart.agrees
    assert found.compared >= 4


@needs_openvino
@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith(("encoder", "vectors"))])
def test_openvino_agrees_on_every_kind_of_color(kind: str, model_of: Callable[[str], Path]) -> None:
    """The others cast numbers above 255, of which ONNX leaves open what they become."""
    found = compared(model_of(kind).read_bytes(), candidate="openvino")
    assert (found.first, found.fused.agrees) == (None, True)


@needs_openvino
@pytest.mark.parametrize("number", [0, 3, -1])
def test_the_disturbed_node_is_named(tiny: bytes, disturb: Disturb, number: int) -> None:
    node = convolutions(tiny)[number]
    # The errors of bfloat16 hide a small change.
    found = compared(
        tiny, disturb(tiny, node, 0.01 if bits_of("openvino") == FLOAT32_BITS else 1.0), candidate="openvino"
    )
    assert found.cause is not None
    assert found.first == found.cause
    assert (found.cause.node, found.cause.operator, found.cause.kind) == (node, "Conv", "cause")
    assert len(found.cause.changed_weights) == 1
    assert "weight" in found.cause.changed_weights[0]
    assert found.cause.alone is not None
    assert found.cause.alone.relative > 5e-5


@pytest.mark.slow
@needs_openvino
def test_one_step_of_one_weight_of_int8_is_found(shipped_path: Path, disturb: Disturb) -> None:
    if bits_of("openvino") < FLOAT32_BITS:
        pytest.skip("the float layers run in bfloat16 on this processor, whose errors hide a step of 8 bits")
    data = shipped_path.with_name("small-int8.onnx").read_bytes()
    node = convolutions(data)[13]
    found = compared(data, disturb(data, node, 20), candidate="openvino", precision="int8")
    assert found.cause is not None
    assert (found.cause.node, found.cause.kind) == (node, "cause")
    assert found.fused.agrees  # the golden sample would not notice


def test_without_a_disturbance_nothing_is_named(tiny: bytes) -> None:
    found = compared(tiny)
    assert (found.first, found.cause) == (None, None)
    assert found.fused.max_levels == found.apart.max_levels == 0
    assert found.widest is None


class _Wrong(Side):
    """A provider that computes one tensor wrong where it is one of many, and right where its node runs alone."""

    __slots__ = ()

    def tensors(self, names: list[str], examples: list[Values]) -> list[Values]:  # type: ignore[override]
        found = super().tensors(names, examples)
        return [{name: self.broken(name, value) for name, value in one.items()} for one in found]

    def broken(self, name: str, value: NDArray[Any]) -> NDArray[Any]:
        return value + 1 if name in BROKEN else value


BROKEN: set[str] = set()


@pytest.fixture
def wrong(tiny: bytes, monkeypatch: pytest.MonkeyPatch) -> Callable[[set[int]], Findings]:
    """Compare with a provider that is wrong at some of the convolutions, together with others."""

    def run(numbers: set[int]) -> Findings:
        good = side_of(tiny)
        steps = [step for step in good.graph.steps if step.node.op_type == "Conv"]
        monkeypatch.setattr(f"{__name__}.BROKEN", {steps[number].tensors[0] for number in numbers})
        bad = _Wrong(label="wrong", options=good.options, model=good.model, graph=good.graph)
        model = Model.from_bytes(tiny, SessionOptions(provider="cpu", threads=1))
        examples, limits = examples_for(model), tolerance_for("fp32", 23)
        return examine(good, bad, examples, limits, output=model.contract.output_name)

    return run


def test_a_node_that_is_right_alone_is_no_cause(wrong: Callable[[set[int]], Findings]) -> None:
    found = wrong({2})
    assert found.first is not None
    assert (found.first.kind, found.cause) == ("consequence", None)
    assert found.first.alone is not None
    assert found.first.alone.relative == 0
    assert found.first.inputs_relative == 0


def test_parts_give_what_the_whole_gives(tiny: bytes, disturb: Disturb, monkeypatch: pytest.MonkeyPatch) -> None:
    other = disturb(tiny, convolutions(tiny)[3], 0.01)
    whole = compared(tiny, other)
    monkeypatch.setattr(examination, "_MAX_BYTES", 40_000)
    parts = compared(tiny, other)
    assert parts.cause == whole.cause
    assert (parts.fused, parts.apart) == (whole.fused, whole.apart)
    assert compared(tiny).first is None


def test_a_part_that_a_provider_refuses_is_halved(tiny: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    given = Side.tensors
    steps = side_of(tiny).graph.steps
    refused = steps[4].tensors[0]

    def picky(self: Side, names: list[str], examples: list[Values]) -> list[Values]:
        if refused in names:
            raise RuntimeError("no such output")
        return given(self, names, examples)

    monkeypatch.setattr(Side, "tensors", picky)
    found = compared(tiny)
    assert set(found.uncompared) == {refused}
    assert (found.first, found.compared) == (None, sum(len(step.tensors) for step in steps) - 1)


def test_memory_that_runs_out_is_no_difference(tiny: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Side, names: list[str], examples: list[Values]) -> list[Values]:
        raise OutOfMemoryError("running")

    monkeypatch.setattr(Side, "tensors", full)
    with pytest.raises(OutOfMemoryError):
        compared(tiny)


def test_a_node_that_cannot_run_alone_is_unknown(
    tiny: bytes, disturb: Disturb, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Side, step: Step, inputs: Values) -> Values:
        raise RuntimeError("not this node")

    monkeypatch.setattr(Side, "alone", refused)
    node = convolutions(tiny)[2]
    found = compared(tiny, disturb(tiny, node, 5.0))
    assert found.first is not None
    assert (found.first.node, found.first.kind, found.first.failure) == (node, "unknown", "not this node")
    assert found.cause is None


def test_a_file_of_another_network_is_refused(tiny: bytes) -> None:
    with pytest.raises(ContractError, match="no tensor 'colored'"):
        compared(tiny, renamed(tiny, "colored"))


def test_numbers_that_are_none_are_a_difference(tiny: bytes, disturb: Disturb) -> None:
    node = convolutions(tiny)[1]
    found = compared(tiny, disturb(tiny, node, float("nan")))
    assert found.cause is not None
    assert (found.cause.node, "NaN" in found.cause.detail) == (node, True)


def test_stored_tensors_belong_to_the_node_that_uses_them(tiny: bytes) -> None:
    """Weights behind a node of their own, as the DequantizeLinear of int8 graphs, and in a Constant node."""
    model = onnx.load_model_from_string(tiny)
    changed = onnx.load_model_from_string(tiny)
    for graph, factor in ((model.graph, 1.0), (changed.graph, 1.5)):
        node = next(one for one in graph.node if one.op_type == "Conv")
        weights = node.input[1]
        graph.node.insert(0, helper.make_node("Mul", [weights, "factor"], ["scaled weights"]))
        graph.node.insert(
            0,
            helper.make_node("Constant", [], ["factor"], value=numpy_helper.from_array(np.float32(factor).reshape(1))),
        )
        node.input[1] = "scaled weights"
    one, other = side_of(model.SerializeToString()), side_of(changed.SerializeToString())
    examples = examples_for(Model.from_bytes(tiny, SessionOptions(provider="cpu", threads=1)))
    found = examine(one, other, examples, tolerance_for("fp32", 23), output="colored")
    assert found.cause is not None
    assert found.cause.operator == "Conv"
