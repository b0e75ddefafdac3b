import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from polyexport.data.splits import SPLITS
from polyexport.errors import ContractError, ParityError
from polyexport.export.export import ExportOptions, export_source
from polyexport.export.precision import PRECISIONS
from polyexport.export.proof import verify
from polyexport.export.proof.verify import verify_against
from polyexport.export.source.load import load_source
from polyexport.export.source.source import Source
from polyexport.model.certificate import Fidelity
from polyexport.model.contract import METADATA_KEY, Contract
from polyexport.model.model import Model
from polyexport.model.result import ResultFields, ResultKind
from polyexport.runtime.onnx_bytes import graph_sha256
from polyexport.runtime.session import SessionOptions

CPU = SessionOptions(provider="cpu")
FILES_OF_0_1_0 = Path(__file__).parents[2] / "files_of_0_1_0"


@pytest.fixture(scope="module")
def source(tiny_checkpoint: Path) -> Source:
    return load_source(tiny_checkpoint)


def tampered(data: bytes, change: Callable[[np.ndarray], np.ndarray]) -> bytes:
    """One weight changed, and the hash in the contract made to agree: the work of somebody who knows the format."""
    model = onnx.load_model_from_string(data)
    weight = next(one for one in model.graph.initializer if len(one.dims) == 4)
    weight.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(weight).copy()), weight.name))
    text = model.metadata_props[0].value
    old, new = graph_sha256(data), graph_sha256(model.SerializeToString())
    onnx.helper.set_model_props(model, {METADATA_KEY: text.replace(old, new)})
    return bytes(model.SerializeToString())


@pytest.mark.slow
def test_a_model_is_proven_again(source: Source, tiny_model_path: Path) -> None:
    lines: list[str] = []
    stage, fidelity = verify_against(tiny_model_path.read_bytes(), source, CPU, report=lines.append)
    assert stage.max_abs_diff <= 1e-4
    assert fidelity == ()
    assert lines[0].startswith("took the averaged weights (EMA) of training step 0")
    assert [line.split(":")[0] for line in lines[1:]] == ["parity"]


@pytest.mark.slow
def test_a_forged_weight_that_the_golden_sample_hides_is_found(source: Source, tiny_model_path: Path) -> None:
    def nudge(weight: np.ndarray) -> np.ndarray:
        weight.flat[0] += np.float32(2e-3)
        return weight

    forged = tampered(tiny_model_path.read_bytes(), nudge)
    with pytest.raises(ParityError, match="first wrong node: Conv "):
        verify_against(forged, source, CPU)


def test_a_changed_file_is_refused_before_anything_else(source: Source, tiny_model_path: Path) -> None:
    data = bytearray(tiny_model_path.read_bytes())
    data[len(data) // 2] ^= 1
    with pytest.raises(ContractError):
        verify_against(bytes(data), source, CPU)


@pytest.mark.slow
def test_another_network_is_refused(vocabulary_checkpoint: Path, tiny_model_path: Path) -> None:
    with pytest.raises(ParityError, match="the model has conditions .*rgb.*, the network .*vocabulary"):
        verify_against(tiny_model_path.read_bytes(), load_source(vocabulary_checkpoint), CPU)


@pytest.mark.slow
def test_a_reduced_precision_is_judged_on_images_too(source: Source, tmp_path: Path) -> None:
    options = ExportOptions(precision="fp16", color_input="embedding", min_speedup=0.0)
    export_source(source, tmp_path / "h.onnx", options)
    stage, fidelity = verify_against((tmp_path / "h.onnx").read_bytes(), source, CPU)
    assert stage.name == "fp16"
    assert len(fidelity) == 1 + len(SPLITS)


@pytest.mark.parametrize("name", ["rgb-int8.onnx", "rgb-fp16.onnx"])
@pytest.mark.slow
def test_a_file_whose_certificate_is_of_other_drawings_is_judged_by_the_gate(name: str) -> None:
    source = load_source(FILES_OF_0_1_0 / "rgb.safetensors")
    stage, fidelity = verify_against((FILES_OF_0_1_0 / name).read_bytes(), source, CPU)
    assert stage.psnr_db > 30
    assert len(fidelity) == 1 + len(SPLITS)


def certified(result: ResultKind, certificate: Sequence[Fidelity], contract: Contract) -> Contract:
    return dataclasses.replace(
        contract, precision="int8", result=ResultFields(kind=result), fidelity=tuple(certificate)
    )


ROW = Fidelity(
    data="clean",
    images=8,
    psnr_to_fp32_mean_db=60,
    psnr_to_fp32_min_db=50,
    fp32_psnr_mean_db=40,
    psnr_mean_db=39.8,
    fp32_within_8=0.99,
    within_8=0.99,
)


@pytest.mark.parametrize(
    ("result", "psnr", "to_fp32", "faults"),
    [
        ("picture", 39.75, 59.5, 0),
        ("picture", 39.6, 59.5, 1),
        ("picture", 39.8, 58.9, 1),
        ("picture", float("nan"), 60, 1),
        ("fill", 39.3, 46, 0),
        ("fill", 39.2, 46, 1),
        ("fill", 39.8, 44, 1),
    ],
)
def test_images_may_be_as_bad_as_the_certificate_or_the_gate_allows(
    tiny_model: Model, result: ResultKind, psnr: float, to_fp32: float, faults: int
) -> None:
    found = dataclasses.replace(ROW, psnr_mean_db=psnr, psnr_to_fp32_mean_db=to_fp32)
    contract = certified(result, [ROW], tiny_model.contract)
    assert len(verify._faults(contract, PRECISIONS["int8"], [found])) == faults


def test_a_loss_that_the_export_accepted_is_accepted_again(tiny_model: Model) -> None:
    lossy = dataclasses.replace(ROW, psnr_mean_db=38.5)
    contract = certified("fill", [lossy], tiny_model.contract)
    assert verify._faults(contract, PRECISIONS["int8"], [lossy]) == []
    assert verify._faults(contract, PRECISIONS["int8"], [dataclasses.replace(ROW, psnr_mean_db=38.4)]) != []


@pytest.mark.gpu
def test_the_proof_holds_on_a_gpu(source: Source, tiny_model_path: Path) -> None:
    stage, _ = verify_against(tiny_model_path.read_bytes(), source, SessionOptions(provider="cuda"))
    assert stage.max_abs_diff <= 1e-4
