"""Files of weights alone: what spandrel recognizes becomes a source, and what it does not is refused in one line."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from polyexport.errors import CheckpointError, UsageError
from polyexport.export.export import export_source
from polyexport.export.source.load import load_source
from polyexport.export.source.spandrel_file import load_spandrel_file
from polyexport.model.conditions.fields import ImageFields, NumberFields
from polyexport.model.model import Model

spandrel_files = pytest.importorskip("spandrel_files")
pytest.importorskip("einops", reason="spandrel is not installed")

pytestmark = pytest.mark.filterwarnings("ignore")  # of the networks themselves


def file_of(name: str, folder: Path) -> Path:
    found: Path = spandrel_files.write_file(
        next(each for each in spandrel_files.ARCHITECTURES if each.name == name), folder
    )
    return found


def test_an_upscaler_goes_from_its_file_to_pictures(tmp_path: Path) -> None:
    source = load_source(file_of("Compact", tmp_path))
    source = replace(source, training_size=32)
    exported = export_source(source, tmp_path / "m.onnx")
    model = Model.from_bytes((tmp_path / "m.onnx").read_bytes())
    image = np.random.default_rng(0).integers(0, 256, (19, 27, 3), dtype=np.uint8)
    (picture,) = model.apply([image], {})
    planes = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        wanted = source.module(planes)[0].permute(1, 2, 0).mul(255).round().numpy()

    assert (source.network, source.weights_key, exported.weights_key) == ("spandrel:Compact", "params", "params")
    assert "spandrel recognized Compact (4 times the size" in exported.remarks[0]
    assert picture.shape == (76, 108, 3)
    assert np.abs(picture - wanted).max() <= 1


def test_the_level_of_the_noise_is_a_condition(tmp_path: Path) -> None:
    source = load_spandrel_file(file_of("DRUNet", tmp_path))
    image = torch.rand(2, 3, 16, 16)
    with torch.inference_mode():
        low, high = (source.module(image, torch.tensor([level, 15.0])) for level in (0.0, 75.0))

    (fields,) = source.conditions
    assert isinstance(fields, NumberFields)
    assert (fields.name, fields.minimum, fields.maximum, fields.default) == ("noise_level", 0, 75, 15)
    assert not torch.equal(low[0], high[0])
    assert torch.equal(low[1], high[1])


def test_windows_and_halved_batches_are_known(tmp_path: Path) -> None:
    source = load_spandrel_file(file_of("SwinIR", tmp_path))
    assert (source.size_multiple, source.smallest_size, source.training_size) == (8, 16, 64)
    assert (source.batch_one, source.fixed_size, source.result.scale) == (True, False, "2")


@pytest.mark.slow
def test_an_inpainter_takes_a_mask(tmp_path: Path) -> None:
    source = load_spandrel_file(file_of("LaMa", tmp_path))
    assert source.conditions == (ImageFields(name="mask", channels=1),)
    image, mask = torch.rand(1, 3, 16, 16), torch.zeros(1, 1, 16, 16)
    mask[..., :8] = 0.9
    with torch.inference_mode():
        result = source.module(image, mask)
    assert torch.equal(result[..., 8:], image[..., 8:])
    assert not torch.isclose(result[..., :8], image[..., :8]).any()


def test_the_set_of_weights_is_found_wherever_it_stands(tmp_path: Path) -> None:
    (compact,) = [each for each in spandrel_files.ARCHITECTURES if each.name == "Compact"]
    state = compact.build().state_dict()
    other = {name: tensor + 1 for name, tensor in state.items()}
    prefixed = {f"_orig_mod.net_g.{name}": tensor for name, tensor in state.items()}
    for saved, key in (
        (state, "."),
        ({"a": {"b": {"network": state}}, "epoch": 3}, "a.b.network"),
        ({"state_dict": prefixed, "optimizer": {"exp_avg": torch.zeros(3)}}, "state_dict"),
        ({"params": other, "params_ema": state}, "params_ema"),
    ):
        torch.save(saved, tmp_path / "w.pth")
        source = load_spandrel_file(tmp_path / "w.pth")
        assert source.weights_key == key
        assert torch.equal(source.module.state_dict()["network.body.0.weight"], state["body.0.weight"])
    assert any("moving average, and not params" in remark for remark in source.remarks)
    assert load_spandrel_file(tmp_path / "w.pth", weights_key="params").weights_key == "params"

    torch.save({"a": state, "b": other}, tmp_path / "w.pth")
    with pytest.raises(UsageError, match=r"2 sets of weights .* a, b; name one with --weights-key"):
        load_spandrel_file(tmp_path / "w.pth")
    with pytest.raises(UsageError, match="no set of weights 'c'"):
        load_spandrel_file(tmp_path / "w.pth", weights_key="c")


def test_what_spandrel_does_not_know_is_refused_in_one_line(tmp_path: Path) -> None:
    torch.save({"layer.weight": torch.zeros(3, 3)}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"does not know .* layer.weight; give .* package.module:Class"):
        load_source(tmp_path / "w.pth")
    with pytest.raises(UsageError, match="value_range does not go with a file of weights alone"):
        load_source(tmp_path / "w.pth", value_range=(0.0, 1.0))


def test_shapes_that_do_not_fit_and_values_that_are_none(tmp_path: Path) -> None:
    (compact,) = [each for each in spandrel_files.ARCHITECTURES if each.name == "Compact"]
    state = compact.build().state_dict()
    for changed, message in (
        ({"body.0.weight": torch.zeros(5, 3, 3, 3)}, "does not fit it"),
        ({"body.99999999.weight": torch.zeros(1)}, "body.99999999.weight"),
        ({"body.0.bias": torch.full((16,), float("nan"))}, "NaN or infinite"),
    ):
        safetensors.torch.save_file({**state, **changed}, tmp_path / "w.safetensors")
        with pytest.raises(CheckpointError, match=message) as raised:
            load_spandrel_file(tmp_path / "w.safetensors")
        assert "\n" not in str(raised.value)
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match="multiples of 1 from 1"):
        load_spandrel_file(tmp_path / "w.safetensors", size=100_000)


def test_a_network_that_draws_random_numbers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="draws random numbers"):
        load_spandrel_file(file_of("AuraSR", tmp_path))


def test_without_spandrel_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"layer.weight": torch.zeros(3, 3)}, tmp_path / "w.pth")
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(UsageError, match=r"needs spandrel.*pip install 'polyexport\[spandrel\]'"):
        load_source(tmp_path / "w.pth")
