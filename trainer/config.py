"""Configuration of a training, and the folder that it keeps its files in."""

import json
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

from polyexport.data.drawings import DrawingsConfig
from polyexport.data.sketch_config import SketchConfig
from trainer.batches import PairConfig, SizedBatch, generated_mix
from trainer.checkpoint import Checkpoint
from trainer.growth import check_growth
from trainer.losses import LossConfig
from trainer.network import ModelConfig
from trainer.transplant import can_transplant

__all__ = ["Precision", "Schedule", "TrainConfig", "options_of", "run_folder"]

Precision = Literal["32-true", "mixed", "bf16-mixed", "16-mixed"]
"""Numeric precision, by Lightning's names; ``mixed`` is float16 on a GPU and bfloat16 on the CPU."""

Schedule = Literal["cosine", "plateau"]
"""Learning-rate schedule; see ``TrainConfig.schedule``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """Options of one training.

    A training ends after ``steps`` or ``minutes``, whichever comes first; the learning-rate schedule is fitted to it.
    """

    output: Path
    """Path of the checkpoint; it is rewritten at every validation that is better than all before."""

    model: ModelConfig = field(default_factory=ModelConfig)
    """Architecture of the network."""

    loss: LossConfig = field(default_factory=LossConfig)
    """Weights of the loss terms."""

    drawings: DrawingsConfig = field(default_factory=SketchConfig)
    """Variety of the generated drawings."""

    pairs: PairConfig = field(default_factory=PairConfig)
    """Variation of the pairs of a data set."""

    mix: tuple[SizedBatch, ...] = generated_mix(16)
    """Kinds of batches of generated drawings; each batch is of one kind, picked by its share."""

    size: int = 192
    """Training size that the checkpoint names, pixels: larger drawings are scaled down to it before the network sees
    them. Generated validation drawings have it too."""

    steps: int | None = None
    """Number of optimizer steps, None for no limit. On one machine, the same seed and steps give the same checkpoint,
    byte for byte."""

    minutes: float | None = None
    """Duration in minutes, None for no limit; the minutes before an interruption count."""

    learning_rate: float = 3e-3
    """Peak learning rate, in (0, 1)."""

    schedule: Schedule = "cosine"
    """``cosine``: a linear warm-up, then half a cosine down to a hundredth of the peak at the training's end.
    ``plateau``: constant, and multiplied by ``plateau_factor`` whenever more than ``plateau_patience`` validations in a
    row were no better."""

    plateau_patience: int = 5
    """Validations in a row without a better one that the ``plateau`` schedule tolerates."""

    plateau_factor: float = 0.5
    """Factor by which the ``plateau`` schedule lowers the learning rate, in (0, 1)."""

    early_stopping: int | None = None
    """Number of validations in a row without a better one after which the training ends; None: it never ends early."""

    weight_decay: float = 1e-4
    """Weight decay of the AdamW optimizer."""

    gradient_clip: float = 1.0
    """Largest norm of the gradient; a longer gradient is scaled down to it."""

    ema_decay: float = 0.999
    """Decay of the moving average of the weights, in [0, 1). The averaged weights are validated and saved."""

    freeze_norm: float = 0.5
    """Fraction of the training after which batch normalization keeps its statistics. A batch holds few colors, so its
    statistics shift the color of every image in it; the network learns exact colors only with fixed statistics."""

    precision: Precision = "32-true"
    """Numeric precision of the forward and backward passes."""

    seed: int = 0
    """Seed of the weights and of the batches."""

    initial: Checkpoint | None = None
    """Start from these weights, widened to ``model`` where that is wider (``trainer.growth``), or without their finest
    level where ``model`` takes patches (``trainer.transplant``); None: random weights."""

    validate_every: int = 500
    """Optimizer steps between validations."""

    workers: int = 1
    """Processes that prepare batches; 0 prepares them in the training process."""

    devices: int = 1
    """Number of GPUs, or of processes where there is no GPU; each takes its share of the batches."""

    float16: bool = False
    """Round the kernels and matrices of ``output`` to float16 at the end of the training, which halves the file. The
    scores are those before the rounding; the files in the training's folder stay in float32."""

    quantize: bool = False
    """Train under the rounding of an int8 export (``trainer.quantization``), for the last stage of a training: with
    fixed statistics of the batch normalization, and float32."""

    strategy: str = "auto"
    """Lightning's name of the strategy by which several devices work together: ``ddp``, ``fsdp``, ..."""

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None:
            raise ValueError("give steps, minutes or both")
        if (self.steps is not None and self.steps < 1) or (self.minutes is not None and self.minutes <= 0):
            raise ValueError(f"steps and minutes must be positive, got {self.steps} and {self.minutes}")
        multiple = self.model.size_multiple
        for kind in self.mix:
            if kind.size < 16 or kind.size % multiple or kind.batch_size < 2:
                raise ValueError(f"sizes must be multiples of {multiple} from 16, batches of 2 or more; got {kind}")
        if self.size < 16 or self.size % multiple:
            raise ValueError(f"the training size must be a multiple of {multiple} from 16, got {self.size}")
        if not self.mix or any(not 0 < kind.share <= 1 for kind in self.mix):
            raise ValueError(f"the mix must have kinds of batches with shares in (0, 1], got {self.mix}")
        if not 0 < self.learning_rate < 1 or not 0 <= self.ema_decay < 1 or not 0 < self.plateau_factor < 1:
            raise ValueError("learning rate, EMA decay and plateau factor must be in (0, 1)")
        if self.weight_decay < 0 or self.gradient_clip <= 0 or self.freeze_norm < 0:
            raise ValueError("weight decay and freeze_norm must not be negative, gradient_clip must be positive")
        if self.initial is not None and not can_transplant(self.initial.model.config, self.model):
            check_growth(self.initial.model.config, self.model)
        if self.quantize and self.freeze_norm:
            raise ValueError("a training under the rounding of int8 needs fixed statistics, freeze_norm 0")
        if self.early_stopping is not None and self.early_stopping < 1:
            raise ValueError(f"early_stopping must be positive, got {self.early_stopping}")
        if self.validate_every < 1 or self.workers < 0 or self.devices < 1 or self.plateau_patience < 0:
            raise ValueError("validate_every and devices must be positive, workers and patience not negative")


def options_of(config: TrainConfig) -> dict[str, Any]:
    """Return every option that decides a training's result, but for the network, as JSON represents it."""
    plain = {each.name: getattr(config, each.name) for each in fields(config)}
    for key in ("output", "model", "initial"):
        del plain[key]

    def nested(value: Any) -> Any:
        return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)

    return dict(json.loads(json.dumps(plain, default=nested)))


def run_folder(output: Path) -> Path:
    """Return the folder beside a checkpoint in which its training keeps all other files."""
    return output.with_name(output.stem) if output.suffix else output.with_name(output.name + ".run")
