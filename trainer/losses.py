"""The training loss: L1 + 0.5 L2 + 0.1 perceptual, and for the last stage of a training also the PSNR.

A perceptual term usually compares features of a downloaded, pretrained classifier. This one needs no download: it uses
a fixed set of derivative filters on a three-level pyramid, similar to the first layer of such classifiers. Compared
with L1 and L2, it puts more weight on wrong, soft or shifted edges, at fine and coarse scale, as in a fill that bleeds
over its outline.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ColoringLoss", "EdgePyramidLoss", "LossConfig"]


_SQUARED_ERROR_FLOOR = 1e-6
"""Mean squared error in [-1, 1], 66 dB, below which the PSNR term hardly decreases any further."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LossConfig:
    """Weights of the loss terms: not negative, and not all zero."""

    l1: float = 1.0
    """Weight of the mean absolute error."""

    l2: float = 0.5
    """Weight of the mean squared error."""

    perceptual: float = 0.1
    """Weight of the difference in edges (``EdgePyramidLoss``)."""

    psnr: float = 0.0
    """Weight of the mean negative PSNR of the images, as Chen et al. (2021, arXiv:2105.06086) train restoration
    networks. In this term a nearly exact image counts as much as a very wrong one, which outweighs it a thousand times
    in the other terms. Use it in the last stage, when shapes are right and edges are to become exact."""

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
        """Compare two images [B, 3, H, W]; returns a scalar."""
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
    """Weighted sum of the loss terms over float tensors [B, 3, H, W] in [-1, 1]; returns a scalar."""

    def __init__(self, config: LossConfig) -> None:
        super().__init__()
        self.config = config
        self.perceptual = EdgePyramidLoss()

    def terms(self, prediction: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return the unweighted terms whose weight is not zero, by the names of their weights in ``LossConfig``."""
        terms = {}
        if self.config.l1:
            terms["l1"] = F.l1_loss(prediction, target)
        if self.config.l2:
            terms["l2"] = F.mse_loss(prediction, target)
        if self.config.perceptual:
            terms["perceptual"] = self.perceptual(prediction, target)
        if self.config.psnr:
            squared = (prediction - target).square().mean(dim=(1, 2, 3))
            terms["psnr"] = 10 * torch.log10(squared + _SQUARED_ERROR_FLOOR).mean()
        return terms

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """Return the weighted sum of the terms that ``terms`` returns."""
        return torch.stack([getattr(self.config, name) * term for name, term in terms.items()]).sum()

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare predictions and targets [B, 3, H, W]; returns a scalar."""
        return self.total(self.terms(prediction, target))
