import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from trainer.checkpoint import load_checkpoint
from trainer.dataset import SizedBatch
from trainer.model import ModelConfig
from trainer.polygons import draw
from trainer.train import TrainConfig, train
from trainer.vocabulary import VOCABULARY


def config(output: Path, **changes: object) -> TrainConfig:
    tiny = TrainConfig(
        output=output,
        model=ModelConfig(channels=(4, 8), embedding_dim=8),
        mix=(SizedBatch(size=16, batch_size=8),),
        steps=12,
        validate_every=6,
        workers=0,
    )
    return replace(tiny, **changes)  # type: ignore[arg-type]


def test_one_seed_one_result(tmp_path: Path) -> None:
    for name in ("a", "b"):
        train(config(tmp_path / name))
    other = train(config(tmp_path / "c", seed=1))
    weights = [load_checkpoint(tmp_path / name).model.state_dict() for name in "abc"]

    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert not torch.equal(weights[0]["head.weight"], weights[2]["head.weight"])
    assert (other.steps, other.images) == (12, 96)


def test_training_learns(tmp_path: Path) -> None:
    short = train(config(tmp_path / "short", steps=3, validate_every=3))
    long = train(config(tmp_path / "long", steps=150, validate_every=150, learning_rate=0.01))
    assert long.validation_psnr_db > short.validation_psnr_db + 3


def test_the_checkpoint_tells_how_it_was_trained(tmp_path: Path) -> None:
    lines: list[str] = []
    train(config(tmp_path / "c", steps=6), report=lines.append)
    training = load_checkpoint(tmp_path / "c").training

    assert training["steps"] == 6
    assert training["images"] == 48
    assert training["options"]["learning_rate"] == 3e-3
    assert training["options"]["mix"] == [{"size": 16, "batch_size": 8}]
    assert np.isfinite(training["validation_psnr_db"])
    json.dumps(training)
    assert len(lines) == 1
    assert "validation PSNR" in lines[0]


def test_the_clock_ends_a_training(tmp_path: Path) -> None:
    result = train(config(tmp_path / "c", steps=None, minutes=0.02))
    assert result.steps >= 1
    training = load_checkpoint(tmp_path / "c").training
    assert training["steps"] == training["validated_step"] == result.steps
    assert np.isfinite(result.validation_psnr_db)


def test_own_pairs_a_vocabulary_and_bf16(tmp_path: Path) -> None:
    pairs = [draw(np.random.default_rng(i), 16, color=VOCABULARY[i][1]) for i in range(4)]
    model = ModelConfig(channels=(4, 8), embedding_dim=8, conditioning="vocabulary", palette=VOCABULARY)
    train(config(tmp_path / "c", model=model, precision="bf16-mixed"), pairs=pairs)
    assert load_checkpoint(tmp_path / "c").model.config == model


def test_a_training_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    train(config(tmp_path / "first"))
    first = load_checkpoint(tmp_path / "first")
    train(config(tmp_path / "second", initial=first, learning_rate=1e-7, steps=1, validate_every=1))
    second = load_checkpoint(tmp_path / "second")

    assert second.training["initial"]["sha256"] == first.sha256
    assert torch.allclose(second.model.head.weight, first.model.head.weight, atol=1e-5)
    with pytest.raises(ValueError, match="another architecture"):
        config(tmp_path / "third", initial=first, model=ModelConfig(channels=(4, 9)))


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": None},
        {"steps": 0},
        {"minutes": -1.0},
        {"mix": (SizedBatch(size=17, batch_size=8),)},
        {"mix": (SizedBatch(size=16, batch_size=1),)},
        {"learning_rate": 0.0},
        {"ema_decay": 1.0},
        {"validate_every": 0},
    ],
)
def test_options_are_checked_when_built(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must be|give steps|positive"):
        config(tmp_path / "c", **changes)
