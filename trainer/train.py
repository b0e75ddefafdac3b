"""The training loop, on Lightning: optimiser, schedule, weight averaging, validation, checkpoints, progress."""

import contextlib
import logging
import math
import signal
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import TQDMProgressBar, WeightAveraging
from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from polyexport.files import check_writable
from trainer.checkpoint import Checkpoint, save_checkpoint
from trainer.dataset import Batch, BatchStream, SizedBatch, collate, pair_batches, synthetic_batches
from trainer.losses import ColoringLoss, LossConfig
from trainer.model import ConditionalUNet, ModelConfig
from trainer.polygons import Drawing, DrawingConfig, draw

__all__ = ["TrainConfig", "TrainResult", "train"]

VALIDATION_SEED = 1_000_003  # a stream of its own: training seeds and this one never share a batch
_VALIDATION_DRAWINGS = 64
_WARM_UP = 0.03  # fraction of the training, learning rate rising linearly
_FINAL_LEARNING_RATE = 0.01  # fraction of the peak


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """One training. It ends after ``steps`` or ``minutes``, whichever comes first; the schedule follows that end."""

    output: Path
    """The checkpoint; rewritten at every validation and at the end."""

    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    drawings: DrawingConfig = field(default_factory=DrawingConfig)

    mix: tuple[SizedBatch, ...] = (SizedBatch(size=64, batch_size=36), SizedBatch(size=128, batch_size=16))
    """Batches of generated drawings, picked with equal odds."""

    steps: int | None = None
    """Optimiser steps. The same seed and steps give the same weights on the same machine."""

    minutes: float | None = None
    """Wall-clock minutes."""

    learning_rate: float = 3e-3
    """Peak of the cosine schedule."""

    weight_decay: float = 1e-4
    gradient_clip: float = 1.0
    """Largest gradient norm."""

    ema_decay: float = 0.999
    """Of the averaged weights, which are the ones that are validated and saved."""

    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    seed: int = 0

    initial: Checkpoint | None = None
    """Start from these weights; their architecture must be ``model``."""

    validate_every: int = 500
    """Steps between validations."""

    workers: int = 1
    """Processes that draw; 0 draws in the training process."""

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None:
            raise ValueError("give steps, minutes or both")
        if (self.steps is not None and self.steps < 1) or (self.minutes is not None and self.minutes <= 0):
            raise ValueError(f"steps and minutes must be positive, got {self.steps} and {self.minutes}")
        multiple = self.model.size_multiple
        for kind in self.mix:
            if kind.size < 16 or kind.size % multiple or kind.batch_size < 2:
                raise ValueError(f"sizes must be multiples of {multiple} from 16, batches of 2 or more; got {kind}")
        if not 0 < self.learning_rate < 1 or not 0 <= self.ema_decay < 1:
            raise ValueError(f"learning rate and EMA decay must be in (0, 1), got {self}")
        if self.initial is not None and self.initial.model.config != self.model:
            raise ValueError(f"the initial checkpoint is of another architecture: {self.initial.model.config}")
        if self.validate_every < 1 or self.workers < 0:
            raise ValueError("validate_every must be positive and workers not negative")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainResult:
    """What a finished training says of itself."""

    output: Path
    steps: int
    images: int
    minutes: float
    validation_psnr_db: float
    """Mean over held-out generated drawings, of the averaged weights."""


class _Coloring(pl.LightningModule):
    """Loss, optimiser and schedule around the model."""

    def __init__(self, model: ConditionalUNet, config: TrainConfig, progress: Callable[[int], float]) -> None:
        super().__init__()
        self.model = model
        self.loss = ColoringLoss(config.loss)
        self.config = config
        self.progress = progress
        self.validation_psnr_db: list[Tensor] = []

    def _inputs(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """uint8 batch -> image [B, 3, H, W], colour, target [B, 3, H, W], floats in [-1, 1]."""
        image, color, colored = batch
        image, colored = (
            x.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.channels_last) / 127.5 - 1
            for x in (image, colored)
        )
        if self.config.model.conditioning == "vocabulary":
            values = torch.tensor([rgb for _, rgb in self.config.model.palette], device=color.device)
            return image, (color[:, None].long() - values).abs().sum(-1).argmin(-1), colored
        return image, color.to(torch.float32) / 127.5 - 1, colored

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        image, color, target = self._inputs(batch)
        prediction = self.model(image, color)
        with torch.autocast(prediction.device.type, enabled=False):
            loss: Tensor = self.loss(prediction, target)
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        image, color, target = self._inputs(batch)
        # As a user sees it: rounded to 8 bits.
        levels = ((self.model(image, color) + 1) * 127.5).round().clamp(0, 255)
        squared_error = (levels - (target + 1) * 127.5).square().mean(dim=(1, 2, 3))
        # An exact image has no finite PSNR: half a level on one value in a thousand bounds it, at 84 dB.
        self.validation_psnr_db.append(10 * torch.log10(255.0**2 / squared_error.clamp_min(2.5e-4)))

    def on_validation_epoch_end(self) -> None:
        self.log("psnr", torch.cat(self.validation_psnr_db).mean(), prog_bar=True)
        self.validation_psnr_db.clear()

    def configure_optimizers(self) -> Any:
        optimizer = AdamW(self.parameters(), lr=self.config.learning_rate, weight_decay=self.config.weight_decay)

        def factor(step: int) -> float:
            done = self.progress(step)
            if done < _WARM_UP:
                return max(done / _WARM_UP, 1e-3)
            cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, (done - _WARM_UP) / (1 - _WARM_UP))))
            return _FINAL_LEARNING_RATE + (1 - _FINAL_LEARNING_RATE) * cosine

        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}}


class _Recorder(pl.Callback):
    """Writes the checkpoint at every validation, and ends the training on time.

    Must stand before the averaging callback: validation ends with the averaged weights still in the model.
    """

    def __init__(self, config: TrainConfig, model: ConditionalUNet, report: Callable[[str], None]) -> None:
        self.config = config
        self.model = model
        self.report = report
        self.started = time.monotonic()
        self.images = 0
        self.psnr_db = math.nan
        self.steps = 0
        self.validated_step = 0

    @property
    def minutes(self) -> float:
        return (time.monotonic() - self.started) / 60

    def progress(self, step: int) -> float:
        """Fraction of the training that is done, 0 to 1, by steps or by the clock."""
        by_steps = step / self.config.steps if self.config.steps else 0.0
        by_clock = self.minutes / self.config.minutes if self.config.minutes else 0.0
        return min(1.0, max(by_steps, by_clock))

    def save(self) -> None:
        plain = {field.name: getattr(self.config, field.name) for field in fields(self.config)}
        initial = plain.pop("initial")
        for key in ("output", "model"):
            del plain[key]
        options = {key: _plain(value) for key, value in plain.items()}
        training = {
            "initial": None if initial is None else {"sha256": initial.sha256, "training": initial.training},
            "options": options,
            "steps": self.steps,
            "images": self.images,
            "minutes": round(self.minutes, 2),
            "validated_step": self.validated_step,
            "validation_psnr_db": None if math.isnan(self.psnr_db) else round(self.psnr_db, 3),
            "torch": torch.__version__,
        }
        size = max(kind.size for kind in self.config.mix)
        save_checkpoint(Checkpoint(model=self.model, training_size=size, training=training), self.config.output)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self.steps = trainer.global_step
        self.images += len(batch[0])
        if self.config.minutes is not None and self.minutes >= self.config.minutes:
            trainer.should_stop = True

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, _Coloring)
        self.psnr_db = float(torch.cat(pl_module.validation_psnr_db).mean())
        self.validated_step = self.steps
        self.save()
        self.report(
            f"step {self.steps}: {self.minutes:.1f} min, {self.images} images, "
            f"validation PSNR {self.psnr_db:.2f} dB -> {self.config.output}"
        )


def _plain(value: Any) -> Any:
    """Nested option objects -> what JSON holds."""
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


class _Averaging(WeightAveraging):
    """EMA whose decay grows from 0.1 towards ``decay``, so that a short training is not mostly its random start."""

    def __init__(self, decay: float) -> None:
        def average(averaged: Tensor, current: Tensor, num_averaged: Tensor | int) -> Tensor:
            count = float(num_averaged)
            weight = 1 - min(decay, (1 + count) / (10 + count))
            return averaged + weight * (current - averaged) if averaged.is_floating_point() else current

        super().__init__(avg_fn=average)

    def settle(self, module: pl.LightningModule) -> None:
        """Put the averaged weights into the model, as the end of a training does."""
        if self._average_model is not None:
            self._copy_average_to_current(module)


def _deaf_worker(_: int) -> None:
    """Ctrl-C reaches every process of the terminal; the training process alone decides what it means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def train(
    config: TrainConfig, *, pairs: list[Drawing] | None = None, report: Callable[[str], None] = lambda line: None
) -> TrainResult:
    """Train a model and write its checkpoint.

    Args:
        config: everything that decides the result.
        pairs: train on these (all of one size) in place of generated drawings.
        report: called with one line of text at each validation.

    Raises:
        OutputError: the checkpoint cannot be written.
    """
    check_writable(config.output.parent)
    pl.seed_everything(config.seed, verbose=False)
    model = ConditionalUNet(config.model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if config.initial is not None:
        model.load_state_dict(config.initial.model.state_dict())
    recorder = _Recorder(config, model, report)
    module = _Coloring(model, config, recorder.progress)
    if pairs is not None:
        make = pair_batches(pairs, config.mix[-1].batch_size)
    else:
        make = synthetic_batches(config.mix, config.drawings)
    batches = DataLoader(
        BatchStream(make, seed=config.seed),
        batch_size=None,
        num_workers=config.workers,
        worker_init_fn=_deaf_worker,
        prefetch_factor=8 if config.workers else None,
    )
    size = max(kind.size for kind in config.mix)

    def held_out(rng: Any) -> Batch:
        return collate([draw(rng, size, config.drawings) for _ in range(16)])

    validation = DataLoader(
        BatchStream(held_out, seed=VALIDATION_SEED, count=_VALIDATION_DRAWINGS // 16), batch_size=None
    )
    show_bar = sys.stderr.isatty()
    averaging = _Averaging(config.ema_decay)
    callbacks: list[pl.Callback] = [recorder, averaging]
    if show_bar:
        callbacks.append(TQDMProgressBar())
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)  # no hardware inventory, no product tips
    # Lightning draws its bar on stdout, which belongs to data.
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        # Advice for data loaders of another kind: drawing costs little, and a stream has no length.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")  # Lightning's own use of torch
        trainer = pl.Trainer(
            accelerator="auto",
            devices=1,
            precision=config.precision,
            max_steps=config.steps or -1,
            max_epochs=-1,
            gradient_clip_val=config.gradient_clip,
            val_check_interval=config.validate_every,
            check_val_every_n_epoch=None,
            callbacks=callbacks,
            enable_progress_bar=show_bar,
            enable_model_summary=False,
            enable_checkpointing=False,
            logger=False,
            num_sanity_val_steps=0,
        )
        try:
            trainer.fit(module, batches, validation)
        except Exception:
            raise
        except BaseException:  # Ctrl-C or a signal, not a failure: what was learned so far is worth keeping
            if recorder.steps:
                averaging.settle(module)
                recorder.save()
                report(f"stopped at step {recorder.steps}; {config.output} holds it")
            raise
        if recorder.validated_step != recorder.steps:
            trainer.validate(module, validation, verbose=False)
    return TrainResult(
        output=config.output,
        steps=recorder.steps,
        images=recorder.images,
        minutes=recorder.minutes,
        validation_psnr_db=recorder.psnr_db,
    )
