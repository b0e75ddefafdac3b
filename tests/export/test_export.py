import base64
import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from polyexport.data.drawings import draw
from polyexport.data.pairs import PairPixels, write_pairs
from polyexport.errors import OutputError, ParityError
from polyexport.export import export as package
from polyexport.export.export import ExportOptions, export_source
from polyexport.export.precision import PRECISIONS, REFERENCE
from polyexport.export.precision.precision import QualityGate, Tolerance
from polyexport.export.source.load import load_source
from polyexport.export.source.source import Source
from polyexport.imaging.color import color_of
from polyexport.imaging.pixels import decode
from polyexport.model.certificate import Fidelity
from polyexport.model.contract import METADATA_KEY
from polyexport.model.loading.limits import DEFAULT_LIMITS
from polyexport.model.loading.load import load_model
from polyexport.model.loading.verdicts import passed_before
from polyexport.model.model import Model
from polyexport.model.result import ResultFields
from polyexport.model.samples import SAMPLES_KEY
from polyexport.runtime.probe import probe_provider

NOT_TIMED = 0.0
"""Smallest speedup that an export asks for which is not to depend on the machine."""


@pytest.fixture(scope="module")
def source(tiny_checkpoint: Path) -> Source:
    return load_source(tiny_checkpoint)


@pytest.mark.slow
def test_the_same_checkpoint_gives_the_same_bytes(source: Source, tiny_model_path: Path, tmp_path: Path) -> None:
    result = export_source(source, tmp_path / "again.onnx")

    assert (tmp_path / "again.onnx").read_bytes() == tiny_model_path.read_bytes()
    assert result.sha256 == hashlib.sha256(tiny_model_path.read_bytes()).hexdigest()


def test_an_exported_file_needs_no_check_where_it_was_made(tiny_model_path: Path) -> None:
    data = tiny_model_path.read_bytes()
    assert passed_before(hashlib.sha256(data).hexdigest(), DEFAULT_LIMITS.granted(len(data)))


def test_the_contract_says_where_the_model_comes_from(tiny_checkpoint: Path, tiny_model: Model) -> None:
    contract = tiny_model.contract

    assert contract.checkpoint_sha256 == hashlib.sha256(tiny_checkpoint.read_bytes()).hexdigest()
    assert contract.network == "trainer"
    assert (contract.size_multiple, contract.training_size, contract.opset) == (4, 32, 21)
    assert set(contract.versions) == {"polyexport", "torch", "onnx", "onnxruntime", "onnxscript", "onnxsim", "numpy"}
    assert contract.parity.sizes == ((16, 16), (32, 32), (64, 32))
    assert contract.parity.batches == (1, 2, 5)
    assert [stage.name for stage in contract.parity.stages] == ["raw", "simplified"]
    assert contract.parity.final.max_abs_diff <= 1e-4


@pytest.mark.parametrize(("said", "given", "expected"), [("fill", None, "fill"), ("fill", "picture", "picture")])
@pytest.mark.slow
def test_the_contract_says_what_the_result_is(
    source: Source, tmp_path: Path, said: Any, given: Any, expected: str
) -> None:
    export_source(
        dataclasses.replace(source, result=ResultFields(kind=said)), tmp_path / "m.onnx", ExportOptions(result=given)
    )
    assert load_model(tmp_path / "m.onnx", provider="cpu").contract.result.kind == expected


def test_the_golden_sample_repeats(tiny_model: Model) -> None:
    golden = tiny_model.contract.golden
    image, colored = (decode(base64.b64decode(png)).pixels for png in (golden.image_png, golden.result_png))
    assert np.array_equal(tiny_model.run(image[None], np.array(golden.values, np.uint8))[0], colored)


@pytest.mark.slow
def test_quality_on_a_data_set_goes_into_the_file(source: Source, tmp_path: Path) -> None:
    drawing = draw(np.random.default_rng(0), 32)
    pixels = PairPixels(image=drawing.image, color=color_of(drawing.color), colored=drawing.colored)
    write_pairs(tmp_path, {"set": [("a", pixels)]})
    result = export_source(source, tmp_path / "q.onnx", quality_data=tmp_path / "set")
    quality = load_model(tmp_path / "q.onnx", provider="cpu").contract.quality

    assert quality == result.quality
    assert quality is not None
    assert (quality.data, quality.images) == ("set", 1)


@pytest.mark.slow
def test_without_parity_no_file_gets_the_name(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old.onnx").write_bytes(b"old")
    impossible = Tolerance(max_abs_diff=-1.0, uint8_max_diff=0, uint8_equal=1.0, psnr_db=0)
    monkeypatch.setattr(package, "REFERENCE", dataclasses.replace(REFERENCE, tolerance=impossible))
    with pytest.raises(ParityError, match="max abs diff"):
        export_source(source, tmp_path / "old.onnx")
    assert os.listdir(tmp_path) == ["old.onnx"]
    assert (tmp_path / "old.onnx").read_bytes() == b"old"


def test_a_full_disk_leaves_no_file(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space"):
        export_source(source, tmp_path / "m.onnx")
    assert os.listdir(tmp_path) == []


def test_any_onnx_tool_can_read_the_contract(tiny_model_path: Path) -> None:
    model = onnx.load(tiny_model_path)
    onnx.checker.check_model(model, full_check=True)
    metadata = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert set(metadata) == {METADATA_KEY, SAMPLES_KEY}
    assert metadata[METADATA_KEY]["contract_version"] == 2


def pictures(model: Model, count: int = 4) -> np.ndarray:
    images = [draw(np.random.default_rng(i), 32).image for i in range(count)]
    return np.array(model.colorize(images, ["red", "#1e90ff", "black"]))


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=pytest.mark.slow) for kind in ("embedding", "fp16", "fp16 embedding", "int8 palette")],
)
def test_every_kind_of_graph_makes_the_same_images_and_the_same_bytes(
    kind: str, source: Source, tiny_model: Model, tmp_path: Path
) -> None:
    precision = next((word for word in ("fp16", "int8") if word in kind), "fp32")
    options = ExportOptions(
        precision=precision,
        color_input="embedding" if "embedding" in kind else "color",
        many_colors="palette" in kind,
        result="picture",  # fills are many more drawings
        min_speedup=0.0,
    )
    twice = kind in ("fp16 embedding", "int8 palette")  # which go every way that the others go
    files = [tmp_path / "a.onnx", tmp_path / "b.onnx"]
    for file in files if twice else files[:1]:
        result = export_source(source, file, options)
    model = load_model(files[0], provider="cpu")
    off = np.abs(pictures(model).astype(int) - pictures(tiny_model))

    assert not twice or files[0].read_bytes() == files[1].read_bytes()
    assert off.max() <= {"fp32": 1, "fp16": 3, "int8": 48}[precision]
    assert off.mean() <= {"fp32": 0.01, "fp16": 0.2, "int8": 4}[precision]
    assert result.parity.stages[-1].name == (precision if precision != "fp32" else result.parity.stages[-1].name)
    assert bool(model.contract.fidelity) == (precision != "fp32")
    if precision == "fp16":
        operators = [node.op_type for node in onnx.load(files[0]).graph.node]
        assert operators.count("Cast") == ("embedding" in kind)  # the contract's own float32 input


@pytest.mark.slow
def test_a_vocabulary_as_an_embedding(vocabulary_checkpoint: Path, vocabulary_model: Model, tmp_path: Path) -> None:
    export_source(load_source(vocabulary_checkpoint), tmp_path / "e.onnx", ExportOptions(color_input="embedding"))
    model = load_model(tmp_path / "e.onnx", provider="cpu")
    image = draw(np.random.default_rng(0), 16).image

    for name in ("red", "lime", "blue"):
        (ours,), (theirs,) = (each.colorize([image], [name])[0] for each in (model, vocabulary_model))
        assert np.abs(ours.astype(int) - theirs).max() <= 1
    assert model.contract.color is not None
    assert model.contract.color.embedding is not None
    assert model.contract.color.embedding.rows == 3


@pytest.mark.slow
def test_a_precision_that_costs_too_much_gets_no_file(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = QualityGate(psnr_to_fp32_db=99.9, psnr_loss_db=-1, within_8_loss=-1)
    monkeypatch.setitem(PRECISIONS, "fp16", dataclasses.replace(PRECISIONS["fp16"], gate=gate))
    with pytest.raises(ParityError, match="fp16 loses too much quality: plain: .* dB to fp32 < 99.9 dB"):
        export_source(source, tmp_path / "m.onnx", ExportOptions(precision="fp16", min_speedup=NOT_TIMED))
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_a_precision_that_does_not_pay_gets_no_file(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRECISIONS, "fp16", dataclasses.replace(PRECISIONS["fp16"], provider="cpu"))
    with pytest.raises(ParityError, match="times the speed of fp32 .* less than 1e"):
        export_source(source, tmp_path / "m.onnx", ExportOptions(precision="fp16", min_speedup=1e6))
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_a_speed_that_cannot_be_judged_here_is_said_and_not_counted(source: Source, tmp_path: Path) -> None:
    if probe_provider("cuda").works:
        pytest.skip("a GPU judges it")
    lines: list[str] = []
    options = ExportOptions(precision="fp16", min_speedup=1e6)
    export_source(source, tmp_path / "m.onnx", options, report=lines.append)
    assert any("made for cuda, which does not work here, so this does not count" in line for line in lines)


def fidelity(**changed: float) -> Fidelity:
    values = {
        "psnr_to_fp32_mean_db": 60.0,
        "psnr_to_fp32_min_db": 50.0,
        "fp32_psnr_mean_db": 50.0,
        "psnr_mean_db": 49.9,
        "fp32_within_8": 0.999,
        "within_8": 0.999,
    }
    return Fidelity(data="clean", images=8, **(values | changed))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, None),
        ({"psnr_to_fp32_mean_db": 44.0}, "to fp32"),
        ({"psnr_mean_db": 49.0}, "PSNR lost"),
        ({"within_8": 0.9}, "within 8"),
        ({"psnr_mean_db": float("nan")}, "PSNR lost"),
    ],
)
def test_the_gate_names_what_it_misses(changed: dict[str, float], said: str | None) -> None:
    faults = QualityGate(psnr_to_fp32_db=45, psnr_loss_db=0.5, within_8_loss=0.002).faults((fidelity(**changed),))
    assert [said in fault for fault in faults if said] == ([True] if said else [])
    assert bool(faults) == bool(said)
