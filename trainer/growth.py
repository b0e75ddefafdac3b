"""Growth of a trained network without a change to its function, as the start of a larger network's training.

Net2Wider of Chen, Goodfellow and Shlens, "Net2Net: Accelerating Learning via Knowledge Transfer" (2016,
arXiv:1511.05641): every channel is copied, and the weights that read the copies are divided by their number. A network
without context layers also gets those of the new configuration, whose output is zero at first.
"""

from dataclasses import replace

import torch
from torch import Tensor

from trainer.network import ConditionalUNet, ModelConfig

__all__ = ["check_growth", "grow"]

_RELATIVE_SPREAD = 0.02
"""Standard deviation of the copies' outgoing weights, relative to the weights. Equal copies would get equal gradients
and stay equal for ever. The deviations of all copies of a channel sum to zero, so the function stays the same."""


def check_growth(old: ModelConfig, new: ModelConfig) -> None:
    """Check that a network can grow from one configuration to another.

    Raises:
        ValueError: They differ in more than widths and context layers, a width is not a multiple of the old one, or the
            old network has other context layers.
    """
    same = replace(new, channels=old.channels, context=old.context) == old
    if not same or len(old.channels) != len(new.channels) or (old.context and old.context != new.context):
        raise ValueError(
            "only widths can grow, and context layers be added where there are none: levels, embedding and "
            "conditioning must be those of the old network"
        )
    if any(wide % narrow for narrow, wide in zip(old.channels, new.channels, strict=True)):
        raise ValueError(f"the new widths must be multiples of the old ones, got {new.channels} for {old.channels}")


def grow(source: ConditionalUNet, config: ModelConfig) -> ConditionalUNet:
    """Return a network of ``config`` that computes the same function as ``source``, up to rounding in float32.

    Raises:
        ValueError: The source cannot grow to ``config``: see ``check_growth``.
    """
    old = source.config
    check_growth(old, config)
    if old == config:
        return source
    target = ConditionalUNet(config)
    generator = torch.Generator().manual_seed(0)
    weights = source.state_dict()
    copies = [wide // narrow for narrow, wide in zip(old.channels, config.channels, strict=True)]
    grown = {name: weight for name, weight in target.state_dict().items() if name.startswith("context.")}
    for name, weight in weights.items():
        inputs, outputs = _copies_around(name, copies, old.channels)
        wide = weight
        if outputs > 1 and weight.ndim:
            wide = wide.repeat_interleave(outputs, dim=0)
        if inputs is not None:
            wide = torch.cat([_spread(part, count, generator) for part, count in _parts(wide, inputs)], dim=1)
        grown[name] = wide.contiguous()
    target.load_state_dict(grown)
    return target.train(source.training)


def _copies_around(name: str, copies: list[int], channels: tuple[int, ...]) -> tuple[list[tuple[int, int]] | None, int]:
    """Return by how much the inputs and outputs of a weight grow.

    Modules 0 and 3 of a block are its convolutions, 1 and 4 their batch normalizations. Of a context layer, they are
    the convolution of each channel, the one over the channels and the batch normalization.

    Args:
        name: Name of the weight in the state dict.
        copies: Copies of each channel, by level.
        channels: Channels of the source network, by level.

    Returns:
        (channels, copies) of each group of input channels, None if no input grows; and the copies of each output.
    """
    kind, *rest = name.split(".")
    last = len(channels) - 1
    if kind == "color_embedding":
        return None, 1
    if kind == "projection":
        return None, copies[last]
    if kind == "head":
        return ([(channels[0], copies[0])] if rest[0] == "weight" else None), 1
    if kind == "context":
        return ([(channels[last], copies[last])] if rest[2] == "1" else None), copies[last]
    number, module = int(rest[0]), int(rest[1])
    level = number if kind == "encoder" else last - 1 - number
    if module in (1, 4):
        return None, copies[level]
    if module == 3:
        return [(channels[level], copies[level])], copies[level]
    if kind == "encoder":
        return ([(channels[level - 1], copies[level - 1])] if level else None), copies[level]
    return [(channels[level], copies[level]), (channels[level + 1], copies[level + 1])], copies[level]


def _parts(weight: Tensor, groups: list[tuple[int, int]]) -> list[tuple[Tensor, int]]:
    """Divide a weight by its groups of input channels, each with its number of copies."""
    parts = torch.split(weight, [channels for channels, _ in groups], dim=1)
    return [(part, count) for part, (_, count) in zip(parts, groups, strict=True)]


def _spread(weight: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Divide a weight [out, in, ...] among ``count`` copies of each input channel: [out, in * count, ...]."""
    if count == 1:
        return weight
    share = torch.randn(weight.shape[0], weight.shape[1], count, generator=generator)
    share = 1 + _RELATIVE_SPREAD * (share - share.mean(dim=2, keepdim=True))
    wide = weight.unsqueeze(2) / count * share.reshape(*share.shape, *[1] * (weight.ndim - 2))
    return wide.flatten(1, 2)
