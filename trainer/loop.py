"""The training loop, on Lightning Fabric: optimizer steps, validations, checkpoints and resumption."""

import math
import time
from collections.abc import Callable, Iterator

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import ReduceLROnPlateau
from tqdm import tqdm

from polyexport.errors import TrainingError
from trainer.batches import Batch, network_inputs
from trainer.checkpoint import Checkpoint, save_checkpoint
from trainer.config import TrainConfig, options_of, run_folder
from trainer.losses import ColoringLoss
from trainer.network import ConditionalUNet
from trainer.quantization import round_like_int8
from trainer.schedule import averaged_model, cosine_factor
from trainer.signals import signals_between_steps
from trainer.state import Progress, load_state, save_state
from trainer.tracking import Tracker
from trainer.validation import Scores, Validation

__all__ = ["TrainingLoop"]

_STEPS_BETWEEN_METRICS = 10


class TrainingLoop:
    """One training in progress: its network, averaged weights, optimizer and counters.

    Attributes:
        progress: Counters and best scores so far.
        tracker: Record of the metrics; None for none.
    """

    def __init__(
        self,
        config: TrainConfig,
        fabric: Fabric,
        model: ConditionalUNet,
        loss: ColoringLoss,
        validation: Validation,
        report: Callable[[str], None],
        *,
        result_kind: str,
    ) -> None:
        """Prepare the first step.

        Args:
            config: Options of the training.
            fabric: Fabric with the devices and the precision.
            model: The network to train, with its initial weights.
            loss: The training loss.
            validation: Scores the averaged weights.
            report: Called with one line of text at each validation.
            result_kind: ``fill`` if every training image is a fill of its drawing with one color on white, else
                ``picture``; it goes into the checkpoints.
        """
        self.progress = Progress(scored_sha256=validation.drawings.sha256)
        self.tracker: Tracker | None = None
        self._config = config
        self._fabric = fabric
        self._model = model
        self._loss = loss
        self._validation = validation
        self._report = report
        self._result_kind = result_kind
        self._averaged = averaged_model(model, config.ema_decay)
        if config.quantize:
            round_like_int8(model)  # not the averaged weights, which are those of the checkpoint
        self._optimizer = AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
        self._plateau = ReduceLROnPlateau(
            self._optimizer, mode="max", factor=config.plateau_factor, patience=config.plateau_patience
        )
        # Fabric's wrapper of the optimizer steps it; its state and its learning rate belong to the optimizer itself.
        self._network, self._stepper = fabric.setup(model, self._optimizer)
        self._averaged.to(fabric.device)
        self._loss.to(fabric.device)
        self._started = time.monotonic()
        self._throughput_from = self._started, 0
        self._folder = run_folder(config.output)

    @property
    def seconds(self) -> float:
        """Duration of the training, the time before a resumption included."""
        return self.progress.seconds + time.monotonic() - self._started

    def resume(self) -> list[str]:
        """Continue from the state that an earlier run left.

        Returns:
            The names of the options that differ from those of the earlier run. If the drawings that are scored differ,
            the best score so far means nothing here: the next validation is the best one.

        Raises:
            UsageError: There is no such state.
            CheckpointError: The state is damaged, or of another architecture.
        """
        path = self._folder / "state.safetensors"
        state = load_state(path, model=self._model, averaged=self._averaged, optimizer=self._optimizer)
        if self._config.schedule == "plateau" and state.schedule:
            self._plateau.load_state_dict(state.schedule)
        self.progress = state.progress
        self._started = time.monotonic()
        ours = options_of(self._config)
        changed = [key for key in ours.keys() | state.options.keys() if ours.get(key) != state.options.get(key)]
        drawings = self._validation.drawings.sha256
        if self.progress.scored_sha256 not in ("", drawings):
            changed.append("validation drawings (the best score starts anew)")
            self.progress.best_step, self.progress.best_psnr_db, self.progress.stale = 0, -math.inf, 0
            self._plateau.best, self._plateau.num_bad_epochs = -math.inf, 0
        self.progress.scored_sha256 = drawings
        return sorted(changed)

    def run(self, batches: Iterator[Batch], bar: tqdm) -> bool:
        """Train to the end.

        Returns:
            Whether early stopping ended the training.

        Raises:
            TrainingError: The loss or the weights are no longer finite; the last good checkpoint stays.
            OutputError: A checkpoint cannot be written.
        """
        with signals_between_steps() as deliver_signals:
            try:
                self._start_throughput()
                while (done := self._fraction_done()) < 1:
                    self._step(next(batches), done)
                    bar.update()
                    if self.progress.step % self._config.validate_every == 0:
                        if self._validate():
                            return True
                        self._start_throughput()
                    deliver_signals()
            except Exception:
                raise
            except BaseException:  # Ctrl-C or a signal: not a failure, so the current weights are saved
                if self.progress.step and self._fabric.is_global_zero:
                    self._save()
                    self._report(f"stopped at step {self.progress.step}; --resume continues from there")
                raise
            if self.progress.validated_step != self.progress.step:
                return self._validate()
        return False

    def _fraction_done(self) -> float:
        """Return the fraction of the training that is done, 0 to 1: by steps or by time, whichever is greater."""
        by_steps = self.progress.step / self._config.steps if self._config.steps else 0.0
        by_time = 0.0
        if self._config.minutes:
            seconds = self.seconds
            if self._fabric.world_size > 1:  # all processes must stop at the same step: take the time of one of them
                seconds = self._fabric.broadcast(seconds)
            by_time = seconds / 60 / self._config.minutes
        return min(1.0, max(by_steps, by_time))

    def _step(self, batch: Batch, done: float) -> None:
        """Make one optimizer step.

        Raises:
            TrainingError: The loss is not finite; the weights stay as they were before the step.
        """
        if self._config.schedule == "cosine":
            for group in self._optimizer.param_groups:
                group["lr"] = self._config.learning_rate * cosine_factor(done)
        self._model.train()
        if done >= self._config.freeze_norm:
            for module in self._model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        inputs, target = network_inputs(self._fabric.to_device(batch), self._config.model)
        terms = self._loss.terms(self._network(*inputs), target)
        loss = self._loss.total(terms)
        if not bool(loss.isfinite()):
            raise self._diverged(f"the loss was {loss.item()} in step {self.progress.step + 1}")
        self._optimizer.zero_grad(set_to_none=True)
        self._fabric.backward(loss)
        # A float16 gradient that overflows is not an error: the gradient scaler skips that step.
        norm = self._fabric.clip_gradients(
            self._network, self._stepper, max_norm=self._config.gradient_clip, error_if_nonfinite=False
        )
        self._stepper.step()
        self._averaged.update_parameters(self._model)
        self.progress.step += 1
        self.progress.images += self._sum_over_processes(len(target))
        if self.tracker and self.progress.step % _STEPS_BETWEEN_METRICS == 0:
            self.tracker.metrics(
                self.progress.step,
                {
                    "train/loss": loss.item(),
                    **{f"train/loss_{name}": term.item() for name, term in terms.items()},
                    "train/learning_rate": self._optimizer.param_groups[0]["lr"],
                    "train/gradient_norm": float(norm) if norm is not None else math.nan,
                    "train/images_per_s": self._images_per_s(),
                },
            )
            self._start_throughput()

    def _start_throughput(self) -> None:
        self._throughput_from = time.monotonic(), self.progress.images

    def _images_per_s(self) -> float:
        """Return the throughput since the latest metrics or validation, with the time that was waited for batches."""
        began, before = self._throughput_from
        return (self.progress.images - before) / max(time.monotonic() - began, 1e-9)

    def _sum_over_processes(self, count: int) -> int:
        if self._fabric.world_size == 1:
            return count
        total = self._fabric.all_reduce(torch.tensor(float(count), device=self._fabric.device), reduce_op="sum")
        assert isinstance(total, Tensor)
        return int(total)

    def _diverged(self, what: str) -> TrainingError:
        best = self.progress.best_step
        kept = f"{self._config.output} keeps step {best}" if best else "no validation came before it"
        return TrainingError(f"{what}; {kept}", remedy="train again with a lower --learning-rate or in 32-true")

    def _validate(self) -> bool:
        """Score the averaged weights and write the checkpoints.

        Returns:
            Whether early stopping ends the training.

        Raises:
            TrainingError: The weights are not finite; the earlier checkpoints stay.
            OutputError: A checkpoint cannot be written.
        """
        psnr_db = math.nan
        if self._fabric.is_global_zero:
            scores = self._validation.score(self._averaged.module)
            psnr_db = scores.psnr_db
        if self._fabric.world_size > 1:
            psnr_db = self._fabric.broadcast(psnr_db)
        if not math.isfinite(psnr_db):
            raise self._diverged(f"the weights were not finite after step {self.progress.step}")
        if psnr_db > self.progress.best_psnr_db:
            self.progress.best_psnr_db, self.progress.best_step, self.progress.stale = psnr_db, self.progress.step, 0
        else:
            self.progress.stale += 1
        self.progress.validated_step, self.progress.psnr_db = self.progress.step, psnr_db
        if self._config.schedule == "plateau":
            self._plateau.step(psnr_db)
        if self._fabric.is_global_zero:
            self._track(scores)
            self._save()
            best = "" if self.progress.best_step == self.progress.step else f" (best: step {self.progress.best_step})"
            self._report(
                f"step {self.progress.step}: {self.seconds / 60:.1f} min, {self.progress.images} images, "
                f"{self._validation.drawings.name} PSNR {psnr_db:.2f} dB{best} -> {self._config.output}"
            )
        return self._config.early_stopping is not None and self.progress.stale >= self._config.early_stopping

    def _track(self, scores: Scores) -> None:
        """Record the scores of a validation and a picture of its first drawings."""
        if self.tracker is None:
            return
        phase = self._validation.drawings.phase
        values = {
            f"{phase}/psnr_db": scores.psnr_db,
            f"{phase}/mae": scores.mae,
            f"{phase}/within_8": scores.within_8,
            f"{phase}/loss": scores.loss,
        }
        self.tracker.metrics(self.progress.step, values)
        self.tracker.images(self.progress.step, "samples", self._validation.samples(self._averaged.module))

    def _checkpoint(self) -> Checkpoint:
        """Return the averaged weights of this step, with the record of the training."""
        initial, drawings = self._config.initial, self._validation.drawings
        training = {
            "initial": None if initial is None else {"sha256": initial.sha256, "training": initial.training},
            "options": options_of(self._config),
            "steps": self.progress.step,
            "images": self.progress.images,
            "validated_step": self.progress.validated_step,
            f"{drawings.phase}_psnr_db": round(self.progress.psnr_db, 3) if self.progress.validated_step else None,
            "scored_on": {"drawings": drawings.kind, "count": drawings.count, "trained_on": drawings.trained_on},
            "result": self._result_kind,
            "torch": torch.__version__,
        }
        model = self._averaged.module
        assert isinstance(model, ConditionalUNet)
        return Checkpoint(model=model, training_size=self._config.size, training=training)

    def _save(self) -> None:
        """Write the latest weights, also as the best ones if they are, and the state for a resumption."""
        checkpoint = self._checkpoint()
        if self.progress.best_step in (self.progress.step, 0):
            save_checkpoint(checkpoint, self._config.output)
        save_checkpoint(checkpoint, self._folder / "last.safetensors")
        save_state(
            self._folder / "state.safetensors",
            model=self._model,
            averaged=self._averaged,
            optimizer=self._optimizer,
            schedule=self._plateau.state_dict() if self._config.schedule == "plateau" else {},
            progress=self.progress.at(self.seconds),
            options=options_of(self._config),
        )
