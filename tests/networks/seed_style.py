"""A network in the style of the seed project: a list of colors, one size alone, a Sigmoid head.

The color becomes a map of 16x16 that is concatenated at the bottleneck, so only 256x256 drawings fit. Needs torch and
nothing else, like the code that people bring.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

COLORS = (
    "red", "green", "blue", "yellow", "orange", "purple", "cyan", "magenta", "black", "white",
    "gray", "brown", "pink", "lime", "navy", "teal", "olive", "maroon", "gold", "indigo",
)  # fmt: skip
SIZE = 256


def double_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(out_channels, out_channels, 3, padding=1),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class SeedUNet(nn.Module):
    """forward(float32 [B, 3, 256, 256] in [0, 1], int64 [B]) -> float32 [B, 3, 256, 256] in [0, 1]."""

    def __init__(self, num_colors: int = 20, base: int = 8, color_dim: int = 32, color_maps: int = 1) -> None:
        super().__init__()
        widths = [base * 2**level for level in range(5)]
        self.color_maps = color_maps
        self.color_embedding = nn.Embedding(num_colors, color_dim)
        self.color_projection = nn.Linear(color_dim, color_maps * 16 * 16)
        self.downs = nn.ModuleList(double_conv(a, b) for a, b in zip([3, *widths[:-2]], widths[:-1], strict=True))
        self.pool = nn.MaxPool2d(2)
        self.bottleneck = double_conv(widths[-2] + color_maps, widths[-1])
        self.ups = nn.ModuleList(nn.ConvTranspose2d(2 * width, width, 2, stride=2) for width in widths[-2::-1])
        self.up_convs = nn.ModuleList(double_conv(2 * width, width) for width in widths[-2::-1])
        self.head = nn.Sequential(nn.Conv2d(base, 3, 1), nn.Sigmoid())

    def forward(self, image: Tensor, color_idx: Tensor) -> Tensor:
        skips = []
        features = image
        for down in self.downs:
            features = down(features)
            skips.append(features)
            features = self.pool(features)
        color = self.color_projection(self.color_embedding(color_idx))
        color = color.view(color.size(0), self.color_maps, 16, 16)
        features = self.bottleneck(torch.cat([features, color], dim=1))
        for up, conv, skip in zip(self.ups, self.up_convs, reversed(skips), strict=True):
            features = conv(torch.cat([up(features), skip], dim=1))
        colored: Tensor = self.head(features)
        return colored


def seed_network(seed: int = 0, **arguments: Any) -> SeedUNet:
    """Random weights; batch normalization has seen data, so that what differs at the bottom still differs on top."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        network = SeedUNet(**arguments)
        nn.init.normal_(network.color_projection.weight)
        nn.init.normal_(network.get_parameter("head.0.weight"))
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None  # the mean over all batches
        network(torch.rand(4, 3, SIZE, SIZE), torch.arange(4) % network.color_embedding.num_embeddings)
    return network.eval()


def save_seed(path: Path, seed: int = 0, **arguments: Any) -> SeedUNet:
    """What a training of that style leaves behind."""
    network = seed_network(seed, **arguments)
    torch.save(
        {
            "epoch": 42,
            "model_state_dict": network.state_dict(),
            "color_mappings": {name: index for index, name in enumerate(COLORS)},
        },
        path,
    )
    return network
