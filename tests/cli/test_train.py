"""What a data set and the options of polyexport train decide together, up to the model that is exported from it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from polyexport.cli.train import ConditioningName, train
from polyexport.errors import DatasetError, UsageError
from polyexport.export.export import export_source
from polyexport.export.source.load import load_source
from polyexport.model.loading.load import load_model
from trainer.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from trainer.network import ConditionalUNet, ModelConfig

LABELS = ("darker", "lighter")


def data_set(folder: Path, *conditions: dict[str, str] | None) -> Path:
    """Pairs of 64 pixels; without an index where there is no condition."""
    for part in ("inputs", "outputs"):
        (folder / part).mkdir(parents=True)
        for number in range(len(conditions)):
            pixels = np.random.default_rng(number).integers(0, 256, (64, 64, 3), np.uint8)
            Image.fromarray(pixels // (2 if part == "outputs" else 1)).save(folder / part / f"{number}.png")
    if None not in conditions:
        entries = [
            {"input_polygon": f"{number}.png", "output_image": f"{number}.png"} | (each or {})
            for number, each in enumerate(conditions)
        ]
        (folder / "data.json").write_text(json.dumps(entries))
    return folder


def labeled(folder: Path) -> Path:
    return data_set(folder, *({"label": label} for label in ("lighter", "darker", "lighter", "darker")))


def tiny(path: Path, **values: Any) -> Path:
    """A checkpoint of three thin levels, whose proof takes seconds."""
    torch.manual_seed(2)
    model = ConditionalUNet(ModelConfig(channels=(4, 6, 8), embedding_dim=5, **values)).eval()
    save_checkpoint(Checkpoint(model=model, training_size=32), path)
    return path


@pytest.mark.slow
def test_a_checkpoint_in_float16_is_exported(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.safetensors"
    folder = data_set(tmp_path / "set", {"colour": "red"}, {"colour": "blue"})
    train(output=path, data=folder, initial=tiny_checkpoint, steps=1, batch_size=2, workers=0, float16=True)
    assert "1 steps" in capsys.readouterr().out
    assert load_checkpoint(path).float16_tensors > 0
    export_source(load_source(path), tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("conditions", "conditioning", "labels"),
    [
        ((None, None, None), "none", ()),
        (({}, {}), "none", ()),
        (tuple({"label": each} for each in ("b", "a", "b")), "label", ("a", "b")),
        (({"colour": "red"}, {"colour": "blue"}), "rgb", ()),
    ],
)
def test_the_data_set_decides_what_the_network_takes(
    tmp_path: Path, conditions: tuple[dict[str, str] | None, ...], conditioning: str, labels: tuple[str, ...]
) -> None:
    folder = data_set(tmp_path / "set", *conditions)
    train(output=tmp_path / "m.safetensors", data=folder, steps=1, batch_size=2, workers=0, quiet=True)
    model = load_checkpoint(tmp_path / "m.safetensors").model.config
    assert (model.conditioning, model.labels) == (conditioning, labels)
    recorded = json.loads((tmp_path / "m" / "config.json").read_text())["model"]
    assert recorded["conditioning"] == conditioning
    assert tuple(recorded.get("labels", ())) == labels


@pytest.mark.slow
def test_a_network_without_a_condition_is_exported_and_run(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "set", None, None, None)
    initial = tiny(tmp_path / "initial.safetensors", conditioning="none")
    path = tmp_path / "m.safetensors"
    train(output=path, data=folder, initial=initial, steps=2, batch_size=2, workers=0, quiet=True)
    export_source(load_source(path), tmp_path / "m.onnx")
    model = load_model(tmp_path / "m.onnx", provider="cpu")
    assert model.contract.conditions == ()
    assert model.contract.result.kind == "picture"

    pixels = np.array(Image.open(folder / "inputs" / "0.png"))
    (made,) = model.apply([pixels])
    with torch.inference_mode():
        expected = load_checkpoint(path).model(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1)
    levels = (expected[0].permute(1, 2, 0).numpy() + 1) * 127.5
    assert np.abs(made - levels).max() <= 1


@pytest.mark.slow
def test_a_network_of_labels_is_exported_and_run(tmp_path: Path) -> None:
    folder = labeled(tmp_path / "set")
    initial = tiny(tmp_path / "initial.safetensors", conditioning="label", labels=LABELS)
    path = tmp_path / "m.safetensors"
    train(output=path, data=folder, initial=initial, steps=2, batch_size=2, workers=0, quiet=True)
    export_source(load_source(path), tmp_path / "m.onnx")
    model = load_model(tmp_path / "m.onnx", provider="cpu")
    (condition,) = model.contract.conditions
    assert (condition.kind, condition.name, condition.labels) == ("label", "label", LABELS)  # type: ignore[union-attr]

    pixels = np.array(Image.open(folder / "inputs" / "0.png"))
    picture = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1
    results = []
    for number, label in enumerate(LABELS):
        (made,) = model.apply([pixels], {"label": label})
        with torch.inference_mode():
            expected = load_checkpoint(path).model(picture, torch.tensor([number]))
        assert np.abs(made - (expected[0].permute(1, 2, 0).numpy() + 1) * 127.5).max() <= 1
        results.append(made)
    assert not np.array_equal(results[0], results[1])
    with pytest.raises(UsageError, match="label"):
        model.apply([pixels])


def test_what_does_not_go_together_is_refused(tmp_path: Path) -> None:
    plain = data_set(tmp_path / "plain", None, None)
    labels = labeled(tmp_path / "labels")
    denoiser = tiny(tmp_path / "denoiser.safetensors", conditioning="none")

    def refused(said: str, **options: Any) -> None:
        with pytest.raises((UsageError, DatasetError), match=said) as caught:
            train(output=tmp_path / "m.safetensors", steps=1, workers=0, **options)
        assert "\n" not in str(caught.value)
        assert caught.value.remedy

    refused("--conditioning rgb does not go with a data set without colors", data=plain, conditioning=RGB)
    refused("rgb does not go with the none network of --initial", data=plain, initial=denoiser, conditioning=RGB)
    refused("comes with a label, and the network takes nothing but the picture", data=plain, validation=labels)
    refused("comes with a label, and the network takes nothing but the picture", data=labels, initial=denoiser)
    refused("generated drawings are for networks that fill with a color; give --data DIR", initial=denoiser)
    refused("is not a data set; give a folder with inputs/ and outputs/", data=tmp_path)
    assert not (tmp_path / "m.safetensors").exists()


RGB = ConditioningName.RGB
