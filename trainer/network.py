"""The conditional UNet: it takes a picture, and for many tasks a color or a label, and returns a picture.

A UNet (Ronneberger et al., 2015, arXiv:1505.04597) with batch normalization and a bilinear decoder. This module does
not depend on files, training or export.

Shape legend: B batch, H and W image height and width, C channels of a level, D embedding width.
"""

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polyexport.imaging.names import LABEL_NAME

__all__ = ["BASE_CHANNELS", "BASE_CONTEXT", "SMALL_CHANNELS", "ConditionalUNet", "Conditioning", "ModelConfig"]

Conditioning = Literal["rgb", "vocabulary", "label", "none"]
"""Kind of the condition that a network takes beside the picture; see ``ModelConfig.conditioning``."""

BASE_CHANNELS = (64, 128, 256, 512, 1024)
"""Channels of each level of the ``base`` network, finest first."""

BASE_CONTEXT = (128, 128, 128)
"""Channels of the context of ``base``, finest first: thin levels below the wide ones, which see the whole."""

SMALL_CHANNELS = (16, 16, 32, 64, 128, 128, 128)
"""Channels of each level of the ``small`` network, finest first. Seven levels see shapes of 512 pixels as a whole."""

_MAX_LABELS = 4096

_ATANH_INPUT_SCALE = 0.999
"""Keeps the inverse Tanh finite at -1 and 1; tanh(atanh(0.999)) still rounds to the outermost 8-bit level."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """Architecture of a network. Two equal configurations give state dicts with the same keys and shapes."""

    channels: tuple[int, ...] = SMALL_CHANNELS
    """Channels of each encoder level, finest first; without a context, the last is the bottleneck."""

    context: tuple[int, ...] = ()
    """Channels of a thin UNet that the last level continues in, finest first: those that the last level is narrowed to,
    and those of the levels below, of which the last is then the bottleneck. Empty for no context."""

    embedding_dim: int = 128
    """Width D of the embedding of the color or the label; of no effect without one."""

    conditioning: Conditioning = "rgb"
    """``rgb``: any 24-bit color, embedded by an MLP. ``vocabulary``: an index into ``palette``, embedded by a table.
    ``label``: an index into ``labels``, embedded by a table. ``none``: nothing but the picture."""

    palette: tuple[tuple[str, tuple[int, int, int]], ...] = ()
    """Names and sRGB values of the vocabulary, in index order; empty for every other conditioning."""

    labels: tuple[str, ...] = ()
    """Names of the labels, in index order; empty for every other conditioning."""

    patch: int = 1
    """Side of the squares of pixels that the first level takes as one position, 1 or 2. The finest level of a UNet has
    the most positions and so takes the most time; with 2 it has a quarter of them."""

    def __post_init__(self) -> None:
        if not 2 <= len(self.channels) <= 8 or any(not 1 <= c <= 4096 for c in self.channels):
            raise ValueError(f"channels must be 2 to 8 widths of 1 to 4096, got {self.channels}")
        if len(self.context) == 1 or len(self.levels) > 8 or any(not 1 <= c <= 4096 for c in self.context):
            raise ValueError(
                "context must be two or more widths of 1 to 4096, with at most 8 levels in all, or none; "
                f"got {self.context} below {len(self.channels)} levels"
            )
        if self.patch not in (1, 2):
            raise ValueError(f"patch must be 1 or 2, got {self.patch}")
        if not 1 <= self.embedding_dim <= 4096:
            raise ValueError(f"embedding_dim must be 1 to 4096, got {self.embedding_dim}")
        if self.conditioning not in get_args(Conditioning):
            raise ValueError(f"conditioning must be {', '.join(get_args(Conditioning))}, got {self.conditioning!r}")
        if (self.conditioning == "vocabulary") != bool(self.palette):
            raise ValueError("vocabulary conditioning needs a palette; every other conditioning takes none")
        if (self.conditioning == "label") != bool(self.labels):
            raise ValueError("label conditioning needs labels; every other conditioning takes none")
        if len(set(self.labels)) != len(self.labels) or len(self.labels) > _MAX_LABELS:
            raise ValueError(f"labels must be unique, at most {_MAX_LABELS}, got {len(self.labels)}")
        if not all(LABEL_NAME.fullmatch(label) for label in self.labels):
            raise ValueError("labels must be letters, digits, underscores, spaces, dots and hyphens, up to 64")
        if len({name for name, _ in self.palette}) != len(self.palette):
            raise ValueError("palette names must be unique")
        if any(not 0 <= channel <= 255 for _, rgb in self.palette for channel in rgb):
            raise ValueError("palette values must be from 0 to 255")

    @property
    def levels(self) -> tuple[int, ...]:
        """Channels of all levels, finest first, those of the context included."""
        return self.channels + self.context[1:]

    @property
    def size_multiple(self) -> int:
        """Number of pixels that heights and widths must be multiples of: each level but the first halves them."""
        return int(self.patch * 2 ** (len(self.levels) - 1))

    def as_json(self) -> dict[str, Any]:
        """Return the fields by name, as JSON represents them, for the headers of files.

        Labels and a patch are left out where there are none: files of such networks are the same as those of earlier
        versions.
        """
        values = asdict(self)
        if not self.labels:
            del values["labels"]
        if self.patch == 1:
            del values["patch"]
        return values


class ConvBlock(nn.Sequential):
    """Two layers of 3x3 convolution, batch normalization and ReLU: [B, in, H, W] -> [B, out, H / patch, W / patch].

    With a patch, the first convolution sees three patches in each direction, and its stride is one patch.
    """

    def __init__(self, in_channels: int, out_channels: int, *, patch: int = 1) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3 * patch, stride=patch, padding=patch, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


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
    """Network that makes a picture from a picture, such as a filled drawing from an outline drawing and a color.

    The embedding of the color or the label is projected to the bottleneck's channels and added at every position of the
    bottleneck, so it works at any resolution. Without a condition, nothing is added there. Upsampling uses
    ``scale_factor``, which exports without shape arithmetic. A context is joined to the last level of
    ``config.channels`` by 1x1 convolutions: one narrows the level to the context's first width, and one joins what the
    context returns with the level itself.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        wide, thin = config.channels, config.context
        self.encoder = nn.ModuleList(
            ConvBlock(in_channels, out_channels, patch=1 if number else config.patch)
            for number, (in_channels, out_channels) in enumerate((*pairwise((3, *wide)), *pairwise(thin)))
        )
        if config.conditioning == "label":
            self.label_embedding = nn.Embedding(len(config.labels), config.embedding_dim)
        elif config.conditioning != "none":
            self.color_embedding = ColorEmbedding(config)
        if config.conditioning != "none":
            self.projection = nn.Linear(config.embedding_dim, config.levels[-1])
        self.decoder = nn.ModuleList(
            ConvBlock(below + skip, skip) for below, skip in (*pairwise(thin[::-1]), *pairwise(wide[::-1]))
        )
        if thin:
            self.narrowing = nn.Conv2d(wide[-1], thin[0], 1)
            self.widening = nn.Conv2d(thin[0] + wide[-1], wide[-1], 1)
        self.head = nn.Conv2d(wide[0], 3 * config.patch**2, 1)

    def forward(self, image: Tensor, condition: Tensor | None = None) -> Tensor:
        """Make a picture from each picture.

        Args:
            image: Float32 [B, 3, H, W], RGB in [-1, 1]; H and W multiples of ``config.size_multiple``.
            condition: Float32 [B, 3] in [-1, 1] (``rgb``), int64 [B] (``vocabulary``, ``label``), or None (``none``).

        Returns:
            Pictures, float32 [B, 3, H, W], RGB in [-1, 1].
        """
        return self.decode(*self.encode(image), self.embed(condition))

    def embed(self, condition: Tensor | None) -> Tensor | None:
        """Embed conditions, as ``forward`` takes them: [B, D]; None for a network without a condition."""
        if self.config.conditioning == "none":
            return None
        embedding = self.label_embedding if self.config.conditioning == "label" else self.color_embedding
        embedded: Tensor = embedding(condition)
        return embedded

    def _is_joint(self, level: int) -> bool:
        """Return whether the context begins at this level."""
        return bool(self.config.context) and level == len(self.config.channels) - 1

    def encode(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Encode images [B, 3, H, W] to the bottleneck and the skips, finest first; conditions have no part in it."""
        skips: list[Tensor] = []
        features = image
        for level, block in enumerate(self.encoder):
            if level:
                features = F.max_pool2d(features, 2)
            features = block(features)
            if self._is_joint(level):
                skips.append(features)
                features = F.relu(self.narrowing(features))
            skips.append(features)
        return skips.pop(), skips

    def decode(self, bottleneck: Tensor, skips: list[Tensor], embedding: Tensor | None) -> Tensor:
        """Decode the bottleneck, the skip connections and an embedding [B, D] to images [B, 3, H, W] in [-1, 1]."""
        features = bottleneck
        if embedding is not None:
            features = features + self.projection(embedding)[:, :, None, None]  # [B, C, h, w] + [B, C, 1, 1]
        rest = iter(reversed(skips))
        for level, block in zip(range(len(self.encoder) - 1, -1, -1), (None, *self.decoder), strict=True):
            if block is not None:
                features = F.interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=False)
                features = block(torch.cat([next(rest), features], dim=1))
            if self._is_joint(level):
                features = F.relu(self.widening(torch.cat([features, next(rest)], dim=1)))
        # In float32 even under autocast: bfloat16 cannot represent the 8-bit levels near -1 and 1.
        picture = self.head(features).float()
        return torch.tanh(F.pixel_shuffle(picture, self.config.patch) if self.config.patch > 1 else picture)
