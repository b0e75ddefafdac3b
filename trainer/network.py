"""The conditional UNet: it takes an outline drawing and a color and returns the filled drawing.

A UNet (Ronneberger et al., 2015, arXiv:1505.04597) with batch normalization and a bilinear decoder. This module does
not depend on files, training or export.

Shape legend: B batch, H and W image height and width, C channels of a level, D embedding width.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["BASE_CHANNELS", "BASE_CONTEXT", "SMALL_CHANNELS", "ConditionalUNet", "ModelConfig"]

BASE_CHANNELS = (64, 128, 256, 512, 1024)
"""Channels of each level of the ``base`` network, finest first."""

BASE_CONTEXT = (1, 2, 4, 8)
"""Dilations of the context layers of ``base``: at its bottleneck, they see shapes of 256 pixels as a whole."""

SMALL_CHANNELS = (16, 16, 32, 64, 128, 128, 128)
"""Channels of each level of the ``small`` network, finest first. Seven levels see shapes of 512 pixels as a whole."""

_ATANH_INPUT_SCALE = 0.999
"""Keeps the inverse Tanh finite at -1 and 1; tanh(atanh(0.999)) still rounds to the outermost 8-bit level."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """Architecture of a network. Two equal configurations give state dicts with the same keys and shapes."""

    channels: tuple[int, ...] = SMALL_CHANNELS
    """Channels of each encoder level, finest first; the last is the bottleneck."""

    context: tuple[int, ...] = ()
    """Dilations of the context layers at the bottleneck, in their order."""

    embedding_dim: int = 128
    """Width D of the color embedding."""

    conditioning: Literal["rgb", "vocabulary"] = "rgb"
    """``rgb``: any 24-bit color, embedded by an MLP. ``vocabulary``: an index into ``palette``, embedded by a table."""

    palette: tuple[tuple[str, tuple[int, int, int]], ...] = ()
    """Names and sRGB values of the vocabulary, in index order; empty for ``rgb``."""

    def __post_init__(self) -> None:
        if not 2 <= len(self.channels) <= 8 or any(not 1 <= c <= 4096 for c in self.channels):
            raise ValueError(f"channels must be 2 to 8 widths of 1 to 4096, got {self.channels}")
        if len(self.context) > 8 or any(not 1 <= dilation <= 64 for dilation in self.context):
            raise ValueError(f"context must be at most 8 dilations of 1 to 64, got {self.context}")
        if not 1 <= self.embedding_dim <= 4096:
            raise ValueError(f"embedding_dim must be 1 to 4096, got {self.embedding_dim}")
        if self.conditioning not in ("rgb", "vocabulary"):
            raise ValueError(f"conditioning must be rgb or vocabulary, got {self.conditioning!r}")
        if (self.conditioning == "vocabulary") != bool(self.palette):
            raise ValueError("vocabulary conditioning needs a palette; rgb conditioning takes none")
        if len({name for name, _ in self.palette}) != len(self.palette):
            raise ValueError("palette names must be unique")
        if any(not 0 <= channel <= 255 for _, rgb in self.palette for channel in rgb):
            raise ValueError("palette values must be from 0 to 255")

    @property
    def size_multiple(self) -> int:
        """Number of pixels that heights and widths must be multiples of: each level but the first halves them."""
        return int(2 ** (len(self.channels) - 1))


class ConvBlock(nn.Sequential):
    """Two layers of 3x3 convolution, batch normalization and ReLU: [B, in, H, W] -> [B, out, H, W]."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class ContextLayer(nn.Module):
    """Residual layer that looks around each position from afar: [B, C, H, W] -> [B, C, H, W].

    A dilated 3x3 convolution of each channel, as in the context module of Yu and Koltun (2016, arXiv:1511.07122), then
    a 1x1 convolution over the channels. Its output is zero in a new layer, so that the layer changes nothing then.
    """

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, groups=channels, bias=False),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        nn.init.zeros_(self.layers.get_parameter("2.weight"))

    def forward(self, features: Tensor) -> Tensor:
        """Add the layer's output to the features, which a ReLU keeps positive."""
        return F.relu(features + self.layers(features))


class ColorEmbedding(nn.Module):
    """Embedding of a color: [B, D].

    ``rgb`` takes float32 [B, 3] in [-1, 1]; ``vocabulary`` takes int64 [B], indices into the palette.

    The ``rgb`` MLP gets the color and its inverse Tanh, which is the value that the network's head must feed into its
    Tanh to reproduce the color. With it, linear layers can carry a color through the decoder. Without it, the MLP must
    approximate that curve piecewise, and mid-tones come out a few levels wrong.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim = config.embedding_dim
        self.embed: nn.Module
        if config.conditioning == "rgb":
            self.embed = nn.Sequential(nn.Linear(6, dim), nn.ReLU(inplace=True), nn.Linear(dim, dim))
        else:
            self.embed = nn.Embedding(len(config.palette), dim)

        self.continuous = config.conditioning == "rgb"

    def forward(self, color: Tensor) -> Tensor:
        """Embed colors: float32 [B, 3] in [-1, 1] (``rgb``) or int64 [B] (``vocabulary``) -> [B, D]."""
        if self.continuous:
            scaled = color.float() * _ATANH_INPUT_SCALE
            # atanh(x) = (log(1 + x) - log(1 - x)) / 2: every execution provider supports Log, few support Atanh.
            color = torch.cat([color, 0.5 * (torch.log(1 + scaled) - torch.log(1 - scaled))], dim=1)  # [B, 6]
        embedding: Tensor = self.embed(color)
        return embedding


class ConditionalUNet(nn.Module):
    """Network that fills an outline drawing with a color.

    The color embedding is projected to the bottleneck's channels and added at every position of the bottleneck, so it
    works at any resolution. Upsampling uses ``scale_factor``, which exports without shape arithmetic.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.channels
        self.encoder = nn.ModuleList(
            ConvBlock(in_channels, out_channels)
            for in_channels, out_channels in zip((3, *widths[:-1]), widths, strict=True)
        )
        self.context = nn.Sequential(*(ContextLayer(widths[-1], dilation) for dilation in config.context))
        self.color_embedding = ColorEmbedding(config)
        self.projection = nn.Linear(config.embedding_dim, widths[-1])
        self.decoder = nn.ModuleList(
            ConvBlock(below + skip, skip) for below, skip in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(widths[0], 3, 1)

    def forward(self, image: Tensor, color: Tensor) -> Tensor:
        """Fill drawings with colors.

        Args:
            image: Float32 [B, 3, H, W], RGB in [-1, 1]; H and W multiples of ``config.size_multiple``.
            color: Float32 [B, 3] in [-1, 1] (``rgb``) or int64 [B] (``vocabulary``).

        Returns:
            Filled drawings, float32 [B, 3, H, W], RGB in [-1, 1].
        """
        return self.decode(*self.encode(image), self.color_embedding(color))

    def encode(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Encode images [B, 3, H, W], whatever the color, to the bottleneck and the skip connections, finest first."""
        skips: list[Tensor] = []
        features = image
        for level, block in enumerate(self.encoder):
            if level:
                features = F.max_pool2d(features, 2)
            features = block(features)
            skips.append(features)
        bottleneck: Tensor = self.context(skips.pop())
        return bottleneck, skips

    def decode(self, bottleneck: Tensor, skips: list[Tensor], embedding: Tensor) -> Tensor:
        """Decode the bottleneck, the skip connections and an embedding [B, D] to images [B, 3, H, W] in [-1, 1]."""
        features = bottleneck + self.projection(embedding)[:, :, None, None]  # [B, C, h, w] + [B, C, 1, 1]
        for skip, block in zip(reversed(skips), self.decoder, strict=True):
            features = F.interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=False)
            features = block(torch.cat([skip, features], dim=1))
        # In float32 even under autocast: bfloat16 cannot represent the 8-bit levels near -1 and 1.
        return torch.tanh(self.head(features).float())
