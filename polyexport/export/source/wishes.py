"""The adapter that gives a network its image and its conditions as the user says that it wants them."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from polyexport.export.source.adapter import Adapter, Given, ImageReading, OutputReading
from polyexport.export.source.forward import Call
from polyexport.export.source.probe import Picked
from polyexport.export.source.source import UNIT, ValueRange
from polyexport.export.source.spaces import WHOLE
from polyexport.export.source.spec import NetworkSpec
from polyexport.model.conditions.fields import ConditionFields

__all__ = ["Wishes"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Wishes:
    """Wishes of a network, but for what is still to be found out."""

    spec: NetworkSpec
    module: nn.Module
    call: Call
    fields: tuple[ConditionFields, ...]
    """Conditions as the contract has them, in the order of ``call``."""

    @property
    def joined_channels(self) -> int:
        """Number of channels that conditions are joined to the image with."""
        return sum(_width(each) for place, each in zip(self.call.places, self.fields, strict=True) if place is None)

    @property
    def reads(self) -> bool:
        """Whether more than a value range lies between the image and the network."""
        spec = self.spec
        return bool(
            spec.input_space != "rgb"
            or spec.mean
            or spec.std
            or spec.gray == "per-channel"
            or spec.output_space in WHOLE
        )

    def adapter(self, output: OutputReading, value_range: ValueRange) -> Adapter:
        """Put the adapter around the network that reads its image in a value range, and its output."""
        spec = self.spec
        image = ImageReading(
            space=spec.input_space,
            values=value_range,
            mean=spec.mean,
            std=spec.std,
            per_channel=spec.gray == "per-channel",
        )
        given = self._given(value_range)
        return Adapter(self.module, self.call, given, image if self.reads else None, output).eval()

    def _given(self, value_range: ValueRange) -> tuple[Given, ...]:
        """Return the forms of the conditions."""
        own, forms = UNIT if self.reads else value_range, []
        for each, fields in zip(self.call.conditions, self.fields, strict=True):
            given = Given(form=each.as_form, factor=each.scale)
            match fields.kind:
                case "label":
                    given = replace(given, count=len(fields.labels))
                case "color" if fields.conditioning == "vocabulary":
                    given = replace(given, count=len(fields.palette))
                case "color" if fields.conditioning == "rgb":
                    given = _between(given, own, each.range or value_range)
                case "image" if each.range is not None or fields.channels == 1:
                    given = _between(given, UNIT, each.range or UNIT)
                case "image":
                    given = replace(given, like_image=True) if self.reads else _between(given, UNIT, value_range)
            forms.append(given)
        return tuple(forms)

    def is_plain(self, value_range: ValueRange, first: Picked) -> bool:
        """Whether the network is called as ``Source.module`` is, so that it needs no adapter."""
        unchanged = (
            given.form in ("value", "index", "[B]", "[B,D]") and (given.factor, given.offset) == (1, 0)
            for given in self._given(value_range)
        )
        own = (first.tensor.dtype, first.tensor.ndim) == (torch.float32, 4)
        return own and not self.reads and self.call.in_order and all(unchanged)


def _width(fields: ConditionFields) -> int:
    """Return the number of channels of a condition that is joined to those of the image."""
    match fields.kind:
        case "label":
            return len(fields.labels)
        case "color":
            return len(fields.palette) or (fields.embedding.dim if fields.embedding is not None else 3)
        case "vector":
            return fields.dim
        case "image":
            return fields.channels
        case _:
            return 1


def _between(given: Given, source: ValueRange, target: ValueRange) -> Given:
    if source == target:
        return given
    factor = (target[1] - target[0]) / (source[1] - source[0])
    return replace(given, factor=factor, offset=target[0] - source[0] * factor)
