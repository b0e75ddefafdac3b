"""Growth of a trained network without a change to its function, as the start of a larger network's training.

Net2Wider of Chen, Goodfellow and Shlens, "Net2Net: Accelerating Learning via Knowledge Transfer" (2016,
arXiv:1511.05641): every channel is copied, and the weights that read the copies are divided by their number. The
deepest levels of a network without a context can become the context of a new one, in which they keep their widths.
"""

from itertools import zip_longest

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
        ValueError: They have other numbers of levels, differ in more than widths, or a width is not a multiple of the
            old one; or the new context is neither that of the old network nor the widths of its deepest levels.
    """
    differing = _fixed_that_differ(old, new)
    if differing:
        raise ValueError(
            f"only widths can grow, got {', '.join(differing)}: give the same, or start from random weights"
        )
    if any(wide % narrow for narrow, wide in zip(old.levels, new.channels, strict=False)):
        raise ValueError(f"the new widths must be multiples of the old ones, got {new.channels} for {old.levels}")
    context = old.context or (old.levels[len(new.channels) - 1 :] if new.context else ())
    if new.context != context:
        raise ValueError(f"the context must be {context}, as in the old network, got {new.context}")


def _fixed_that_differ(old: ModelConfig, new: ModelConfig) -> list[str]:
    """Describe each part of two configurations that cannot grow and is not the same in both."""
    described: list[tuple[str, object, object]] = []
    if len(old.levels) != len(new.levels):
        described.append(("levels", f"{len(new.levels)} {new.levels}", f"{len(old.levels)} {old.levels}"))
    if old.patch != new.patch:
        described.append(("patch", new.patch, old.patch))
    if old.embedding_dim != new.embedding_dim:
        described.append(("embedding_dim", new.embedding_dim, old.embedding_dim))
    if old.conditioning != new.conditioning:
        described.append(("conditioning", new.conditioning, old.conditioning))
    elif (old.palette, old.labels) != (new.palette, new.labels):
        what = "label" if new.labels else "palette color"
        names = zip_longest(new.labels or new.palette, old.labels or old.palette)
        number, (got, expected) = next((at, pair) for at, pair in enumerate(names) if pair[0] != pair[1])
        described.append((f"{what} {number}", got, expected))
    return [f"{name} {got} for {expected} of the old network" for name, got, expected in described]


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
    copies = [wide // narrow for narrow, wide in zip(old.levels, config.channels, strict=False)]
    grown: dict[str, Tensor] = {}
    for name, weight in source.state_dict().items():
        inputs, outputs = _copies_around(name, copies, old)
        wide = weight
        if outputs > 1 and weight.ndim:
            wide = wide.repeat_interleave(outputs, dim=0)
        if inputs is not None:
            wide = torch.cat([_spread(part, count, generator) for part, count in _parts(wide, inputs)], dim=1)
        grown[name] = wide.contiguous()
    if config.context and not old.context:
        same = torch.eye(config.context[0])[:, :, None, None]
        widened = same.repeat_interleave(copies[-1], dim=0)
        grown |= {
            "narrowing.weight": _spread(same, copies[-1], generator),
            "narrowing.bias": torch.zeros(config.context[0]),
            "widening.weight": torch.cat([widened, torch.zeros(config.channels[-1], config.channels[-1], 1, 1)], dim=1),
            "widening.bias": torch.zeros(config.channels[-1]),
        }
    target.load_state_dict(grown)
    return target.train(source.training)


def _copies_around(name: str, copies: list[int], old: ModelConfig) -> tuple[list[tuple[int, int]] | None, int]:
    """Return by how much the inputs and outputs of a weight grow.

    Modules 0 and 3 of a block are its convolutions, 1 and 4 their batch normalizations.

    Args:
        name: Name of the weight in the state dict.
        copies: Copies of each channel, by level; levels without an entry are a context, and keep their widths.
        old: Configuration of the source network.

    Returns:
        (channels, copies) of each group of input channels, None if no input grows; and the copies of each output.
    """
    kind, *rest = name.split(".")
    levels, last = old.levels, len(copies) - 1  # the last wide level
    has_context = len(levels) > len(copies)
    if kind in ("color_embedding", "label_embedding"):
        return None, 1
    if kind == "projection":
        return None, 1 if has_context else copies[last]
    if kind == "head":
        return ([(levels[0], copies[0])] if rest[0] == "weight" else None), 1
    if kind == "narrowing":
        return ([(levels[last], copies[last])] if rest[0] == "weight" else None), 1
    if kind == "widening":
        groups = [(old.context[0], 1), (levels[last], copies[last])]
        return (groups if rest[0] == "weight" else None), copies[last]
    number, module = int(rest[0]), int(rest[1])
    level = number if kind == "encoder" else len(levels) - 2 - number
    if level > last or (kind == "decoder" and has_context and level == last):
        return None, 1
    if module in (1, 4):
        return None, copies[level]
    if module == 3:
        return [(levels[level], copies[level])], copies[level]
    if kind == "encoder":
        return ([(levels[level - 1], copies[level - 1])] if level else None), copies[level]
    return [(levels[level], copies[level]), (levels[level + 1], copies[level + 1])], copies[level]


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
