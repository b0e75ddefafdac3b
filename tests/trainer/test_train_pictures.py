"""Trainings on pictures without a color: with a label for each, or with nothing beside them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from polyexport.errors import CheckpointError, UsageError
from trainer.batches import SizedBatch
from trainer.checkpoint import load_checkpoint
from trainer.config import TrainConfig
from trainer.example import Example
from trainer.network import ModelConfig
from trainer.tracking import open_tracker, read_metrics
from trainer.train import train

PLAIN = ModelConfig(channels=(4, 8), embedding_dim=8, conditioning="none")
LABELED = replace(PLAIN, conditioning="label", labels=("darker", "lighter"))


def pictures(*seeds: int, labels: bool = False) -> list[Example]:
    """Soft pictures; the target is the picture, or by its label a darker or a lighter one."""
    examples = []
    for seed in seeds:
        coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
        image = np.kron(coarse, np.ones((4, 4, 1), np.uint8))
        label = seed % 2 if labels else None
        target = image if label is None else image // 2 + 128 * label
        examples.append(Example(image=image, condition=label, target=target.astype(np.uint8)))
    return examples


def config(output: Path, model: ModelConfig, *, steps: int = 4, validate_every: int = 2) -> TrainConfig:
    return TrainConfig(
        output=output,
        model=model,
        mix=(SizedBatch(size=16, batch_size=8),),
        size=16,
        steps=steps,
        validate_every=validate_every,
        learning_rate=0.02,
        workers=0,
    )


def test_a_network_without_a_condition_is_trained_and_recorded(tmp_path: Path) -> None:
    made = config(tmp_path / "c", PLAIN)
    lines: list[str] = []
    result = train(
        made,
        pairs=pictures(*range(6)),
        validation=pictures(7, 8),
        open_record=lambda step: open_tracker("local", tmp_path / "c.run", {}, name="c"),
        report=lines.append,
    )
    checkpoint = load_checkpoint(tmp_path / "c")

    assert lines[0] == "trains on 6 pairs, validates on 2 pairs, not trained on"
    assert checkpoint.model.config == PLAIN
    assert checkpoint.training["result"] == "picture"
    assert checkpoint.training["validation_psnr_db"] == pytest.approx(result.best_psnr_db, abs=1e-3)
    assert "A UNet, widths 4-8, which takes nothing but the picture.\n" in (tmp_path / "c.run/card.md").read_text()
    assert {"validation/psnr_db", "validation/loss"} < read_metrics(tmp_path / "c.run/metrics.csv").keys()
    assert (tmp_path / "c.run/samples/step_0000004.png").exists()
    json.dumps(checkpoint.training)


def test_labels_are_told_apart(tmp_path: Path) -> None:
    made = config(tmp_path / "c", LABELED, steps=80, validate_every=80)
    result = train(made, pairs=pictures(*range(24), labels=True), validation=pictures(40, 41, labels=True))
    model = load_checkpoint(tmp_path / "c").model
    assert model.config.labels == ("darker", "lighter")
    (example,) = pictures(50)
    image = torch.from_numpy(example.image).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.inference_mode():
        darker, lighter = (float(model(image, torch.tensor([label])).mean()) for label in (0, 1))
    assert darker < -0.2 < 0.2 < lighter
    assert result.best_psnr_db > 12


@pytest.mark.parametrize("model", [PLAIN, LABELED])
def test_a_resumed_training_writes_the_same_bytes(tmp_path: Path, model: ModelConfig) -> None:
    pairs, held_out = (pictures(*seeds, labels=bool(model.labels)) for seeds in (range(4), (5, 6)))

    def interrupt(line: str) -> None:
        if line.startswith("step 2:"):
            raise KeyboardInterrupt

    train(config(tmp_path / "whole", model), pairs=pairs, validation=held_out)
    broken = config(tmp_path / "broken", model)
    with pytest.raises(KeyboardInterrupt):
        train(broken, pairs=pairs, validation=held_out, report=interrupt)
    whole, parts = (tmp_path / f"{name}.run" / "last.safetensors" for name in ("whole", "broken"))
    assert parts.read_bytes() != whole.read_bytes()
    train(broken, pairs=pairs, validation=held_out, resume=True)
    assert parts.read_bytes() == whole.read_bytes()
    assert (tmp_path / "broken").read_bytes() == (tmp_path / "whole").read_bytes()


def test_other_labels_are_not_resumed(tmp_path: Path) -> None:
    pairs = pictures(*range(4), labels=True)
    train(config(tmp_path / "c", LABELED), pairs=pairs, validation=pairs)
    other = config(tmp_path / "c", replace(LABELED, labels=("darker", "whiter")))
    with pytest.raises(
        CheckpointError, match=r"with labels \['darker', 'lighter'\], this one has labels \['darker', 'w"
    ):
        train(other, pairs=pairs, validation=pairs, resume=True)
    with pytest.raises(
        CheckpointError, match=r"with conditioning label, labels .*, this one has conditioning none, la"
    ):
        train(config(tmp_path / "c", PLAIN), pairs=pictures(1, 2), validation=pictures(3), resume=True)


@pytest.mark.parametrize("model", [PLAIN, LABELED])
def test_generated_drawings_are_for_networks_that_take_a_color(tmp_path: Path, model: ModelConfig) -> None:
    with pytest.raises(UsageError, match="networks that fill with a color; give --data DIR"):
        train(config(tmp_path / "c", model))
    assert not list(tmp_path.iterdir())
