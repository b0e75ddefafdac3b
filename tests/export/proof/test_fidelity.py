"""The quality of changed graphs: shades and decisions of a network whose result is a fill."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from polyexport.export.precision import PRECISIONS
from polyexport.export.proof import fidelity
from polyexport.export.proof.fidelity import DrawingTest
from polyexport.export.proof.parity import Candidate
from polyexport.export.source.load import load_source
from polyexport.export.source.source import Source
from polyexport.model.certificate import Fidelity
from polyexport.model.contract import COLORED
from polyexport.model.model import Model
from polyexport.model.result import ResultKind

ROOT = Path(__file__).parents[3]
FILLS = 12
"""Drawings of each kind that are filled."""


def faults(found: Sequence[Fidelity]) -> list[str]:
    gate = PRECISIONS["int8"].gate
    assert gate is not None
    return gate.faults(found)


@pytest.fixture(scope="module")
def source() -> Source:
    return dataclasses.replace(load_source(ROOT / "artifacts" / "small.safetensors"), training_size=64)


@pytest.fixture
def make_test(
    source: Source, shipped: Model, shipped_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[ResultKind], DrawingTest]:
    """Make the test of the shipped network for one kind of result, on few drawings of two kinds."""
    kinds = {name: fidelity._KINDS[name] for name in ("clean", "gapped")}
    monkeypatch.setattr(fidelity, "_KINDS", kinds)
    monkeypatch.setattr(fidelity, "_FILLS_PER_KIND", FILLS)
    model = onnx.load(shipped_path)
    fp32 = Candidate(
        name="fp32",
        model=model,
        float_output="",
        output=COLORED,
        conditions=shipped.conditions,
    )

    def make(result: ResultKind) -> DrawingTest:
        return DrawingTest(source, fp32, result=result)

    return make


def changed(path: Path, factor: float, added: float) -> onnx.ModelProto:
    """Give the graph the output ``factor * output + added`` levels, cut to 0 to 255."""
    model = onnx.load(path)
    graph = model.graph
    for node in graph.node:
        node.output[:] = ["network" if name == COLORED else name for name in node.output]
    constants = {"factor": factor, "added": added, "low": 0, "high": 255}
    graph.initializer.extend(
        numpy_helper.from_array(np.array(value, np.float32), name) for name, value in constants.items()
    )
    graph.node.extend(
        (
            helper.make_node("Cast", ["network"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["float", "factor"], ["scaled"]),
            helper.make_node("Add", ["scaled", "added"], ["moved"]),
            helper.make_node("Clip", ["moved", "low", "high"], ["cut"]),
            helper.make_node("Cast", ["cut"], [COLORED], to=TensorProto.UINT8),
        )
    )
    return model


@pytest.mark.parametrize(("result", "images"), [("picture", 8), ("fill", FILLS)])
def test_a_graph_equals_itself(
    make_test: Callable[[ResultKind], DrawingTest], shipped_path: Path, result: ResultKind, images: int
) -> None:
    found = make_test(result).fidelity(onnx.load(shipped_path))

    assert [(one.data, one.images, one.psnr_to_fp32_min_db) for one in found] == [
        ("clean", images, 100),
        ("gapped", images, 100),
    ]
    assert all((one.psnr_mean_db, one.within_8) == (one.fp32_psnr_mean_db, one.fp32_within_8) for one in found)
    assert faults(found) == []


def test_a_shade_is_a_fault_of_a_picture_and_changes_no_fill(
    make_test: Callable[[ResultKind], DrawingTest], shipped_path: Path
) -> None:
    darker = changed(shipped_path, 1, -4)
    assert any("dB to fp32" in fault for fault in faults(make_test("picture").fidelity(darker)))
    assert faults(make_test("fill").fidelity(darker)) == []


def test_a_region_that_is_decided_otherwise_is_a_fault_of_both(
    make_test: Callable[[ResultKind], DrawingTest], shipped_path: Path
) -> None:
    white = changed(shipped_path, 0, 255)
    for result in ("picture", "fill"):
        found = faults(make_test(result).fidelity(white))
        assert any("clean" in fault and "no longer within 8 levels" in fault for fault in found)
        assert any("gapped" in fault and "dB of PSNR lost" in fault for fault in found)


def test_fills_are_the_true_ones_with_their_edges(
    make_test: Callable[[ResultKind], DrawingTest], shipped_path: Path
) -> None:
    model = onnx.load(shipped_path)
    (filled, _), (picture, _) = (make_test(result).fidelity(model) for result in ("fill", "picture"))
    assert filled.psnr_mean_db > picture.psnr_mean_db + 6


def test_exact_fills_hide_no_other() -> None:
    white, black = (np.full((8, 8, 3), level, np.uint8) for level in (255, 0))
    half = np.concatenate((white[:4], black[:4]))
    scores = [fidelity._score(one, white, white) for one in (white, half)]

    pooled, apart = (fidelity._fidelity("clean", scores, pooled=pooled) for pooled in (True, False))
    assert pooled.psnr_mean_db == pytest.approx(10 * np.log10(4), abs=1e-3)  # a quarter of all pixels is wrong
    assert apart.psnr_mean_db == pytest.approx((100 + 10 * np.log10(2)) / 2, abs=1e-3)


def test_the_search_asks_no_distance_to_fp32_of_the_picture_of_a_fill(
    make_test: Callable[[ResultKind], DrawingTest], shipped_path: Path
) -> None:
    gate = PRECISIONS["int8"].gate
    assert gate is not None
    strict, darker = dataclasses.replace(gate, psnr_to_fp32_db=90), changed(shipped_path, 1, -1)
    picture, fill = (make_test(result).headroom_db(darker, strict) for result in ("picture", "fill"))
    assert picture < 0 < fill


def test_a_network_without_known_colors_is_judged_by_its_pictures(
    source: Source, make_test: Callable[[ResultKind], DrawingTest], shipped_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = make_test("fill")
    monkeypatch.setattr(type(source.built_conditions()[0]), "fill_color", lambda self, value: None)
    darker = test.fidelity(changed(shipped_path, 1, -4))
    assert any("dB to fp32" in fault for fault in faults(darker))
