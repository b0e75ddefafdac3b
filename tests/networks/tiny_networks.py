"""Small networks that people might bring, the wrong ones too. Needs torch and nothing else."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RgbNet(nn.Module):
    """Any size that is a multiple of four; image and color in [0, 1], and so is what comes out."""

    def __init__(self, width: int = 6, act: str = "relu", bias: bool = True) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, width, 3, stride=4, padding=1, bias=bias)
        self.norm = nn.BatchNorm2d(width)
        self.color = nn.Linear(3, width)
        self.leave = nn.Conv2d(width + 3, 3, 3, padding=1)
        self.act = getattr(F, act)

    def forward(self, image: Tensor, color: Tensor) -> Tensor:
        features = self.act(self.norm(self.enter(image))) + self.color(color)[:, :, None, None]
        features = F.interpolate(features, scale_factor=4, mode="bilinear")
        return torch.sigmoid(self.leave(torch.cat([features, image], dim=1)))


class Wrapped(nn.Module):
    """All its keys begin like those of DataParallel."""

    def __init__(self) -> None:
        super().__init__()
        self.module = RgbNet()

    def forward(self, image: Tensor, color: Tensor) -> Tensor:
        colored: Tensor = self.module(image, color)
        return colored


class EmbeddingNet(nn.Module):
    """Conditioned on vectors that somebody else makes; images in [-1, 1], any size."""

    def __init__(self, dim: int = 5, width: int = 6) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, width, 3, padding=1)
        self.shift = nn.Linear(dim, width)
        self.leave = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, image: Tensor, embedding: Tensor) -> Tensor:
        features = torch.relu(self.enter(image) + self.shift(embedding)[:, :, None, None])
        return torch.tanh(self.leave(features))


class VocabularyNet(nn.Module):
    """Conditioned on one of ``colors``; images in [-1, 1], any size."""

    def __init__(self, colors: int = 3, width: int = 4) -> None:
        super().__init__()
        self.inner = nn.ModuleDict({"embed": nn.Embedding(colors, width)})
        self.enter = nn.Conv2d(3, width, 3, padding=1)
        self.leave = nn.Conv2d(width, 3, 1)

    def forward(self, image: Tensor, index: Tensor, strength: float = 1.0) -> Tensor:
        shift = self.inner["embed"](index)[:, :, None, None] * strength
        return torch.tanh(self.leave(self.enter(image) + shift))


class ImageOnly(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return image


class ThreeNeeded(nn.Module):
    def forward(self, image: Tensor, color: Tensor, mask: Tensor) -> Tensor:
        return image


class KeywordNeeded(nn.Module):
    def forward(self, image: Tensor, color: Tensor, *, mask: Tensor) -> Tensor:
        return image


class NoForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))


class Gives(nn.Module):
    """Gives whatever it is told to."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what
        self.register_buffer("unused", torch.zeros(1))

    def forward(self, image: Tensor, color: Tensor) -> Any:
        return {
            "half": image.half(),
            "nan": image * float("nan"),
            "scores": image.flatten(1)[:, :5],
            "oblong": image[:, :, ::2],
            "text": "an image",
            "image": image,
        }[self.what]


class Raises(nn.Module):
    def __init__(self, *, where: str) -> None:
        super().__init__()
        self.where = where
        if where == "constructor":
            raise RuntimeError("no good\nand a second line")

    def forward(self, image: Tensor, color: Tensor) -> Tensor:
        raise RuntimeError("no good\nand a second line")


class Lazy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.late = nn.LazyConv2d(3, 1)

    def forward(self, image: Tensor, color: Tensor) -> Tensor:
        result: Tensor = self.late(image)
        return result


class Unsaved(nn.Module):
    """Random values that no state dict has."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.frequencies = torch.rand(3)

    def forward(self, image: Tensor, color: Tensor) -> Tensor:
        return image * self.scale


def not_a_network() -> None:
    """A function."""


class NotAModule:
    """A class, but of nothing."""
