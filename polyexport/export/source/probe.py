"""Runs of a network on noise: what it takes, and what it gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from polyexport.errors import UsageError, check_memory, reason_of
from polyexport.export.source.adapter import Adapter
from polyexport.export.source.outputs import leaves, pick
from polyexport.export.source.source import SIGNED, UNIT, ValueRange
from polyexport.export.source.weights import describe
from polyexport.model.conditions.fields import ConditionFields
from polyexport.model.result import SCALES

__all__ = ["Picked", "Probe", "ProbeError", "noise"]

_SHOWN = 5


class ProbeError(Exception):
    """A run that failed, or gave no image: what happened, for a message."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Picked:
    """The tensor that is a network's image, among what it returned."""

    key: str
    tensor: Tensor
    channels: int
    scale: Fraction
    others: int
    """Number of other tensors."""

    seen: Tensor
    """Tensor that the network took as its image."""

    image: Tensor
    """Image that the adapter got."""


def noise(
    fields: Sequence[ConditionFields], channels: int, batch: int, height: int, width: int, bounds: ValueRange
) -> tuple[Tensor, ...]:
    """Return an image and conditions as ``Source.module`` takes them, the same for the same arguments."""
    generator = torch.Generator().manual_seed(0)

    def values(*shape: int, low: float, high: float) -> Tensor:
        return torch.rand(shape, generator=generator) * (high - low) + low

    made = [values(batch, channels, height, width, low=bounds[0], high=bounds[1])]
    for each in fields:
        match each.kind:
            case "color" if each.conditioning == "vocabulary":
                made.append(torch.arange(batch).neg().add(len(each.palette) - 1).clamp(min=0))
            case "color" if each.embedding is not None:
                made.append(values(batch, each.embedding.dim, low=-1, high=1))
            case "color":
                made.append(values(batch, 3, low=bounds[0], high=bounds[1]))
            case "label":
                made.append(torch.arange(batch).neg().add(len(each.labels) - 1).clamp(min=0))
            case "number":
                made.append(values(batch, low=each.minimum, high=each.maximum))
            case "vector":
                made.append(values(batch, each.dim, low=SIGNED[0], high=SIGNED[1]))
            case "image":
                made.append(values(batch, each.channels, height, width, low=UNIT[0], high=UNIT[1]))
    return tuple(made)


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """A network behind an adapter, that is run on noise."""

    adapter: Adapter
    network: str
    fields: tuple[ConditionFields, ...]
    channels: int
    bounds: ValueRange
    """Value range of the image that the adapter takes."""

    output_key: str = ""
    many: bool = False
    """Any number of channels is an image: an activation or a choice of a channel follows."""

    folded: int = 1
    """Images of one channel that the network gets for each image."""

    def run(self, batch: int, height: int, width: int) -> Picked:
        """Run the network on noise, and pick its image.

        Args:
            batch: Number of images.
            height: Their height, pixels.
            width: Their width, pixels.

        Raises:
            ProbeError: The network raises, gives values that are not finite, or nothing that has the form of an image.
            UsageError: It gives several images, and the user has to say which one.
        """
        inputs = noise(self.fields, self.channels, batch, height, width, self.bounds)
        try:
            with torch.no_grad():
                seen, returned = self.adapter.run(*inputs)
        except Exception as error:  # foreign code; each of its errors becomes one line
            check_memory(error, f"running {self.network} on {width}x{height} pixels")
            raise ProbeError(f"raised {type(error).__name__}: {reason_of(error)}, {self.said(inputs)}") from error
        picked = self._picked(inputs, seen, returned, batch * self.folded, (height, width))
        if not picked.tensor.isfinite().all():
            raise ProbeError(f"gave NaN or infinite values, {self.said(inputs)}")
        return picked

    def said(self, inputs: Sequence[Tensor]) -> str:
        """Describe the inputs of a run."""
        named = [f"an image {describe(inputs[0])}"]
        for fields, tensor in zip(self.fields, inputs[1:], strict=True):
            last = f" up to {int(tensor.max())}" if tensor.dtype == torch.int64 else ""
            named.append(f"{fields.name or 'a color'} {describe(tensor)}{last}")
        return f"run on {' and '.join(named)}"

    def _picked(
        self, inputs: Sequence[Tensor], seen: Tensor, returned: Any, batch: int, size: tuple[int, int]
    ) -> Picked:
        found = list({id(tensor): (key, tensor) for key, tensor in reversed(list(leaves(returned)))}.values())[::-1]
        shown = ", ".join(f"{key}: {describe(tensor)}" if key else describe(tensor) for key, tensor in found[:_SHOWN])
        shown = shown or type(returned).__name__
        if self.output_key:
            try:
                found = [(self.output_key, pick(returned, self.output_key))]
            except KeyError as error:
                raise UsageError(
                    f"{self.network} gives nothing at {self.output_key[:60]!r}: {shown}",
                    remedy="give one of these places with --output-key",
                ) from error
        images = [(key, tensor, scale) for key, tensor in found if (scale := _scale(tensor, batch, size)) is not None]
        usual = images if self.many else [each for each in images if _channels(each[1]) in (1, 3, 4)]
        if not images:
            raise ProbeError(f"gave {shown}, which is no image, {self.said(inputs)}")
        if not usual and len(images) > 1:
            raise ProbeError(f"gave {shown}, no picture of 1, 3 or 4 channels, {self.said(inputs)}")
        chosen = usual or images
        if len(chosen) > 1:
            raise UsageError(
                f"{self.network} gives {len(chosen)} images: {shown}",
                remedy=f"name the one to take, such as --output-key {chosen[0][0]}",
            )
        key, tensor, scale = chosen[0]
        return Picked(
            key=key,
            tensor=tensor,
            channels=_channels(tensor),
            scale=scale,
            others=len(found) - 1,
            seen=seen,
            image=inputs[0],
        )


def _channels(tensor: Tensor) -> int:
    return tensor.shape[1] if tensor.ndim == 4 else 1


def _scale(tensor: Tensor, batch: int, size: tuple[int, int]) -> Fraction | None:
    """Return the size of an output relative to the image's; None if it is no image."""
    if tensor.ndim not in (3, 4) or tensor.shape[0] != batch or 0 in tensor.shape or tensor.is_complex():
        return None
    if tensor.dtype == torch.float16 or tensor.dtype == torch.bfloat16:
        return None
    ratios = {Fraction(extent, side) for extent, side in zip(tensor.shape[-2:], size, strict=True)}
    ratio = ratios.pop()
    return ratio if not ratios and str(ratio) in SCALES else None
