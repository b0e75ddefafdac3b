import errno
import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from polyexport.data.drawing_config import DrawingConfig
from polyexport.data.drawings import draw
from polyexport.data.vocabulary import VOCABULARY
from polyexport.errors import CheckpointError, OutputError, TrainingError, UsageError
from trainer.batches import Batch, SizedBatch
from trainer.checkpoint import Checkpoint, load_checkpoint, weights_sha256
from trainer.config import TrainConfig
from trainer.example import Example, example_of
from trainer.network import ConditionalUNet, ModelConfig
from trainer.tracking import Tracker, open_tracker
from trainer.train import train


def config(output: Path, **changes: object) -> TrainConfig:
    tiny = TrainConfig(
        output=output,
        model=ModelConfig(channels=(4, 8), embedding_dim=8),
        mix=(SizedBatch(size=16, batch_size=8),),
        size=16,
        drawings=DrawingConfig(),
        steps=12,
        validate_every=6,
        workers=0,
    )
    return replace(tiny, **changes)  # type: ignore[arg-type]


def test_the_same_seed_gives_the_same_checkpoint(tmp_path: Path) -> None:
    for name in ("a", "b"):
        train(config(tmp_path / name))
    other = train(config(tmp_path / "c", seed=1))
    written = [(tmp_path / name).read_bytes() for name in "abc"]

    assert written[0] == written[1]
    assert written[0] != written[2]
    assert other.weights_sha256 == weights_sha256(tmp_path / "c")
    assert (other.steps, other.images) == (12, 96)


def test_training_learns(tmp_path: Path) -> None:
    short = train(config(tmp_path / "short", steps=3, validate_every=3))
    long = train(config(tmp_path / "long", steps=150, validate_every=150, learning_rate=0.01))
    assert long.best_psnr_db > short.best_psnr_db + 3


def test_the_checkpoint_tells_how_it_was_trained(tmp_path: Path) -> None:
    lines: list[str] = []
    train(config(tmp_path / "c", steps=6), report=lines.append)
    training = load_checkpoint(tmp_path / "c").training

    assert training["steps"] == 6
    assert training["images"] == 48
    assert training["result"] == "fill"
    assert training["options"]["learning_rate"] == 3e-3
    assert training["options"]["mix"] == [{"size": 16, "batch_size": 8, "share": 1.0}]
    assert np.isfinite(training["validation_psnr_db"])
    assert "minutes" not in training  # the same steps give the same bytes
    json.dumps(training)
    assert len(lines) == 1
    assert "validation PSNR" in lines[0]


def test_a_time_limit_ends_a_training(tmp_path: Path) -> None:
    result = train(config(tmp_path / "c", steps=None, minutes=0.02))
    assert result.steps >= 1
    training = load_checkpoint(tmp_path / "c").training
    assert training["steps"] == training["validated_step"] == result.best_step
    latest = load_checkpoint(tmp_path / "c.run" / "last.safetensors").training
    assert latest["steps"] == latest["validated_step"] == result.steps
    assert np.isfinite(result.best_psnr_db)


def test_own_pairs_a_vocabulary_and_mixed_precision(tmp_path: Path) -> None:
    pairs = [example_of(draw(np.random.default_rng(i), 16, color=VOCABULARY[i][1])) for i in range(4)]
    model = ModelConfig(channels=(4, 8), embedding_dim=8, conditioning="vocabulary", palette=VOCABULARY)
    train(config(tmp_path / "c", model=model, precision="mixed"), pairs=pairs, validation=pairs)
    assert load_checkpoint(tmp_path / "c").model.config == model


def pairs_of(*seeds: int) -> list[Example]:
    return [example_of(draw(np.random.default_rng(seed), 16)) for seed in seeds]


def recorded(tmp_path: Path, training: list[Example], scored: list[Example]) -> tuple[list[str], dict[str, Any], str]:
    """The report of a training on pairs, what its checkpoint holds, and every text of its record as one."""
    lines: list[str] = []
    made = config(tmp_path / "c", steps=1, validate_every=1)
    result = train(
        made,
        pairs=training,
        validation=scored,
        open_record=lambda step: open_tracker("local", tmp_path / "c.run", {}, name="c"),
        report=lines.append,
    )
    record = "".join((tmp_path / "c.run" / name).read_text() for name in ("metrics.csv", "card.md", "scores.json"))
    assert result.best_psnr_db > 0
    return lines, load_checkpoint(tmp_path / "c").training, record


def test_scores_on_the_training_pairs_are_not_called_validation(tmp_path: Path) -> None:
    lines, training, record = recorded(tmp_path, pairs_of(0, 1), pairs_of(1))

    assert lines[0] == (
        "trains on 2 pairs, and no other pair is there to validate on: all scores are those of the training pairs"
    )
    assert len(lines) == 2
    assert all("training pairs PSNR" in line and "validation" not in line for line in lines[1:])
    assert "validation_psnr_db" not in training
    assert training["training_pairs_psnr_db"] > 0
    assert training["scored_on"] == {"drawings": "pairs", "count": 1, "trained_on": 1}
    assert "validation" not in record.replace("validate_every", "").replace("validated", "")
    for said in ("1,training_pairs/psnr_db,", "- best training pairs PSNR: ", '"training_pairs/psnr_db": '):
        assert said in record


def test_pairs_that_are_trained_on_too_are_counted(tmp_path: Path) -> None:
    lines, training, record = recorded(tmp_path, pairs_of(0, 1, 2), pairs_of(2, 3))

    assert lines[0] == "trains on 3 pairs, validates on 2 pairs, 1 trained on too"
    assert training["validation_psnr_db"] > 0
    assert training["scored_on"] == {"drawings": "pairs", "count": 2, "trained_on": 1}
    assert "- scored on: 2 pairs, 1 trained on too\n" in record


def test_held_out_pairs_are_validation(tmp_path: Path) -> None:
    lines, training, record = recorded(tmp_path, pairs_of(0), pairs_of(1))

    assert lines[0] == "trains on 1 pair, validates on 1 pair, not trained on"
    assert "validation PSNR" in lines[1]
    assert training["scored_on"]["trained_on"] == 0
    assert "training_pairs" not in record


def test_a_best_score_on_other_drawings_does_not_count(tmp_path: Path) -> None:
    first = train(config(tmp_path / "c", steps=2, validate_every=2), pairs=pairs_of(0, 1), validation=pairs_of(2))
    lines: list[str] = []
    other = config(tmp_path / "c", steps=4, validate_every=2, learning_rate=1e-8)
    second = train(other, pairs=pairs_of(0, 1), validation=pairs_of(3), resume=True, report=lines.append)

    assert "validation drawings (the best score starts anew)" in lines[1]
    assert (first.best_step, second.best_step) == (2, 4)
    again = train(
        replace(other, steps=6), pairs=pairs_of(0, 1), validation=pairs_of(3), resume=True, report=lines.append
    )
    assert "validation drawings" not in "".join(lines[3:])
    assert again.best_psnr_db >= second.best_psnr_db


def test_a_training_starts_from_a_checkpoint(tmp_path: Path) -> None:
    train(config(tmp_path / "first"))
    first = load_checkpoint(tmp_path / "first")
    train(config(tmp_path / "second", initial=first, learning_rate=1e-7, steps=1, validate_every=1))
    wider = ModelConfig(channels=(8, 16), embedding_dim=8)
    train(config(tmp_path / "wider", initial=first, model=wider, learning_rate=1e-7, steps=1, validate_every=1))
    second, third = (load_checkpoint(tmp_path / name) for name in ("second", "wider"))

    assert second.training["initial"]["sha256"] == first.sha256
    assert torch.allclose(second.model.head.weight, first.model.head.weight, atol=1e-5)
    scores = [each.training["validation_psnr_db"] for each in (first, third)]
    assert scores[1] == pytest.approx(scores[0], abs=0.6)
    with pytest.raises(ValueError, match="must be multiples"):
        config(tmp_path / "third", initial=first, model=ModelConfig(channels=(4, 9), embedding_dim=8))


class Killed(BaseException):
    """Any event that ends a training abruptly, such as a signal."""


def killed_at(step: int) -> Callable[[int | None], Tracker]:
    """A record that ends the training when a step's metrics arrive."""

    class Ending:
        def metrics(self, at: int, values: Mapping[str, float]) -> None:
            if at == step and "train/loss" in values:
                raise Killed

        def images(self, step: int, name: str, grid: NDArray[np.uint8]) -> None: ...
        def card(self, text: str, scores: Mapping[str, float]) -> None: ...
        def close(self, *, failed: bool = False) -> None:
            assert failed

    return lambda resumed: Ending()


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_a_resumed_training_writes_the_same_bytes(tmp_path: Path, schedule: str) -> None:
    options = {"steps": 30, "validate_every": 6, "schedule": schedule, "plateau_patience": 0, "freeze_norm": 0.6}
    whole = train(config(tmp_path / "whole", **options))
    with pytest.raises(Killed):
        train(config(tmp_path / "broken", **options), open_record=killed_at(20))
    lines: list[str] = []
    resumed = train(config(tmp_path / "broken", **options), resume=True, report=lines.append)

    assert lines[0] == "resumed at step 20"
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "broken").read_bytes()
    latest = [(tmp_path / f"{name}.run" / "last.safetensors").read_bytes() for name in ("whole", "broken")]
    assert latest[0] == latest[1]
    assert resumed.weights_sha256 == whole.weights_sha256
    assert resumed.images == whole.images


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_a_training_is_resumed_that_was_ended_before_its_first_validation(tmp_path: Path, schedule: str) -> None:
    early = config(tmp_path / "c", steps=12, validate_every=12, schedule=schedule)
    with pytest.raises(Killed):
        train(early, open_record=killed_at(10))
    assert train(early, resume=True).best_step == 12


def test_a_result_in_float16_is_resumed_and_started_from(tmp_path: Path) -> None:
    half = train(config(tmp_path / "half", float16=True))
    with pytest.raises(Killed):
        train(config(tmp_path / "broken", float16=True), open_record=killed_at(10))
    assert load_checkpoint(tmp_path / "broken").float16_tensors == 0
    train(config(tmp_path / "broken", float16=True), resume=True)
    whole = train(config(tmp_path / "whole"))
    loaded, latest = load_checkpoint(tmp_path / "half"), load_checkpoint(tmp_path / "half.run" / "last.safetensors")

    assert (tmp_path / "half").read_bytes() == (tmp_path / "broken").read_bytes()
    assert loaded.float16_tensors == sum(tensor.ndim >= 2 for tensor in loaded.model.state_dict().values())
    assert latest.float16_tensors == 0
    assert half.weights_sha256 == weights_sha256(tmp_path / "half") != whole.weights_sha256
    train(config(tmp_path / "whole", float16=True), resume=True)  # there is nothing left to train
    assert weights_sha256(tmp_path / "whole") == half.weights_sha256
    train(config(tmp_path / "next", initial=loaded, learning_rate=1e-8, steps=1))
    head = load_checkpoint(tmp_path / "next").model.head.weight
    assert torch.allclose(head, loaded.model.head.weight, atol=1e-5)


def test_a_result_that_float16_does_not_hold_stays_in_float32(tmp_path: Path) -> None:
    large = ConditionalUNet(config(tmp_path / "c").model)
    with torch.no_grad():
        large.head.weight.fill_(1e5)
    initial = Checkpoint(model=large, training_size=16)
    with pytest.raises(CheckpointError, match=r"c cannot be written in float16, .* head\.weight .*without --float16"):
        train(config(tmp_path / "c", initial=initial, float16=True))
    assert load_checkpoint(tmp_path / "c").float16_tensors == 0
    assert train(config(tmp_path / "c", initial=initial), resume=True).steps == 12


def test_a_finished_training_can_be_extended(tmp_path: Path) -> None:
    train(config(tmp_path / "c"))
    lines: list[str] = []
    longer = train(config(tmp_path / "c", steps=18, seed=5), resume=True, report=lines.append)
    assert longer.steps == 18
    assert lines[0] == "resumed at step 12, with other seed, steps"


def test_what_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no training to resume"):
        train(config(tmp_path / "none"), resume=True)
    train(config(tmp_path / "c"))
    other = ModelConfig(channels=(4, 9), embedding_dim=8)
    with pytest.raises(CheckpointError, match=r"channels \[4, 8\], this one has channels \[4, 9\]"):
        train(config(tmp_path / "c", model=other), resume=True)
    state = tmp_path / "c.run" / "state.safetensors"
    before = (tmp_path / "c").read_bytes()
    state.write_bytes(state.read_bytes()[:-7])
    with pytest.raises(CheckpointError, match="not a complete state"):
        train(config(tmp_path / "c"), resume=True)
    assert (tmp_path / "c").read_bytes() == before


def test_a_loss_that_is_not_finite_stops_the_training(tmp_path: Path) -> None:
    """The error names the step, and the last good checkpoint stays."""
    train(config(tmp_path / "c", steps=6))
    good = (tmp_path / "c").read_bytes()

    class Poisoned(ConditionalUNet):
        def forward(self, image: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
            output = super().forward(image, condition)
            return output * math.nan if self.training and float(self.head.weight.detach().abs().sum()) > 0 else output

    model = Poisoned(config(tmp_path / "c").model)
    with pytest.raises(TrainingError, match=r"the loss was nan in step 7; .* keeps step 6"):
        train(config(tmp_path / "c", steps=12), model=model, resume=True)
    assert (tmp_path / "c").read_bytes() == good


def test_a_full_disk_leaves_the_checkpoint_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    validations: list[str] = []
    kept: dict[str, bytes] = {}
    fsync = os.fsync

    def full(descriptor: int) -> None:
        if validations:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    def report(line: str) -> None:
        validations.append(line)
        kept.update({name: (tmp_path / name).read_bytes() for name in ("c", "c.run/last.safetensors")})

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        train(config(tmp_path / "c"), report=report)

    assert len(validations) == 1
    assert {name: (tmp_path / name).read_bytes() for name in kept} == kept
    assert not list(tmp_path.rglob("*.polyexport-tmp"))
    monkeypatch.undo()
    assert train(config(tmp_path / "c"), resume=True).steps == 12


@pytest.mark.slow
def test_a_plateau_halves_the_learning_rate(tmp_path: Path) -> None:
    rates: list[float] = []

    class Watching:
        def metrics(self, at: int, values: Mapping[str, float]) -> None:
            if "train/learning_rate" in values:
                rates.append(values["train/learning_rate"])

        def images(self, step: int, name: str, grid: NDArray[np.uint8]) -> None: ...
        def card(self, text: str, scores: Mapping[str, float]) -> None: ...
        def close(self, *, failed: bool = False) -> None: ...

    train(
        # Far too high a rate to get anywhere: validations do not improve for long.
        config(tmp_path / "c", steps=120, validate_every=4, schedule="plateau", plateau_patience=1, learning_rate=0.9),
        open_record=lambda resumed: Watching(),
    )
    assert rates[0] == 0.9
    assert 0.9 / 2 in rates
    assert rates == sorted(rates, reverse=True)


def test_the_throughput_counts_the_wait_for_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds, rates = 0.0, []
    image = torch.zeros(8, 16, 16, 3, dtype=torch.uint8)

    def slow(rng: np.random.Generator) -> Batch:
        nonlocal seconds
        seconds += 2
        return image, torch.zeros(8, 3, dtype=torch.uint8), image

    class Watching:
        def metrics(self, at: int, values: Mapping[str, float]) -> None:
            if "train/images_per_s" in values:
                rates.append(values["train/images_per_s"])

        def images(self, step: int, name: str, grid: NDArray[np.uint8]) -> None: ...
        def card(self, text: str, scores: Mapping[str, float]) -> None: ...
        def close(self, *, failed: bool = False) -> None: ...

    monkeypatch.setattr("trainer.train.synthetic_batches", lambda mix, drawings: slow)
    monkeypatch.setattr("trainer.loop.time", SimpleNamespace(monotonic=lambda: seconds))
    train(config(tmp_path / "c", steps=20, validate_every=20), open_record=lambda resumed: Watching())
    assert rates == [4.0, 4.0]


def test_early_stopping(tmp_path: Path) -> None:
    result = train(
        config(tmp_path / "c", steps=400, validate_every=2, learning_rate=1e-8, early_stopping=3, ema_decay=0.0)
    )
    assert result.stopped_early
    assert result.steps < 400
    assert result.best_step < result.steps
    assert load_checkpoint(tmp_path / "c").training["steps"] == result.best_step
    assert load_checkpoint(tmp_path / "c.run" / "last.safetensors").training["steps"] == result.steps


def test_normalization_statistics_are_fixed_after_a_fraction_of_the_training(tmp_path: Path) -> None:
    def statistics(share: float, steps: int) -> torch.Tensor:
        train(config(tmp_path / "c", steps=steps, validate_every=steps, freeze_norm=share, ema_decay=0.0))
        return load_checkpoint(tmp_path / "c").model.get_buffer("encoder.0.1.running_mean")

    assert statistics(0.0, 8).abs().max() == 0  # as it was built
    assert statistics(1.0, 8).abs().max() > 0
