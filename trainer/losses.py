"""The training loss: L1 + 0.5 L2 + 0.1 perceptual, and for the last stage of a training the PSNR itself.

The perceptual term usually compares the features of a downloaded, pretrained classifier. Ours needs no download: a
fixed bank of derivative filters on a three-level pyramid, the first stage that such classifiers learn anyway. What it
adds to L1 and L2 is a higher price for a wrong, soft or shifted *edge*, at fine and coarse scale, which is what a
bleeding or distorted fill looks like.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ColoringLoss", "EdgePyramidLoss", "LossConfig"]


_EXACT = 1e-6
"""Mean squared error in [-1, 1] below which an image gains little by getting better: 66 dB."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LossConfig:
    """Weights of the three terms."""

    l1: float = 1.0
    l2: float = 0.5
    perceptual: float = 0.1
    psnr: float = 0.0
    """Of the mean logarithm of each image's squared error, its negative PSNR (as Chen et al., 2021, arXiv:2105.06086,
    train restoration networks). An image that is nearly exact counts as much as one that is hopeless, which in the
    other terms outweighs it a thousand times: for the last stage, when shapes are right and edges are to be exact."""

    def __post_init__(self) -> None:
        weights = (self.l1, self.l2, self.perceptual, self.psnr)
        if min(weights) < 0 or sum(weights) <= 0:
            raise ValueError(f"loss weights must be >= 0 and not all 0, got {self}")


class EdgePyramidLoss(nn.Module):
    """Mean absolute difference of Sobel and Laplacian responses on a pyramid of halved images.

    Takes two float tensors [B, 3, H, W] in [-1, 1]; returns a scalar.
    """

    filters: Tensor

    def __init__(self, levels: int = 3) -> None:
        super().__init__()
        self.levels = levels
        sobel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 4
        laplacian = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]]) / 2
        self.register_buffer("filters", torch.stack([sobel, sobel.T, laplacian])[:, None], persistent=False)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        # The filters are linear: the responses' difference is the response to the difference.
        difference = prediction - target
        loss = difference.new_zeros(())
        for level in range(self.levels):
            if level:
                difference = F.avg_pool2d(difference, 2)
            planes = difference.flatten(0, 1)[:, None]  # [B*3, 1, h, w]
            loss = loss + F.conv2d(planes, self.filters.to(planes.dtype)).abs().mean()
        return loss / self.levels


class ColoringLoss(nn.Module):
    """Weighted sum of L1, L2 and the edge pyramid over float tensors [B, 3, H, W] in [-1, 1]; returns a scalar."""

    def __init__(self, config: LossConfig) -> None:
        super().__init__()
        self.config = config
        self.perceptual = EdgePyramidLoss()

    def terms(self, prediction: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The unweighted terms that count, by the names of their weights."""
        terms = {}
        if self.config.l1:
            terms["l1"] = F.l1_loss(prediction, target)
        if self.config.l2:
            terms["l2"] = F.mse_loss(prediction, target)
        if self.config.perceptual:
            terms["perceptual"] = self.perceptual(prediction, target)
        if self.config.psnr:
            squared = (prediction - target).square().mean(dim=(1, 2, 3))
            terms["psnr"] = 10 * torch.log10(squared + _EXACT).mean()
        return terms

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """Their weighted sum."""
        return torch.stack([getattr(self.config, name) * term for name, term in terms.items()]).sum()

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self.total(self.terms(prediction, target))
