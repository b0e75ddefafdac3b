"""Reduced precisions of networks of which no drawings can be generated: calibrated and judged on the user's images."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polyexport.errors import ParityError, UsageError
from polyexport.export.export import ExportOptions, ExportResult, export_source
from polyexport.export.proof.own_images import OwnImages
from polyexport.export.proof.verify import verify_against
from polyexport.export.source.source import UNIT, Source
from polyexport.model.conditions.fields import NumberFields
from polyexport.model.model import Model
from polyexport.model.result import ResultFields
from polyexport.model.settings import parse_settings
from polyexport.runtime.session import SessionOptions

CPU = SessionOptions(provider="cpu")
INT8 = ExportOptions(precision="int8", min_speedup=0)


class Upscaler(nn.Module):
    """Twice the size by interpolation and a learned detail, whose strength is an input."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.PReLU(8),
            nn.Conv2d(8, 8, 3, padding=1, groups=4),
            nn.LeakyReLU(0.1),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.ReLU6(),
            nn.Conv2d(8, 12, 3, padding=1),
        )

    def forward(self, image: Tensor, strength: Tensor) -> Tensor:
        detail = nn.functional.pixel_shuffle(self.body(image), 2)
        base = nn.functional.interpolate(image, scale_factor=2, mode="nearest")
        return base + 0.2 * strength[:, None, None, None] * detail


def photographs(count: int, *, seed: int = 0, side: int = 90) -> tuple[NDArray[np.uint8], ...]:
    """Smooth shades with an edge."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side] / side
    found = []
    for _ in range(count):
        waves = [np.sin(rng.uniform(2, 9) * rows + rng.uniform(2, 9) * columns + rng.uniform(0, 6)) for _ in range(3)]
        image = np.stack(waves, axis=2) * 60 + 128 + 60 * (rows > rng.uniform(0.2, 0.8))[..., None]
        found.append(np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8))
    return tuple(found)


@pytest.fixture(scope="module")
def source() -> Source:
    torch.manual_seed(1)
    return Source(
        module=Upscaler().eval(),
        conditions=(NumberFields(name="strength", minimum=0, maximum=1, default=1),),
        result=ResultFields(scale="2"),
        value_range=UNIT,
        output_range=UNIT,
        size_multiple=1,
        training_size=32,
        network="test:Upscaler",
        sha256="0" * 64,
    )


@pytest.fixture(scope="module")
def images() -> tuple[NDArray[np.uint8], ...]:
    return photographs(16)


@pytest.fixture(scope="module")
def quantized(
    source: Source, images: tuple[NDArray[np.uint8], ...], tmp_path_factory: pytest.TempPathFactory
) -> tuple[ExportResult, list[str]]:
    lines: list[str] = []
    settings = tuple(parse_settings(source.built_conditions(), assignments=["strength=1", "strength=0.5"]))
    own = OwnImages(images=images, settings=settings)
    path = tmp_path_factory.mktemp("quantized") / "m.onnx"
    return export_source(source, path, INT8, images=own, report=lines.append), lines


def test_the_certificate_names_the_images_and_what_was_left_in_float(
    quantized: tuple[ExportResult, list[str]], images: tuple[NDArray[np.uint8], ...]
) -> None:
    result, _ = quantized
    contract = Model.from_bytes(result.output.read_bytes(), CPU).contract
    found = contract.image_fidelity
    assert found is not None
    assert (found.images, found.sha256) == (16, OwnImages(images=images).sha256)
    assert found.psnr_mean_db >= 40
    assert found.ssim_mean >= 0.97
    assert found.float_layers == tuple(layer.name for layer in result.layers if not layer.reduced)
    assert found.reduced_layers + len(found.float_layers) == 4
    assert contract.fidelity == ()
    assert contract.version == 3
    # The proof has the settings of the user beside its own.
    assert contract.parity.colors > 2


def test_the_report_has_the_sensitivity_of_every_layer(quantized: tuple[ExportResult, list[str]]) -> None:
    result, lines = quantized
    assert [layer.layer for layer in result.layers] == ["body.0", "body.2", "body.4", "body.6"]
    assert all(layer.psnr_to_fp32_db is not None and 20 < layer.psnr_to_fp32_db <= 100 for layer in result.layers)
    assert any(line.startswith("int8: most sensitive: ") for line in lines)
    assert any("dB to fp32 (least" in line and "structural similarity" in line for line in lines)


def test_grouped_and_signed_layers_are_quantized(quantized: tuple[ExportResult, list[str]]) -> None:
    graph = onnx.load(quantized[0].output).graph
    made = {name: node for node in graph.node for name in node.output}
    read = [made[node.input[0]].op_type for node in graph.node if node.op_type == "Conv"]
    assert read.count("DequantizeLinear") >= 2
    assert {"PRelu", "LeakyRelu"} <= {node.op_type for node in graph.node}


@pytest.mark.slow
def test_the_same_images_verify_it_and_others_are_held_against_the_gate(
    quantized: tuple[ExportResult, list[str]], source: Source, images: tuple[NDArray[np.uint8], ...]
) -> None:
    data = quantized[0].output.read_bytes()
    for own, said in ((images, "on the images of the certificate"), (photographs(16, seed=9), "that are not those of")):
        lines: list[str] = []
        verify_against(data, source, CPU, images=own, report=lines.append)
        assert any(said in line for line in lines)


def test_too_few_images_are_refused_before_any_work(source: Source, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="16 or more of your images, got 15") as caught:
        export_source(source, tmp_path / "m.onnx", INT8, images=photographs(15))
    assert "--images" in caught.value.remedy


@pytest.mark.slow
def test_results_too_far_from_fp32_get_no_file(
    source: Source, images: tuple[NDArray[np.uint8], ...], tmp_path: Path
) -> None:
    options = dataclasses.replace(INT8, min_psnr_db=99.0)
    with pytest.raises(ParityError, match="scores"):
        export_source(source, tmp_path / "m.onnx", options, images=images)
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_half_precision_does_without_images_and_says_so(source: Source, tmp_path: Path) -> None:
    lines: list[str] = []
    options = ExportOptions(precision="fp16", min_speedup=0)
    result = export_source(source, tmp_path / "m.onnx", options, report=lines.append)
    assert any("judged on 16 generated drawings" in line for line in lines)
    assert result.image_fidelity is not None
    assert result.image_fidelity.psnr_mean_db > 50
    assert (result.image_fidelity.reduced_layers, result.image_fidelity.float_layers) == (4, ())
