"""The training loop, on Lightning Fabric: optimiser, schedule, weight averaging, validation, checkpoints, resumption.

Beside the checkpoint ``model.safetensors`` (the best validation so far) a training keeps a folder ``model/`` with
``last.safetensors`` (the latest validation), ``state.safetensors`` (what a resumed training starts from) and whatever
its tracker writes.
"""

import contextlib
import json
import logging
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import numpy as np
import torch
from lightning.fabric import Fabric, seed_everything
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader
from tqdm import tqdm

from polyexport.data.drawing_config import DrawingConfig
from polyexport.data.drawings import Drawing, draw
from polyexport.errors import TrainingError
from polyexport.storage.files import check_writable
from trainer.batches import (
    Batch,
    BatchStream,
    PairConfig,
    SizedBatch,
    collate,
    pair_batches,
    synthetic_batches,
)
from trainer.charts import sample_grid
from trainer.checkpoint import Checkpoint, save_checkpoint, weights_sha256
from trainer.growth import check_growth, grow
from trainer.losses import ColoringLoss, LossConfig
from trainer.network import ConditionalUNet, ModelConfig
from trainer.state import Progress, load_state, save_state
from trainer.tracking import Tracker

__all__ = ["TrainConfig", "TrainResult", "options_of", "run_folder", "train"]

VALIDATION_SEED = 1_000_003  # a stream of its own: training seeds and this one never share a batch
_VALIDATION_DRAWINGS = 64
_VALIDATION_BATCH = 16
_WARM_UP = 0.03  # fraction of the training, learning rate rising linearly
_FINAL_LEARNING_RATE = 0.01  # fraction of the peak
_TRACK_EVERY = 10  # steps

Precision = Literal["32-true", "mixed", "bf16-mixed", "16-mixed"]
Schedule = Literal["cosine", "plateau"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """One training. It ends after ``steps`` or ``minutes``, whichever comes first; the schedule follows that end."""

    output: Path
    """The checkpoint; rewritten at every validation that is better than all before."""

    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    drawings: DrawingConfig = field(default_factory=DrawingConfig)
    pairs: PairConfig = field(default_factory=PairConfig)

    mix: tuple[SizedBatch, ...] = (SizedBatch(size=64, batch_size=36), SizedBatch(size=128, batch_size=16))
    """Batches of generated drawings, picked with equal odds."""

    steps: int | None = None
    """Optimiser steps. The same seed and steps give the same checkpoint, byte for byte, on the same machine."""

    minutes: float | None = None
    """Wall-clock minutes; those before an interruption count."""

    learning_rate: float = 3e-3
    """At its peak."""

    schedule: Schedule = "cosine"
    """``cosine``: a linear warm-up, then half a cosine down to a hundredth, in step with the training's end.
    ``plateau``: constant, halved whenever ``plateau_patience`` validations in a row were no better."""

    plateau_patience: int = 5
    plateau_factor: float = 0.5

    early_stopping: int | None = None
    """End the training after so many validations in a row without a new best one; None: never."""

    weight_decay: float = 1e-4
    gradient_clip: float = 1.0
    """Largest gradient norm."""

    ema_decay: float = 0.999
    """Of the averaged weights, which are the ones that are validated and saved."""

    freeze_norm: float = 0.5
    """Fraction of the training after which batch normalisation keeps its statistics. A batch holds few colours, so its
    statistics move the colour of every image in it; only with fixed ones does the network learn exact colours."""

    precision: Precision = "32-true"
    """``mixed``: float16 on a GPU, bfloat16 on the CPU."""

    seed: int = 0

    initial: Checkpoint | None = None
    """Start from these weights, grown to ``model`` where that is larger (``trainer.growth``)."""

    validate_every: int = 500
    """Steps between validations."""

    workers: int = 1
    """Processes that draw; 0 draws in the training process."""

    devices: int = 1
    """GPUs, or processes where there is none; each takes its share of the batches."""

    strategy: str = "auto"
    """How several devices work together, by Lightning's name for it: ``ddp``, ``fsdp``, ..."""

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None:
            raise ValueError("give steps, minutes or both")
        if (self.steps is not None and self.steps < 1) or (self.minutes is not None and self.minutes <= 0):
            raise ValueError(f"steps and minutes must be positive, got {self.steps} and {self.minutes}")
        multiple = self.model.size_multiple
        for kind in self.mix:
            if kind.size < 16 or kind.size % multiple or kind.batch_size < 2:
                raise ValueError(f"sizes must be multiples of {multiple} from 16, batches of 2 or more; got {kind}")
        if not 0 < self.learning_rate < 1 or not 0 <= self.ema_decay < 1 or not 0 < self.plateau_factor < 1:
            raise ValueError("learning rate, EMA decay and plateau factor must be in (0, 1)")
        if self.weight_decay < 0 or self.gradient_clip <= 0 or self.freeze_norm < 0:
            raise ValueError("weight decay and freeze_norm must not be negative, gradient_clip must be positive")
        if self.initial is not None:
            check_growth(self.initial.model.config, self.model)
        if self.early_stopping is not None and self.early_stopping < 1:
            raise ValueError(f"early_stopping must be positive, got {self.early_stopping}")
        if self.validate_every < 1 or self.workers < 0 or self.devices < 1 or self.plateau_patience < 0:
            raise ValueError("validate_every and devices must be positive, workers and patience not negative")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainResult:
    """What a finished training says of itself."""

    output: Path
    steps: int
    images: int
    minutes: float
    validation_psnr_db: float
    """Of the best validation, whose averaged weights ``output`` holds: the mean over held-out drawings."""

    best_step: int
    weights_sha256: str
    """Of the weights in ``output``, whatever the rest of the file says."""

    stopped_early: bool

    speaks: bool
    """Whether this process is the one of several that tells the result."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Scores:
    psnr_db: float
    mae: float
    """Levels."""

    within_8: float
    loss: float


def run_folder(output: Path) -> Path:
    """Where a training keeps what is not the checkpoint itself."""
    return output.with_name(output.stem) if output.suffix else output.with_name(output.name + ".run")


def options_of(config: TrainConfig) -> dict[str, Any]:
    """Everything that decides a training's result, as JSON holds it."""
    plain = {each.name: getattr(config, each.name) for each in fields(config)}
    for key in ("output", "model", "initial"):
        del plain[key]

    def nested(value: Any) -> Any:
        return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)

    return dict(json.loads(json.dumps(plain, default=nested)))


def _inputs(batch: Batch, config: ModelConfig) -> tuple[Tensor, Tensor, Tensor]:
    """uint8 batch -> image [B, 3, H, W], colour, target [B, 3, H, W], floats in [-1, 1]."""
    image, color, colored = batch
    image, colored = (
        x.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.channels_last) / 127.5 - 1 for x in (image, colored)
    )
    if config.conditioning == "vocabulary":
        values = torch.tensor([rgb for _, rgb in config.palette], device=color.device)
        return image, (color[:, None].long() - values).abs().sum(-1).argmin(-1), colored
    return image, color.to(torch.float32) / 127.5 - 1, colored


def _averaged(model: ConditionalUNet, decay: float) -> AveragedModel:
    """EMA whose decay grows from 0.1 towards ``decay``, so that a short training is not mostly its random start."""

    def average(averaged: Tensor, current: Tensor, num_averaged: Tensor | int) -> Tensor:
        if not averaged.is_floating_point():
            return current
        count = float(num_averaged)
        return averaged + (1 - min(decay, (1 + count) / (10 + count))) * (current - averaged)

    return AveragedModel(model, avg_fn=average, use_buffers=True)


def _deaf_worker(_: int) -> None:
    """Ctrl-C reaches every process of the terminal; the training process alone decides what it means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextlib.contextmanager
def _signals_between_steps() -> Iterator[Callable[[], None]]:
    """Hold the first signal back until the function that this yields is called; a second one goes through at once.

    A step that is broken off leaves weights, averages and optimizer at odds with each other.
    """
    handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}
    pending: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        if pending:
            handlers[number](number, frame)
        pending.append(number)

    def deliver() -> None:
        if pending:
            number = pending[0]
            for each, handler in handlers.items():
                signal.signal(each, handler)
            handlers[number](number, None)

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if callable(handler):
                handlers[number] = handler
                signal.signal(number, hold)
    try:
        yield deliver
    finally:
        for held, handler in handlers.items():
            if signal.getsignal(held) is hold:
                signal.signal(held, handler)


class _Training:
    """The state of one training and what is done with it."""

    def __init__(
        self,
        config: TrainConfig,
        fabric: Fabric,
        model: ConditionalUNet,
        validation: list[Batch],
        report: Callable[[str], None],
    ) -> None:
        self.config = config
        self.fabric = fabric
        self.model = model
        self.validation = validation
        self.tracker: Tracker | None = None
        self.report = report
        self.averaged = _averaged(model, config.ema_decay)
        self.loss = ColoringLoss(config.loss)
        self.optimizer = AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
        self.plateau = ReduceLROnPlateau(
            self.optimizer, mode="max", factor=config.plateau_factor, patience=config.plateau_patience
        )
        # Fabric's wrapper of the optimizer steps it; its state and its learning rate belong to the optimizer itself.
        self.network, self.stepper = fabric.setup(model, self.optimizer)
        self.averaged.to(fabric.device)
        self.loss.to(fabric.device)
        self.progress = Progress()
        self.started = time.monotonic()
        self.folder = run_folder(config.output)

    # -- the clock and the schedule

    @property
    def seconds(self) -> float:
        return self.progress.seconds + time.monotonic() - self.started

    def done(self) -> float:
        """Fraction of the training that is done, 0 to 1, by steps or by the clock."""
        by_steps = self.progress.step / self.config.steps if self.config.steps else 0.0
        by_clock = 0.0
        if self.config.minutes:
            seconds = self.seconds
            if self.fabric.world_size > 1:  # one clock for all, or some would stop while others wait for them
                seconds = self.fabric.broadcast(seconds)
            by_clock = seconds / 60 / self.config.minutes
        return min(1.0, max(by_steps, by_clock))

    def _schedule(self, done: float) -> None:
        if self.config.schedule == "plateau":
            return
        if done < _WARM_UP:
            factor = max(done / _WARM_UP, 1e-3)
        else:
            cosine = 0.5 * (1 + math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP)))
            factor = _FINAL_LEARNING_RATE + (1 - _FINAL_LEARNING_RATE) * cosine
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * factor

    # -- one step

    def step(self, batch: Batch, done: float) -> None:
        """One optimizer step.

        Raises:
            TrainingError: the loss is no number; nothing of this step is kept.
        """
        began, before = time.monotonic(), self.progress.images
        self._schedule(done)
        self.model.train()
        if done >= self.config.freeze_norm:
            for module in self.model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        image, color, target = _inputs(self.fabric.to_device(batch), self.config.model)
        terms = self.loss.terms(self.network(image, color), target)
        loss = self.loss.total(terms)
        if not bool(loss.isfinite()):
            raise self._diverged(f"the loss was {loss.item()} in step {self.progress.step + 1}")
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        # A float16 gradient that overflows is no failure: the scaler skips that step.
        norm = self.fabric.clip_gradients(
            self.network, self.stepper, max_norm=self.config.gradient_clip, error_if_nonfinite=False
        )
        self.stepper.step()
        self.averaged.update_parameters(self.model)
        self.progress.step += 1
        self.progress.images += self._everywhere(len(image))
        if self.tracker and self.progress.step % _TRACK_EVERY == 0:
            self.tracker.metrics(
                self.progress.step,
                {
                    "train/loss": loss.item(),
                    **{f"train/loss_{name}": term.item() for name, term in terms.items()},
                    "train/learning_rate": self.optimizer.param_groups[0]["lr"],
                    "train/gradient_norm": float(norm) if norm is not None else math.nan,
                    "train/images_per_s": (self.progress.images - before) / (time.monotonic() - began),
                },
            )

    def _everywhere(self, count: int) -> int:
        """Its sum over all processes."""
        if self.fabric.world_size == 1:
            return count
        total = self.fabric.all_reduce(torch.tensor(float(count), device=self.fabric.device), reduce_op="sum")
        assert isinstance(total, Tensor)
        return int(total)

    def _diverged(self, what: str) -> TrainingError:
        kept = self.config.output if self.progress.best_step else None
        good = f"{kept} keeps step {self.progress.best_step}" if kept else "there was no validation before it"
        return TrainingError(f"{what}; {good}", remedy="train again with a lower --learning-rate or in 32-true")

    # -- validation and checkpoints

    def validate(self) -> bool:
        """Score the averaged weights, write the checkpoints; whether the training should end early.

        Raises:
            TrainingError: the weights are no numbers any more; the earlier checkpoints stay.
            OutputError: a checkpoint cannot be written.
        """
        psnr_db = math.nan
        if self.fabric.is_global_zero:
            scores = self._scores()
            psnr_db = scores.psnr_db
        if self.fabric.world_size > 1:
            psnr_db = self.fabric.broadcast(psnr_db)
        if not math.isfinite(psnr_db):
            raise self._diverged(f"the weights were no numbers any more after step {self.progress.step}")
        if psnr_db > self.progress.best_psnr_db:
            self.progress.best_psnr_db, self.progress.best_step, self.progress.stale = psnr_db, self.progress.step, 0
        else:
            self.progress.stale += 1
        self.progress.validated_step, self.progress.psnr_db = self.progress.step, psnr_db
        if self.config.schedule == "plateau":
            self.plateau.step(psnr_db)
        if self.fabric.is_global_zero:
            self._track(scores)
            self.save()
            best = "" if self.progress.best_step == self.progress.step else f" (best: step {self.progress.best_step})"
            self.report(
                f"step {self.progress.step}: {self.seconds / 60:.1f} min, {self.progress.images} images, "
                f"validation PSNR {psnr_db:.2f} dB{best} -> {self.config.output}"
            )
        return self.config.early_stopping is not None and self.progress.stale >= self.config.early_stopping

    @torch.inference_mode()
    def _predict(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """A batch -> what a user would see, and the target: levels 0 to 255, float32 [B, 3, H, W]."""
        image, color, target = _inputs(self.fabric.to_device(batch), self.config.model)
        with self.fabric.autocast():
            output = self.averaged.module(image, color)
        return ((output.float() + 1) * 127.5).round().clamp(0, 255), (target + 1) * 127.5

    def _scores(self) -> _Scores:
        self.averaged.eval()
        psnr, mae, within, loss = [], [], [], []
        for batch in self.validation:
            levels, target = self._predict(batch)
            error = (levels - target).abs()
            # An exact image has no finite PSNR: half a level on one value in a thousand bounds it, at 84 dB.
            squared = error.square().mean(dim=(1, 2, 3)).clamp_min(2.5e-4)
            psnr.append(10 * torch.log10(255.0**2 / squared))
            mae.append(error.mean(dim=(1, 2, 3)))
            within.append((error.amax(dim=1) <= 8).float().mean(dim=(1, 2)))
            loss.append(self.loss(levels / 127.5 - 1, target / 127.5 - 1)[None])
        means = [float(torch.cat(each).mean()) for each in (psnr, mae, within, loss)]
        return _Scores(psnr_db=means[0], mae=means[1], within_8=means[2], loss=means[3])

    def _track(self, scores: _Scores) -> None:
        if self.tracker is None:
            return
        values = {
            "validation/psnr_db": scores.psnr_db,
            "validation/mae": scores.mae,
            "validation/within_8": scores.within_8,
            "validation/loss": scores.loss,
        }
        self.tracker.metrics(self.progress.step, values)
        image, color, colored = (part[:8] for part in self.validation[0])
        levels, _ = self._predict((image, color, colored))
        predicted = levels.permute(0, 2, 3, 1).to("cpu", torch.uint8).numpy()
        self.tracker.images(self.progress.step, "samples", sample_grid(image.numpy(), predicted, colored.numpy()))

    def _checkpoint(self) -> Checkpoint:
        initial = self.config.initial
        training = {
            "initial": None if initial is None else {"sha256": initial.sha256, "training": initial.training},
            "options": options_of(self.config),
            "steps": self.progress.step,
            "images": self.progress.images,
            "validated_step": self.progress.validated_step,
            "validation_psnr_db": round(self.progress.psnr_db, 3) if self.progress.validated_step else None,
            "torch": torch.__version__,
        }
        model = self.averaged.module
        assert isinstance(model, ConditionalUNet)
        size = max(kind.size for kind in self.config.mix)
        return Checkpoint(model=model, training_size=size, training=training)

    def save(self) -> None:
        """Write the latest weights, the best ones if these are, and what a resumed training needs."""
        checkpoint = self._checkpoint()
        if self.progress.best_step in (self.progress.step, 0):
            save_checkpoint(checkpoint, self.config.output)
        save_checkpoint(checkpoint, self.folder / "last.safetensors")
        save_state(
            self.folder / "state.safetensors",
            model=self.model,
            averaged=self.averaged,
            optimizer=self.optimizer,
            schedule=self.plateau.state_dict() if self.config.schedule == "plateau" else {},
            progress=self.progress.at(self.seconds),
            options=options_of(self.config),
        )

    def resume(self) -> list[str]:
        """Take over the state that an earlier run left; the names of the options that differ from its own.

        Raises:
            UsageError: there is none.
            CheckpointError: it is damaged, or of another architecture.
        """
        path = self.folder / "state.safetensors"
        state = load_state(path, model=self.model, averaged=self.averaged, optimizer=self.optimizer)
        if self.config.schedule == "plateau" and state.schedule:
            self.plateau.load_state_dict(state.schedule)
        self.progress = state.progress
        self.started = time.monotonic()
        ours = options_of(self.config)
        return sorted(key for key in ours.keys() | state.options.keys() if ours.get(key) != state.options.get(key))

    # -- the whole

    def run(self, batches: Iterator[Batch], bar: "tqdm[None]") -> bool:
        """Train to the end; whether it came early."""
        with _signals_between_steps() as deliver_signals:
            try:
                while (done := self.done()) < 1:
                    self.step(next(batches), done)
                    bar.update()
                    if self.progress.step % self.config.validate_every == 0 and self.validate():
                        return True
                    deliver_signals()
            except Exception:
                raise
            except BaseException:  # Ctrl-C or a signal, not a failure: what was learned so far is worth keeping
                if self.progress.step and self.fabric.is_global_zero:
                    self.save()
                    self.report(f"stopped at step {self.progress.step}; --resume carries on from there")
                raise
            if self.progress.validated_step != self.progress.step:
                return self.validate()
        return False


def _validation(config: TrainConfig, pairs: list[Drawing] | None) -> list[Batch]:
    """The batches of every validation: the given pairs, or held-out generated drawings."""
    if pairs is None:
        size = max(kind.size for kind in config.mix)
        rng = np.random.default_rng(VALIDATION_SEED)
        pairs = [draw(rng, size, config.drawings) for _ in range(_VALIDATION_DRAWINGS)]
    return [collate(pairs[at : at + _VALIDATION_BATCH]) for at in range(0, len(pairs), _VALIDATION_BATCH)]


def _precision(precision: Precision) -> Literal["32-true", "bf16-mixed", "16-mixed"]:
    if precision == "mixed":
        return "16-mixed" if torch.cuda.is_available() else "bf16-mixed"
    return precision


def _initial_model(config: TrainConfig) -> ConditionalUNet:
    if config.initial is None:
        return ConditionalUNet(config.model)
    return grow(config.initial.model, config.model)


def train(
    config: TrainConfig,
    *,
    pairs: list[Drawing] | None = None,
    validation: list[Drawing] | None = None,
    model: ConditionalUNet | None = None,
    resume: bool = False,
    open_record: Callable[[int | None], Tracker] | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> TrainResult:
    """Train a model and write its checkpoints.

    Args:
        config: everything that decides the result.
        pairs: train on these (all of one size) in place of generated drawings.
        validation: validate on these; by default on held-out generated drawings.
        model: a network of another make with the same configuration and signature.
        resume: carry on from what an earlier training with this output left.
        open_record: opens the record that is told every metric and shown what the network draws; takes the step that
            the training is resumed at, None for a new one.
        report: called with one line of text at each validation.

    Raises:
        OutputError: a checkpoint cannot be written; the one before is whole.
        UsageError: nothing to resume.
        CheckpointError: what is to be resumed is damaged, or of another architecture.
        TrainingError: the loss or the weights are no numbers any more; the last good checkpoint stays.
    """
    for folder in (config.output.parent, run_folder(config.output)):
        check_writable(folder)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)  # no hardware inventory
    fabric = Fabric(
        accelerator="auto", devices=config.devices, strategy=config.strategy, precision=_precision(config.precision)
    )
    if config.devices > 1:
        fabric.launch()
    seed_everything(config.seed, verbose=False)
    network = (model or _initial_model(config)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if not fabric.is_global_zero:
        open_record, report = None, lambda line: None
    training = _Training(config, fabric, network, _validation(config, validation), report)
    if resume:
        changed = training.resume()
        note = f", with other {', '.join(changed)}" if changed else ""
        report(f"resumed at step {training.progress.step}{note}")
    if open_record:
        training.tracker = open_record(training.progress.step if resume else None)
    if pairs is not None:
        make = pair_batches(pairs, config.mix[-1].batch_size, config.pairs)
    else:
        make = synthetic_batches(config.mix, config.drawings)
    stream = BatchStream(
        make,
        seed=config.seed,
        start=training.progress.step * fabric.world_size + fabric.global_rank,
        step=fabric.world_size,
    )
    batches = DataLoader(
        stream,
        batch_size=None,
        num_workers=config.workers,
        worker_init_fn=_deaf_worker,
        prefetch_factor=8 if config.workers else None,
    )
    bar = tqdm(
        total=config.steps,
        initial=training.progress.step,
        unit="step",
        disable=not (sys.stderr.isatty() and fabric.is_global_zero),
    )
    failed = True
    try:
        with bar:
            stopped_early = training.run(iter(batches), bar)
        fabric.barrier()  # the checkpoint is one process's work
        result = TrainResult(
            output=config.output,
            steps=training.progress.step,
            images=training.progress.images,
            minutes=training.seconds / 60,
            validation_psnr_db=training.progress.best_psnr_db,
            best_step=training.progress.best_step,
            weights_sha256=weights_sha256(config.output),
            stopped_early=stopped_early,
            speaks=fabric.is_global_zero,
        )
        if training.tracker:
            scores = {"validation/psnr_db": result.validation_psnr_db, "step": result.best_step}
            training.tracker.card(_card(config, result), scores)
        failed = False
    finally:
        if training.tracker:
            training.tracker.close(failed=failed)
    return result


def _card(config: TrainConfig, result: TrainResult) -> str:
    """What a reader of the checkpoint wants to know, as Markdown."""
    widths = "-".join(map(str, config.model.channels))
    options = "\n".join(f"| {name} | `{json.dumps(value)}` |" for name, value in options_of(config).items())
    return f"""# {config.output.stem}

A conditional UNet, widths {widths}, {config.model.conditioning} conditioning through a {config.model.embedding_dim}-D
embedding at the bottleneck.

- {result.steps} steps, {result.images} images, {result.minutes:.1f} minutes, torch {torch.__version__}
- best validation: {result.validation_psnr_db:.2f} dB PSNR at step {result.best_step}, whose averaged weights it holds
- SHA-256 of the weights: `{result.weights_sha256}`

| option | value |
| --- | --- |
{options}
"""
