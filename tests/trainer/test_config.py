from pathlib import Path
from typing import Any

import pytest

from trainer.batches import SizedBatch
from trainer.config import TrainConfig, options_of, run_folder


def test_the_folder_beside_a_checkpoint() -> None:
    assert run_folder(Path("runs/mine.safetensors")) == Path("runs/mine")
    assert run_folder(Path("runs/mine")) == Path("runs/mine.run")


def test_options_are_recorded_without_the_network_and_the_paths() -> None:
    options = options_of(TrainConfig(output=Path("c"), steps=1))
    assert not options.keys() & {"output", "model", "initial"}
    assert options["mix"] == [
        {"size": 64, "batch_size": 36, "share": 0.15},
        {"size": 128, "batch_size": 16, "share": 0.4},
        {"size": 192, "batch_size": 7, "share": 0.3},
        {"size": 256, "batch_size": 4, "share": 0.1},
        {"size": 512, "batch_size": 2, "share": 0.05},
    ]
    assert options["drawings"]["gapped"] == 0.5


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
        {"early_stopping": 0},
        {"gradient_clip": 0.0},
        {"plateau_factor": 1.0},
        {"devices": 0},
    ],
)
def test_options_are_checked_when_built(changes: dict[str, Any]) -> None:
    options: dict[str, Any] = {"output": Path("c"), "steps": 12} | changes
    with pytest.raises(ValueError, match=r"must be|give steps|positive"):
        TrainConfig(**options)
