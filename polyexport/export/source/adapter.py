"""The module around a user's network that makes it ``Source.module``: it is traced with it, into the same graph."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polyexport.export.source.forward import Call
from polyexport.export.source.outputs import pick
from polyexport.export.source.source import UNIT, ValueRange
from polyexport.export.source.spaces import FROM_RGB, TO_RGB, WHOLE

__all__ = ["Adapter", "Given", "ImageReading", "OutputReading"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageReading:
    """Making of the values that a network takes for its image, from the image that the adapter gets."""

    space: str = "rgb"
    values: ValueRange = UNIT
    """Values of the network for 0 and 1 of the space; of no meaning in Lab."""

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    per_channel: bool = False
    """Each channel goes through the network as a gray image of its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputReading:
    """Making of the result from what a network returns."""

    key: str = ""
    activation: str = "none"
    channel: int | None = None
    residual: float | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    space: str = ""
    """Space of the network's values, of which an RGB picture in 0..1 is made; empty to leave them as they are."""

    values: ValueRange = UNIT
    """Values of the network for 0 and 1 of the space; of no meaning in Lab."""

    scale: Fraction = Fraction(1)
    label_colors: tuple[tuple[int, int, int], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """The form of one condition of a network."""

    form: str
    """One of the forms of its kind."""

    count: int = 0
    """Number of names of a label, or of a color of a list; 0 for values."""

    factor: float = 1.0
    """Factor of its values."""

    offset: float = 0.0
    """Number that is then added."""

    like_image: bool = False
    """A picture in 0..1 that the network takes as it takes its image."""


class Adapter(nn.Module):
    """``Source.module`` of a network that takes or gives something else.

    Attributes:
        network: The user's network.
        raw_image: Whether the image that comes in is as the network wants it; otherwise it is in 0..1.
    """

    def __init__(
        self,
        network: nn.Module,
        call: Call,
        given: Sequence[Given],
        image: ImageReading | None = None,
        output: OutputReading | None = None,
    ) -> None:
        """Put an adapter around a network.

        Args:
            network: The user's network.
            call: Which argument is what.
            given: Form of each condition of ``call``.
            image: How the image is read; None if it comes in as the network wants it.
            output: How the output is read; None for the only tensor, as it is.
        """
        super().__init__()
        self.network = network
        self._call, self._given = call, tuple(given)
        self._image, self._output = image, output or OutputReading()
        colors = torch.tensor(self._output.label_colors or [(0, 0, 0)], dtype=torch.float32)
        self.register_buffer("_label_colors", colors, persistent=False)

    def forward(self, image: Tensor, *conditions: Tensor) -> Tensor:
        """Run the network: ``Source.module`` tells the shapes."""
        seen, returned = self.run(image, *conditions)
        return self.read(image, seen, pick(returned, self._output.key))

    def run(self, image: Tensor, *conditions: Tensor) -> tuple[Tensor, Any]:
        """Return the image as the network takes it, without further channels, and whatever it returns."""
        folded = self._image is not None and self._image.per_channel
        if folded:
            channels = image.shape[1]
            image = image.reshape(-1, 1, image.shape[2], image.shape[3])
            conditions = tuple(each.repeat_interleave(channels, dim=0) for each in conditions)
        seen = image if self._image is None else self._as_wanted(image)
        joined, values = [seen], {}
        for given, place, condition in zip(self._given, self._call.places, conditions, strict=True):
            value = self._formed(given, condition, seen)
            if place is None:
                joined.append(value)
            else:
                values[place] = value
        values[self._call.image] = joined[0] if len(joined) == 1 else torch.cat(joined, dim=1)
        values |= self._call.fixed
        positions = sorted(place for place in values if isinstance(place, int))
        return seen, self.network(
            *(values[place] for place in positions),
            **{place: value for place, value in values.items() if isinstance(place, str)},
        )

    def _as_wanted(self, image: Tensor) -> Tensor:
        """Turn an image in 0..1 into what the network takes."""
        reading = self._image
        assert reading is not None
        values = FROM_RGB[reading.space](image) if reading.space != "rgb" else image
        if reading.space not in ("lab", "l"):
            values = _ranged(values, UNIT, reading.values)
        return _normalized(values, reading.mean, reading.std)

    def _formed(self, given: Given, condition: Tensor, image: Tensor) -> Tensor:
        if given.like_image:
            return condition if self._image is None else self._as_wanted(condition)
        value = condition
        if given.count and given.form in ("one-hot", "planes", "channels"):
            value = F.one_hot(value, given.count).to(torch.float32)
        if given.factor != 1:
            value = value * given.factor
        if given.offset:
            value = value + given.offset
        if value.ndim == 4:
            return value
        if given.form in ("planes", "channels"):
            value = value.reshape(value.shape[0], -1, 1, 1)
            return value.expand(-1, -1, image.shape[2], image.shape[3])
        if given.form == "[B,1]":
            return value.reshape(-1, 1)
        if given.form in ("[B,1,1,1]", "[B,D,1,1]"):
            return value.reshape(value.shape[0], -1, 1, 1)
        return value

    def read(self, image: Tensor, seen: Tensor, output: Tensor) -> Tensor:
        """Make the result of the network's output.

        Args:
            image: What the adapter gets, [B, C, H, W].
            seen: What the network took as its image.
            output: [B, C', s H, s W], or [B, s H, s W] for one channel.
        """
        reading = self._output
        if output.ndim == 3:
            output = output.unsqueeze(1)
        if not output.is_floating_point():
            output = output.to(torch.float32)
        output = _activated(output, reading.activation)
        if reading.activation == "argmax":
            if not reading.label_colors:
                return output.to(torch.float32)
            colors: Tensor = self._label_colors  # type: ignore[assignment]
            return colors[output[:, 0]].permute(0, 3, 1, 2)
        if reading.channel is not None:
            output = output[:, reading.channel : reading.channel + 1]
        if reading.residual is not None:
            output = seen + output * reading.residual
        output = _denormalized(output, reading.mean, reading.std)
        if reading.space:
            output = self._as_rgb(image, output)
        if self._image is not None and self._image.per_channel:
            output = output.reshape(-1, image.shape[1], output.shape[2], output.shape[3])
        return output

    def _as_rgb(self, image: Tensor, output: Tensor) -> Tensor:
        """Turn an output in a space into an RGB picture in 0..1; what it lacks is that of the image."""
        reading = self._output
        space = WHOLE.get(reading.space, reading.space)
        if space != "lab":
            output = _ranged(output, reading.values, UNIT)
        if space != reading.space:
            own = FROM_RGB[space](image)
            if reading.scale != 1:
                factor = float(reading.scale)
                own = F.interpolate(own, scale_factor=factor, mode="bilinear", align_corners=False)
            output = torch.cat([own[:, :1], output] if reading.space == "ab" else [output, own[:, 1:]], dim=1)
        return TO_RGB[space](output)


def _ranged(values: Tensor, source: ValueRange, target: ValueRange) -> Tensor:
    if source == target:
        return values
    factor = (target[1] - target[0]) / (source[1] - source[0])
    offset = target[0] - source[0] * factor
    return values * factor + offset if offset else values * factor


def _normalized(values: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    if mean:
        values = values - values.new_tensor(mean).reshape(1, -1, 1, 1)
    return values / values.new_tensor(std).reshape(1, -1, 1, 1) if std else values


def _denormalized(values: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    if std:
        values = values * values.new_tensor(std).reshape(1, -1, 1, 1)
    return values + values.new_tensor(mean).reshape(1, -1, 1, 1) if mean else values


def _activated(output: Tensor, activation: str) -> Tensor:
    match activation:
        case "sigmoid":
            return torch.sigmoid(output)
        case "tanh":
            return torch.tanh(output)
        case "softmax":
            return torch.softmax(output, dim=1)
        case "argmax":
            return output.argmax(dim=1, keepdim=True)
        case _:
            return output
