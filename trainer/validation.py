"""Validation of a network: its scores on held-out drawings, and pictures of what it draws.

Shape legend: B batch, H and W image height and width.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from lightning.fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from polyexport.data.drawings import draw
from trainer.batches import Batch, collate, network_inputs
from trainer.charts import sample_grid
from trainer.config import TrainConfig
from trainer.example import Example, example_of
from trainer.losses import ColoringLoss

__all__ = ["ScoredDrawings", "Scores", "Validation"]

_SEED = 1_000_003
"""Seed of the generated validation drawings. A training batch is seeded by two numbers, so the two never coincide."""

_DRAWINGS = 64
"""Number of generated validation drawings."""

_BATCH_SIZE = 16

_SAMPLES = 8
"""Number of drawings in the picture of each validation."""

_SMALLEST_SQUARED_ERROR = 2.5e-4
"""Bound that keeps the PSNR of an exact image finite: half a level of error in one value of a thousand, 84 dB."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """Mean scores of one validation."""

    psnr_db: float
    """Peak signal-to-noise ratio, dB."""

    mae: float
    """Mean absolute error, levels of 255."""

    within_8: float
    """Fraction of pixels of which every channel is off by 8 levels or less."""

    loss: float
    """Training loss of the predictions, rounded to 8-bit levels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredDrawings:
    """The drawings that the scores of a training are measured on; they decide what the scores are called."""

    kind: str
    """``generated drawings`` or ``pairs``."""

    count: int
    """Number of drawings."""

    trained_on: int
    """Number of these drawings that are among the training pairs too."""

    sha256: str
    """SHA-256 of their pixels and conditions, lowercase hex."""

    @property
    def name(self) -> str:
        """``validation``, or ``training pairs`` if every drawing is trained on too."""
        return "training pairs" if self.trained_on == self.count else "validation"

    @property
    def phase(self) -> str:
        """First part of the names of the metrics, and prefix of the score in a checkpoint: the name in one word."""
        return self.name.replace(" ", "_")

    @property
    def description(self) -> str:
        """Kind and number, and how many of them are trained on too."""
        what = "1 pair" if (self.kind, self.count) == ("pairs", 1) else f"{self.count} {self.kind}"
        if not self.trained_on:
            return f"{what}, not trained on"
        return (
            f"{what}, trained on too" if self.trained_on == self.count else f"{what}, {self.trained_on} trained on too"
        )


class Validation:
    """The validation drawings of a training, and what is measured on them.

    Attributes:
        drawings: What is known of the drawings.
    """

    def __init__(
        self,
        config: TrainConfig,
        fabric: Fabric,
        loss: ColoringLoss,
        pairs: list[Example] | None,
        *,
        trained_on: Sequence[Example] = (),
    ) -> None:
        """Prepare the batches of every validation.

        Args:
            config: Options of the training.
            fabric: Fabric that places batches on the device and sets the precision.
            loss: The training loss.
            pairs: Examples to validate on, all of one size; generated ones if None.
            trained_on: The pairs of the training; empty if it generates its drawings.
        """
        kind = "generated drawings" if pairs is None else "pairs"
        if pairs is None:
            rng = np.random.default_rng(_SEED)
            pairs = [example_of(draw(rng, config.size, config.drawings)) for _ in range(_DRAWINGS)]
        digests, known = [_digest(pair) for pair in pairs], {_digest(pair) for pair in trained_on}
        self.drawings = ScoredDrawings(
            kind=kind,
            count=len(pairs),
            trained_on=sum(digest in known for digest in digests),
            sha256=hashlib.sha256(b"".join(digests)).hexdigest(),
        )
        self._batches = [collate(pairs[start : start + _BATCH_SIZE]) for start in range(0, len(pairs), _BATCH_SIZE)]
        self._config = config
        self._fabric = fabric
        self._loss = loss

    def score(self, network: nn.Module) -> Scores:
        """Score a network, which is put into evaluation mode, over all validation drawings."""
        network.eval()
        psnr, mae, within, loss = [], [], [], []
        for batch in self._batches:
            levels, target = self._predict(network, batch)
            error = (levels - target).abs()
            squared = error.square().mean(dim=(1, 2, 3)).clamp_min(_SMALLEST_SQUARED_ERROR)
            psnr.append(10 * torch.log10(255.0**2 / squared))
            mae.append(error.mean(dim=(1, 2, 3)))
            within.append((error.amax(dim=1) <= 8).float().mean(dim=(1, 2)))
            loss.append(self._loss(levels / 127.5 - 1, target / 127.5 - 1)[None])
        means = [float(torch.cat(each).mean()) for each in (psnr, mae, within, loss)]
        return Scores(psnr_db=means[0], mae=means[1], within_8=means[2], loss=means[3])

    def samples(self, network: nn.Module) -> NDArray[np.uint8]:
        """Return a picture, uint8 [height, width, 3]: the first drawings, a network's predictions, the targets."""
        image, condition, target = (part[:_SAMPLES] for part in self._batches[0])
        levels, _ = self._predict(network, (image, condition, target))
        predicted = levels.permute(0, 2, 3, 1).to("cpu", torch.uint8).numpy()
        return sample_grid(image.numpy(), predicted, target.numpy())

    @torch.inference_mode()
    def _predict(self, network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return prediction and target of a batch, float32 [B, 3, H, W], whole levels 0 to 255."""
        inputs, target = network_inputs(self._fabric.to_device(batch), self._config.model)
        with self._fabric.autocast():
            output = network(*inputs)
        return ((output.float() + 1) * 127.5).round().clamp(0, 255), (target + 1) * 127.5


def _digest(pair: Example) -> bytes:
    digest = hashlib.sha256(repr((pair.condition, pair.image.shape)).encode())
    digest.update(pair.image.tobytes())
    digest.update(pair.target.tobytes())
    return digest.digest()
