"""The stages of an export, broken one by one from inside: nothing may get its name, and the cause is said."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxsim
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from polyexport.errors import ModelError, ParityError
from polyexport.export import export as package
from polyexport.export.export import export_source
from polyexport.export.graph.trace import simplify, trace_encoder
from polyexport.export.proof import proof
from polyexport.export.proof.proof import Proof, embedding_of
from polyexport.export.source.load import load_source
from polyexport.export.source.source import Source
from polyexport.model.conditions.fields import ColorFields, Embedding
from polyexport.model.loading.load import load_model


class Mapped(nn.Module):
    """A color map and a coordinate beside the image; the coordinate is a constant but for the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.color = nn.Linear(3, 16 * 16)
        self.mix = nn.Conv2d(5, 3, 1)

    def forward(self, image: Tensor, color: Tensor) -> Tensor:
        plane = self.color(color).view(image.shape[0], 1, 16, 16)
        column = torch.linspace(-1, 1, 16).expand(image.shape[0], 1, 16, 16)
        return torch.tanh(self.mix(torch.cat([image, plane, column], dim=1)))


@pytest.fixture
def mapped() -> Source:
    torch.manual_seed(0)
    return Source(
        module=Mapped().eval(),
        conditions=(ColorFields(conditioning="rgb"),),
        embedding="color",
        size_multiple=16,
        training_size=16,
        fixed_size=True,
        network="test:Mapped",
        sha256="0" * 64,
    )


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Export with another simplifier; the export must be refused and leave nothing behind."""

    def run(source: Source, simplifier: Callable[[onnx.ModelProto], onnx.ModelProto]) -> str:
        monkeypatch.setattr(package, "simplify", simplifier)
        with pytest.raises(ParityError) as caught:
            export_source(source, tmp_path / "m.onnx")
        assert os.listdir(tmp_path) == []
        assert caught.value.message.startswith("stage simplified ")
        return caught.value.message

    return run


def changed(
    name_of: Callable[[onnx.GraphProto], str], change: Callable[[np.ndarray], np.ndarray]
) -> Callable[..., onnx.ModelProto]:
    """The real simplifier, and one constant of its result changed."""

    def run(model: onnx.ModelProto) -> onnx.ModelProto:
        result = simplify(model)
        (constant,) = [one for one in result.graph.initializer if one.name == name_of(result.graph)]
        constant.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(constant).copy()), constant.name))
        return result

    return run


def input_of(operator: str) -> Callable[[onnx.GraphProto], str]:
    return lambda graph: next(str(node.input[1]) for node in graph.node if node.op_type == operator)


def test_a_flipped_weight_never_gets_a_file(tiny_checkpoint: Path, refused: Callable[..., str]) -> None:
    def flip(weight: np.ndarray) -> np.ndarray:
        weight.flat[0] *= -1
        return weight

    message = refused(load_source(tiny_checkpoint), changed(input_of("Conv"), flip))
    assert "first wrong node: Conv " in message


@pytest.mark.slow
def test_a_changed_normalization_constant_never_gets_a_file(tiny_checkpoint: Path, refused: Callable[..., str]) -> None:
    def change(scale: np.ndarray) -> np.ndarray:
        return np.asarray(scale * (255 / 256), dtype=np.float32)

    message = refused(load_source(tiny_checkpoint), changed(input_of("DequantizeLinear"), change))
    assert "first wrong node: DequantizeLinear " in message


def test_a_simplifier_that_folds_the_batch_never_gets_a_file(mapped: Source, refused: Callable[..., str]) -> None:
    def fold(model: onnx.ModelProto) -> onnx.ModelProto:
        """With the input shapes of the traced example, as people give them to make it simplify more."""
        shapes = {"image": [2, 16, 16, 3], "color": [2, 3]}
        folded: onnx.ModelProto
        folded, _ = onnxsim.simplify(model, overwrite_input_shapes=shapes)
        for value in (*folded.graph.input, *folded.graph.output):
            value.type.tensor_type.shape.dim[0].dim_param = "batch"  # the signature does not show it
        del folded.graph.value_info[:]
        return folded

    message = refused(mapped, fold)
    assert "fails on batch 1 at 16x16 pixels" in message
    assert "first wrong node: Concat " in message


@pytest.mark.slow
def test_a_batch_that_the_tracer_itself_fixed_is_one_image_at_a_time(mapped: Source, tmp_path: Path) -> None:
    """``len`` of a tensor is a constant to the tracer."""

    class Counted(Mapped):
        def forward(self, image: Tensor, color: Tensor) -> Tensor:
            plane = self.color(color).view(len(image), 1, 16, 16)
            return torch.tanh(self.mix(torch.cat([image, plane, plane], dim=1)))

    said: list[str] = []
    export_source(dataclasses.replace(mapped, module=Counted().eval()), tmp_path / "m.onnx", report=said.append)
    assert "its trace freezes the batch, so the graph takes one image at a time" in said
    model = load_model(tmp_path / "m.onnx", provider="cpu")
    assert model.contract.batch_one
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    together = model.run(images, np.zeros((3, 3), np.uint8))
    assert np.array_equal(together[2:], model.run(images[2:], np.zeros((1, 3), np.uint8)))


def test_a_network_that_is_another_one_while_it_is_traced_is_refused(mapped: Source, tmp_path: Path) -> None:
    class Sly(Mapped):
        def forward(self, image: Tensor, color: Tensor) -> Tensor:
            colored = super().forward(image, color)
            return colored * 0.5 if torch.compiler.is_exporting() else colored

    with pytest.raises(
        ParityError, match=r"stage raw differs .*so it is at the size and batch that it was traced with"
    ):
        export_source(dataclasses.replace(mapped, module=Sly().eval()), tmp_path / "m.onnx")


def test_a_module_that_fails_on_a_size_is_refused(mapped: Source, tmp_path: Path) -> None:
    class TwoSizes(nn.Module):
        def forward(self, image: Tensor, color: Tensor) -> Tensor:
            return torch.tanh(mapped.module(image[:, :, :16, :16], color))

    with pytest.raises(ParityError, match=r"the PyTorch model makes \[3, 16, 16\] of 32x32 pixels, expected"):
        export_source(
            Source(
                module=TwoSizes(),
                conditions=(ColorFields(conditioning="rgb"),),
                size_multiple=16,
                training_size=32,
                network="test",
                sha256="0" * 64,
            ),
            tmp_path / "m.onnx",
        )


@pytest.mark.slow
def test_an_encoder_that_differs_is_caught(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other(source: Source) -> onnx.ModelProto:
        model = trace_encoder(source)
        (gemm, *_) = [node for node in model.graph.node if node.op_type == "Gemm"]
        (bias,) = [one for one in model.graph.initializer if one.name == gemm.input[2]]
        bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(0.5), bias.name))
        return model

    monkeypatch.setattr(proof, "trace_encoder", other)
    with pytest.raises(ParityError, match="stage encoder differs"):
        Proof.of(load_source(tiny_checkpoint), "embedding")


def test_an_embedding_that_nobody_named_is_asked_for(mapped: Source) -> None:
    with pytest.raises(ModelError, match="--embedding"):
        embedding_of(dataclasses.replace(mapped, embedding=""))
    with pytest.raises(ModelError, match="gives"):
        embedding_of(
            dataclasses.replace(
                mapped,
                module=nn.ModuleDict({"color": nn.Identity()}),
                conditions=(ColorFields(conditioning="vocabulary", palette=(("red", (255, 0, 0)),)),),
            )
        )


def test_the_table_of_a_vocabulary_is_its_embedding(vocabulary_checkpoint: Path) -> None:
    source = load_source(vocabulary_checkpoint)
    embedding = embedding_of(source)
    assert isinstance(embedding, Embedding)
    assert (embedding.dim, embedding.rows, embedding.encoder) == (3, 3, "")
