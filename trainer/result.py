"""Result of a finished training, and the model card that is written from it."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from trainer.config import TrainConfig, options_of
from trainer.validation import ScoredDrawings

__all__ = ["TrainResult", "model_card"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainResult:
    """Result of a finished training."""

    output: Path
    """Path of the best checkpoint."""

    steps: int
    """Optimizer steps, those before a resumption included."""

    images: int
    """Training images, over all processes."""

    minutes: float
    """Duration, the time before a resumption included."""

    best_psnr_db: float
    """Best mean PSNR, dB, on the drawings of ``scored``; ``output`` holds the averaged weights of that step."""

    best_step: int
    """Optimizer step of the best score."""

    scored: ScoredDrawings
    """The drawings that the score was measured on: validation drawings, or the training pairs."""

    weights_sha256: str
    """SHA-256 of the names and values of the weights in ``output``, lowercase hex; the rest of the file has no part."""

    stopped_early: bool
    """Whether early stopping ended the training."""

    is_main_process: bool
    """Whether this is the one process, of several, that reports the result."""


def model_card(config: TrainConfig, result: TrainResult) -> str:
    """Describe a trained model for the readers of its checkpoint, as Markdown."""
    widths = "-".join(map(str, config.model.channels))
    model = config.model
    kind = f"{model.conditioning} conditioning" + (f" ({len(model.labels)} labels)" if model.labels else "")
    described = (
        f"A conditional UNet, widths {widths}, {kind} through a {model.embedding_dim}-D\nembedding at the bottleneck."
    )
    if model.conditioning == "none":
        described = f"A UNet, widths {widths}, which takes nothing but the picture."
    options = "\n".join(f"| {name} | `{json.dumps(value)}` |" for name, value in options_of(config).items())
    return f"""# {config.output.stem}

{described}

- {result.steps} steps, {result.images} images, {result.minutes:.1f} minutes, torch {torch.__version__}
- best {result.scored.name} PSNR: {result.best_psnr_db:.2f} dB at step {result.best_step}; it holds the averaged
  weights of that step
- scored on: {result.scored.description}
- SHA-256 of the weights: `{result.weights_sha256}`

| option | value |
| --- | --- |
{options}
"""
