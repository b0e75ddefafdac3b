import json
import os
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polyexport.errors import CheckpointError, OutputError
from trainer.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from trainer.network import ConditionalUNet, ModelConfig


def rewritten(path: Path, out: Path, **changes: object) -> Path:
    """The checkpoint with another header."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["polyexport.checkpoint"])
    for key, value in changes.items():
        target = header if key in header else header["model"]
        target[key] = value
    weights = safetensors.torch.load(data)
    out.write_bytes(safetensors.torch.save(weights, metadata={"polyexport.checkpoint": json.dumps(header)}))
    return out


def test_what_is_saved_is_loaded(tiny_checkpoint: Path, tmp_path: Path) -> None:
    first = load_checkpoint(tiny_checkpoint)
    save_checkpoint(first, tmp_path / "again.safetensors")
    again = load_checkpoint(tmp_path / "again.safetensors")

    assert (tmp_path / "again.safetensors").read_bytes() == tiny_checkpoint.read_bytes()
    assert first.sha256 == again.sha256 != ""
    assert not again.model.training
    image, color = torch.rand(1, 3, 16, 16), torch.rand(1, 3)
    with torch.inference_mode():
        assert torch.equal(first.model(image, color), again.model(image, color))


def test_a_network_with_a_context_is_saved_and_loaded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = ConditionalUNet(ModelConfig(channels=(4, 6), context=(4, 4), embedding_dim=5)).eval()
    path = tmp_path / "context.safetensors"
    save_checkpoint(Checkpoint(model=model, training_size=32), path)
    loaded = load_checkpoint(path).model

    assert loaded.config == model.config
    image, color = torch.rand(1, 3, 16, 16), torch.rand(1, 3)
    with torch.inference_mode():
        assert torch.equal(loaded(image, color), model(image, color))
    with pytest.raises(CheckpointError, match="do not fit"):
        load_checkpoint(rewritten(path, tmp_path / "lie.safetensors", context=[4, 5]))
    with pytest.raises(CheckpointError, match="do not fit"):
        load_checkpoint(rewritten(path, tmp_path / "lie.safetensors", context=[]))


@pytest.mark.parametrize("values", [{"conditioning": "none"}, {"conditioning": "label", "labels": ("ink", "e")}])
def test_networks_without_colors_are_saved_and_loaded(values: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = ConditionalUNet(ModelConfig(channels=(4, 6), embedding_dim=5, **values)).eval()
    path = tmp_path / "c.safetensors"
    save_checkpoint(Checkpoint(model=model, training_size=32), path)
    loaded = load_checkpoint(path).model

    assert loaded.config == model.config
    given = (torch.rand(1, 3, 16, 16), *((torch.tensor([1]),) if "labels" in values else ()))
    with torch.inference_mode():
        assert torch.equal(loaded(*given), model(*given))
    with pytest.raises(CheckpointError, match="no usable architecture"):
        load_checkpoint(rewritten(path, tmp_path / "lie.safetensors", conditioning="rgb", labels=["ink"]))
    for labels in ("ink", [1, 2], ["a", "../a"], None, {"a": 1}):
        with pytest.raises(CheckpointError, match="no usable architecture"):
            load_checkpoint(rewritten(path, tmp_path / "lie.safetensors", conditioning="label", labels=labels))
    with pytest.raises(CheckpointError, match="do not fit"):
        load_checkpoint(rewritten(path, tmp_path / "lie.safetensors", conditioning="label", labels=["a", "b", "c"]))


def test_kernels_and_matrices_in_float16_are_read_as_float32(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = ConditionalUNet(ModelConfig(channels=(16, 32), embedding_dim=16)).eval()
    path, whole = tmp_path / "half.safetensors", tmp_path / "whole.safetensors"
    save_checkpoint(Checkpoint(model=model, training_size=32), path, float16=True)
    save_checkpoint(Checkpoint(model=model, training_size=32), whole)
    assert path.stat().st_size < 0.6 * whole.stat().st_size
    checkpoint = load_checkpoint(path)
    assert checkpoint.float16_tensors == sum(tensor.ndim >= 2 for tensor in model.state_dict().values())
    assert load_checkpoint(whole).float16_tensors == 0
    loaded = checkpoint.model

    for name, tensor in model.state_dict().items():
        again = loaded.state_dict()[name]
        assert again.dtype == tensor.dtype
        assert torch.allclose(again, tensor, rtol=2**-10, atol=1e-7)


@pytest.mark.parametrize("value", [65520.0, -1e30, float("inf"), float("nan")])
def test_weights_that_float16_does_not_hold_are_refused(value: float, tmp_path: Path) -> None:
    model = ConditionalUNet(ModelConfig(channels=(4, 6), embedding_dim=5)).eval()
    path = tmp_path / "half.safetensors"
    head = model.get_parameter("head.weight")
    with torch.no_grad():
        head[0, 0, 0, 0] = 65504.0  # the largest value of float16
    save_checkpoint(Checkpoint(model=model, training_size=32), path, float16=True)
    before = path.read_bytes()
    with torch.no_grad():
        head[0, 0, 0, 0] = value
    with pytest.raises(
        CheckpointError, match=r"up to 65504: head\.weight has values up to .*without --float16"
    ) as caught:
        save_checkpoint(Checkpoint(model=model, training_size=32), path, float16=True)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("kept", [0, 4, 8, 100, 0.5, 0.999])
def test_a_truncated_checkpoint_is_refused(tiny_checkpoint: Path, tmp_path: Path, kept: float) -> None:
    data = tiny_checkpoint.read_bytes()
    path = tmp_path / "cut.safetensors"
    path.write_bytes(data[: kept if isinstance(kept, int) else int(len(data) * kept)])
    with pytest.raises(CheckpointError, match="cut.safetensors"):
        load_checkpoint(path)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_in_the_header_is_a_checkpoint_error_or_nothing(
    tiny_checkpoint: Path, tmp_path: Path, data: st.DataObject
) -> None:
    damaged = bytearray(tiny_checkpoint.read_bytes())
    size = int.from_bytes(damaged[:8], "little")
    for _ in range(2):
        damaged[data.draw(st.integers(0, 8 + size - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(damaged)
    try:
        load_checkpoint(path)
    except CheckpointError as error:
        assert "damaged.safetensors" in str(error)


def test_another_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"w": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match=r"no polyexport\.checkpoint"):
        load_checkpoint(path)


def test_a_pickle_is_refused_and_never_run(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save({"w": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="polyexport train"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format_version": 9}, "format 9"),
        ({"channels": [4, 6, 9]}, "do not fit"),
        ({"channels": [4, 6]}, "do not fit"),
        ({"channels": [4096] * 3}, "do not fit"),
        ({"channels": [4, -6, 8]}, "no usable architecture"),
        ({"channels": "x"}, "no usable architecture"),
        ({"channels": [4] * 50_000}, "no usable architecture"),
        ({"conditioning": "telepathy"}, "no usable architecture"),
        ({"palette": [["red", [1]]]}, "no usable architecture"),
        ({"training_size": None}, "no usable architecture"),
        ({"model": 3}, "no usable architecture"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(
    tiny_checkpoint: Path, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(CheckpointError, match=said) as caught:
        load_checkpoint(rewritten(tiny_checkpoint, tmp_path / "lie.safetensors", **changes))
    assert len(str(caught.value)) < 700


def test_nan_weights_are_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(tiny_checkpoint)
    with torch.no_grad():
        checkpoint.model.get_parameter("head.bias").fill_(float("nan"))
    save_checkpoint(checkpoint, tmp_path / "nan.safetensors")
    with pytest.raises(CheckpointError, match="NaN"):
        load_checkpoint(tmp_path / "nan.safetensors")


def test_a_full_disk_keeps_the_previous_checkpoint(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = load_checkpoint(tiny_checkpoint)
    path = tmp_path / "c.safetensors"
    path.write_bytes(b"previous")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError):
        save_checkpoint(checkpoint, path)
    assert path.read_bytes() == b"previous"
    assert os.listdir(tmp_path) == ["c.safetensors"]


@pytest.mark.parametrize("size", [1e308, 0, -4, 17, "128", 10**9])
def test_an_unusable_training_size_is_refused(tiny_checkpoint: Path, tmp_path: Path, size: object) -> None:
    with pytest.raises(CheckpointError, match="no usable architecture"):
        load_checkpoint(rewritten(tiny_checkpoint, tmp_path / "size.safetensors", training_size=size))


def test_a_pipe_is_no_checkpoint(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match="not a regular file"):
        load_checkpoint(tmp_path / "pipe")
