"""Training under the rounding of an int8 export, so that the export loses less (Jacob et al., 2018, arXiv:1712.05877).

The export scales every channel to one range, rounds activations to 8 bits and weights to 7, and leaves the first and
the last convolution in float32. Here the same is done to the inputs and weights of each convolution between them, while
gradients pass through the rounding. The weights themselves stay in float32, and the checkpoint is that of any training.
"""

import torch
from torch import Tensor, nn

from trainer.network import ConditionalUNet

__all__ = ["RoundedConv2d", "round_like_int8"]

_ACTIVATION_STEPS = 255
_WEIGHT_STEPS = 63  # 7 bits with a sign: what processors without VNNI add up without an overflow

_RANGE_DECAY = 0.99
"""Decay of the moving maximum of each channel, as calibration later sees it over many drawings."""

_SMALLEST_RANGE = 1e-6


class RoundedConv2d(nn.Conv2d):
    """Convolution of rounded inputs by rounded weights. It takes over the parameters of another one.

    The inputs must not be negative, as those after a ReLU, a maximum, an interpolation or a concatenation of such.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            _pair(conv.kernel_size),
            _pair(conv.stride),
            _pair(conv.padding),
            bias=conv.bias is not None,
            device="meta",
        )
        self.weight, self.bias = conv.weight, conv.bias
        self.ranges: Tensor | None = None
        """Moving maximum of each input channel, float32 [C]; None before the first batch. Not a buffer: the averaged
        weights have none."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name in torch
        """Convolve: [B, C, H, W] -> [B, out, h, w]."""
        if self.training or self.ranges is None:
            seen = input.detach().amax(dim=(0, 2, 3)).float()
            self.ranges = seen if self.ranges is None else torch.lerp(seen, self.ranges, _RANGE_DECAY)
        ranges = self.ranges.clamp(min=_SMALLEST_RANGE)
        zeros = torch.zeros_like(ranges, dtype=torch.int32)
        rounded = torch.fake_quantize_per_channel_affine(
            input.float(), ranges / _ACTIVATION_STEPS, zeros, 1, 0, _ACTIVATION_STEPS
        )
        # The ranges of the inputs are those of the weights as well: what one is divided by, the other is multiplied by.
        scaled = self.weight * ranges[:, None, None]
        steps = scaled.detach().abs().amax(dim=(1, 2, 3)).clamp(min=_SMALLEST_RANGE) / _WEIGHT_STEPS
        zeros = torch.zeros_like(steps, dtype=torch.int32)
        weight = torch.fake_quantize_per_channel_affine(scaled, steps, zeros, 0, -_WEIGHT_STEPS, _WEIGHT_STEPS)
        convolved: Tensor = self._conv_forward(rounded, weight / ranges[:, None, None], self.bias)
        return convolved


def round_like_int8(model: ConditionalUNet) -> None:
    """Replace every convolution of a network but the first one and the head by one that rounds, in place."""
    blocks = [*model.encoder, *model.decoder]
    for number, block in enumerate(blocks):
        for name, layer in list(block.named_children()):
            if isinstance(layer, nn.Conv2d) and (number, name) != (0, "0"):
                setattr(block, name, RoundedConv2d(layer))


def _pair(values: tuple[int, ...] | str) -> tuple[int, int]:
    rows, columns = map(int, values)
    return rows, columns
