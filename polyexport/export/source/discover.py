"""Discovery of everything that a network shows before anybody is asked: channels, sizes, scale, image, value ranges.

Each decision that could have been another one is a remark, with the option that says otherwise.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

import torch
from torch import nn

from polyexport.errors import UsageError, reason_of
from polyexport.export.source.adapter import OutputReading
from polyexport.export.source.forward import Call
from polyexport.export.source.probe import Picked, Probe, ProbeError, noise
from polyexport.export.source.sizes import find_sizes
from polyexport.export.source.source import SIGNED, UNIT, Source, ValueRange
from polyexport.export.source.spec import OUTPUT_SPACES, NetworkSpec
from polyexport.export.source.watch import Watch
from polyexport.export.source.wishes import Wishes
from polyexport.model.conditions.fields import ConditionFields
from polyexport.model.result import ResultFields, ResultKind

__all__ = ["discover"]

_SIZES = (128, 256, 64, 512, 224, 384, 32, 96)
"""Heights and widths that a network is tried with, which is why images are trained on; the first one fits most."""

_LEVELS: ValueRange = (0.0, 255.0)
_ACTIVATED = {"sigmoid": UNIT, "softmax": UNIT, "tanh": SIGNED}
_SPACES = {
    ("bgr", 3): "bgr", ("ycbcr", 3): "ycbcr", ("y", 1): "y", ("lab", 3): "lab", ("lab", 2): "ab",
    ("l", 1): "l", ("l", 2): "ab", ("l", 3): "lab",
}  # fmt: skip
"""Space of the image and number of channels of the output -> space of the output, if nobody says another."""

_SAMPLER_CALLS = 4
"""Calls of one convolution in a run, beside random numbers or a schedule, that make a sampler."""

_SAMPLER_PARTS = ("scheduler", "noise_scheduler", "betas", "alphas_cumprod", "num_timesteps", "num_inference_steps")


def discover(
    spec: NetworkSpec, module: nn.Module, call: Call, fields: Sequence[ConditionFields], *, sha256: str
) -> Source:
    """Find out what nobody said about a network, by running it on noise.

    Args:
        spec: What the user says.
        module: The network, its weights loaded.
        call: What each argument of forward is.
        fields: Conditions as the contract has them, in the order of ``call``.
        sha256: SHA-256 of the file that held the weights, lowercase hex.

    Returns:
        The network, or an adapter around it, with all that was found out.

    Raises:
        UsageError: The network fails on all that was tried, gives no image, is a sampler, or leaves a choice to the
            user; the message has the option.
    """
    return _Discovery(spec, module, call, tuple(fields)).source(sha256)


class _Discovery:
    def __init__(self, spec: NetworkSpec, module: nn.Module, call: Call, fields: tuple[ConditionFields, ...]) -> None:
        self._spec, self._module, self._fields = spec, module, fields
        self._wishes = Wishes(spec=spec, module=module, call=call, fields=fields)
        self._colored = any(each.kind == "color" for each in fields)
        self._remarks = list(call.remarks)

    def source(self, sha256: str) -> Source:
        spec = self._spec
        probe, first, batch, watch = self._first()
        self._refuse_sampler(watch)
        said = spec.activation not in ("", "none")
        ends = _ACTIVATED.get(spec.activation) if said else watch.bounds_of(first.tensor)
        if ends not in (SIGNED, UNIT, _LEVELS):  # half a sigmoid is a dark picture, and not one of other values
            ends = None
        kind, space, channels = self._result(probe, first, ends)
        value_range = self._value_range(ends, kind)
        output_range = self._output_range(ends, kind, value_range)
        output = self._output_reading(first, space, output_range)
        adapter = self._wishes.adapter(output, value_range)
        plain = output == OutputReading() and self._wishes.is_plain(value_range, first)
        whole = replace(probe, adapter=adapter, bounds=UNIT if self._wishes.reads else value_range)
        if not plain:
            self._check(whole, first, batch, channels)
        sizes = find_sizes(spec, whole, first, batch_one=batch == 1)
        embedding = f"network.{spec.embedding}" if spec.embedding and not plain else spec.embedding
        return Source(
            module=self._module if plain else adapter,
            conditions=self._fields,
            image_channels=probe.channels,
            result=ResultFields(kind=kind, scale=str(first.scale), channels=channels),
            embedding=embedding,
            value_range=UNIT if self._wishes.reads else value_range,
            output_range=_LEVELS if kind == "labels" else UNIT if space else output_range,
            size_multiple=sizes.multiple,
            smallest_size=sizes.smallest,
            training_size=sizes.training,
            training_width=sizes.training_width,
            fixed_size=sizes.fixed,
            sizes_found=sizes.found,
            batch_one=sizes.batch_one,
            network=spec.network,
            sha256=sha256,
            remarks=(*self._remarks, *sizes.remarks),
        )

    def _say(self, what: str, otherwise: str) -> None:
        self._remarks.append(f"{what} (else: {otherwise})")

    # -----------------------------------------------------------------------------------------------------------------
    # The first run

    def _first(self) -> tuple[Probe, Picked, int, Watch]:
        """Return the first reading of the image that works, what it gave, the size of its batch, and its operators."""
        spec = self._spec
        faults: list[ProbeError] = []
        sizes: Sequence[int] = (spec.size,) if spec.size else _SIZES
        if multiple := spec.size_multiple:
            sizes = tuple(dict.fromkeys(-(-size // multiple) * multiple for size in sizes))
        for size in sizes:
            for channels, folded in self._channel_choices():
                probe = self._probe(channels, folded)
                for batch in (2, 1):
                    watch = Watch()
                    try:
                        with watch:
                            picked = probe.run(batch, size, spec.width or size)
                    except ProbeError as error:
                        faults.append(error)
                        continue
                    self._say_channels(channels)
                    return probe, picked, batch, watch
        remedy = (
            "give the size that it takes, and the conditioning that it was trained with"
            if self._colored
            else "give the size that it takes with --size, its channels with --channels, or say which part of what it "
            "gives is the image with --output-key"
        )
        raise UsageError(f"{spec.network} {faults[0]}; expected an image", remedy=remedy) from faults[0].__cause__

    def _probe(self, channels: int, folded: int) -> Probe:
        spec = self._spec
        bounds = spec.value_range or (SIGNED if self._colored else UNIT)
        wanted = 1 if folded > 1 or spec.input_space in ("y", "l") else channels
        for what, values in (("mean", spec.mean), ("std", spec.std)):
            if len(values) not in (0, 1, wanted):
                raise UsageError(
                    f"{what} has {len(values)} values, and the network's image {wanted} channels",
                    remedy="give one value, or one for each channel",
                )
        return Probe(
            adapter=self._wishes.adapter(OutputReading(), bounds),
            network=spec.network,
            fields=self._fields,
            channels=channels,
            bounds=UNIT if self._wishes.reads else bounds,
            output_key=spec.output_key,
            many=spec.activation in ("argmax", "softmax") or spec.output_channel is not None,
            folded=folded,
        )

    def _channel_choices(self) -> Iterator[tuple[int, int]]:
        """Yield numbers of channels of the model's image, with the number of gray images that each becomes."""
        spec = self._spec
        if spec.gray == "per-channel":
            yield spec.channels or 3, spec.channels or 3
        elif spec.channels or spec.input_space != "rgb":
            yield spec.channels or 3, 1
        else:
            joined = self._wishes.joined_channels
            first = next((each for each in self._module.modules() if isinstance(each, nn.Conv2d)), None)
            own = first.in_channels - joined if first is not None else 3
            for channels in dict.fromkeys((own, 3, 1, 4)):
                if channels in (1, 3, 4):
                    yield channels, 1

    def _say_channels(self, channels: int) -> None:
        if self._spec.channels or self._spec.gray or self._spec.input_space != "rgb":
            return
        if channels == 1:
            self._say("took it for a network of gray images, which are made of pictures by luma", "--gray per-channel")
        elif channels == 4:
            self._say("took its 4 channels for RGB with alpha", "--condition mask=image:as=channels")

    def _refuse_sampler(self, watch: Watch) -> None:
        spec = self._spec
        parts = [name for name in _SAMPLER_PARTS if hasattr(self._module, name)]
        loops = watch.repeats >= _SAMPLER_CALLS and (watch.random or bool(parts))
        samples = callable(getattr(self._module, "sample", None)) and (bool(parts) or watch.random)
        if loops or samples:
            raise UsageError(
                f"{spec.network} is a sampler: it has {parts[0] if parts else 'random numbers'} and calls its network "
                f"{watch.repeats} times"
                if loops
                else f"{spec.network} is a sampler: it has sample() and {parts[0] if parts else 'random numbers'}",
                remedy="export the network inside of it, if one call of that makes an image",
            )

    def _value_range(self, ends: ValueRange | None, kind: ResultKind) -> ValueRange:
        spec = self._spec
        if spec.value_range is not None:
            return spec.value_range
        if spec.mean or spec.std or spec.input_space in ("lab", "l"):
            return UNIT
        if self._colored:
            return SIGNED
        if ends in (SIGNED, UNIT, _LEVELS) and kind == "picture" and spec.activation in ("", "none"):
            assert ends is not None
            self._say(f"took {_text(ends)} for the values of its image, as it gives such", "--value-range LOW..HIGH")
            return ends
        self._say(
            "took 0..1 for the values of its image, which nothing tells",
            "--value-range LOW..HIGH, or --mean and --std",
        )
        return UNIT

    # -----------------------------------------------------------------------------------------------------------------
    # What the network gives

    def _result(self, probe: Probe, first: Picked, ends: ValueRange | None) -> tuple[ResultKind, str, int]:
        """Return the kind of the result, the space that it is given in, and its channels."""
        spec, own = self._spec, first.channels
        if first.others:
            self._say(f"took {first.key} of what it gives, the only image", "--output-key KEY")
        if spec.activation == "argmax" or not first.tensor.is_floating_point():
            return "labels", "", 3 if spec.label_colors else 1
        if spec.output_channel is not None:
            if not 0 <= spec.output_channel < own:
                raise UsageError(
                    f"{spec.network} gives {own} channels, none of which is {spec.output_channel}",
                    remedy=f"give --output-channel 0 to {own - 1}",
                )
            own = 1
        space = spec.output_space or _SPACES.get((spec.input_space, own), "")
        if spec.result in ("mask", "alpha") or space == "rgb":
            space = ""
        wanted = {"y": 1, "l": 1, "ab": 2}.get(space, 3)
        if space and own != wanted:
            raise UsageError(
                f"{spec.network} gives {own} channels, expected {wanted} for the output space {space}",
                remedy=f"give another --output-space: {', '.join(OUTPUT_SPACES)}",
            )
        if spec.residual is not None and first.tensor.shape != first.seen.shape:
            raise UsageError(
                f"{spec.network} gives {list(first.tensor.shape)}, which cannot be added to its image "
                f"{list(first.seen.shape)}",
                remedy="leave out --residual",
            )
        if probe.folded > 1 and own == 1:
            return spec.result or "picture", space, probe.folded
        if space:
            return spec.result or "picture", space, 3
        if own == 2:
            raise UsageError(
                f"{spec.network} gives 2 channels, and nothing says what they are",
                remedy="give --output-space ab for the colors of Lab, --activation argmax for scores of two labels, or "
                "--activation softmax --output-channel 1 for a mask",
            )
        if own not in (1, 3, 4):
            raise UsageError(
                f"{spec.network} gives {own} channels, expected 1, 3 or 4",
                remedy=f"give --activation argmax if they are the scores of {own} labels, or one of them with "
                "--output-channel",
            )
        if own == 1 and spec.result is None and probe.channels != 1:
            self._say("took its one channel for a mask", "--result picture")
        kind = spec.result or ("mask" if own == 1 and probe.channels != 1 else "picture")
        if kind in ("mask", "alpha") and not (ends or spec.activation or spec.output_range or spec.residual):
            raise UsageError(
                f"{spec.network} gives a {kind} of one channel without bounds, which may be logits",
                remedy="give --activation sigmoid if they are, or --activation none if its values are 0..1",
            )
        return kind, space, own

    def _output_range(self, ends: ValueRange | None, kind: ResultKind, value_range: ValueRange) -> ValueRange:
        spec = self._spec
        if spec.output_range is not None:
            return spec.output_range
        if kind == "labels":
            return _LEVELS
        if spec.residual is None and ends is not None and (not self._colored or spec.activation not in ("", "none")):
            if not self._colored and ends != value_range and spec.activation in ("", "none"):
                self._say(
                    f"took {_text(ends)} for the values that it gives, which it cannot leave",
                    "--output-range LOW..HIGH",
                )
            return ends
        return UNIT if kind in ("mask", "alpha") else value_range

    def _output_reading(self, first: Picked, space: str, output_range: ValueRange) -> OutputReading:
        spec = self._spec
        mean, std = spec.output_mean, spec.output_std
        if spec.residual is not None and not (mean or std):
            mean, std = spec.mean, spec.std
        return OutputReading(
            key=first.key,
            activation=spec.activation or "none",
            channel=spec.output_channel,
            residual=spec.residual,
            mean=mean,
            std=std,
            space=space,
            values=output_range if space else UNIT,
            scale=first.scale if space else Fraction(1),
            label_colors=tuple(rgb for _, rgb in spec.label_colors),
        )

    def _check(self, probe: Probe, first: Picked, batch: int, channels: int) -> None:
        """Run the whole adapter once, whose means and spaces may not fit the channels."""
        height, width = first.image.shape[2:]
        inputs = noise(self._fields, probe.channels, batch, height, width, probe.bounds)
        try:
            with torch.no_grad():
                result = probe.adapter(*inputs)
        except RuntimeError as error:
            raise UsageError(
                f"what was said does not fit the channels of {self._spec.network} ({reason_of(error)})",
                remedy="give one value of --mean, --std, --output-mean and --output-std for each channel",
            ) from error
        expected = (batch, channels, int(height * first.scale), int(width * first.scale))
        if tuple(result.shape) != expected:
            raise UsageError(
                f"{self._spec.network} gives {list(result.shape)}, expected {list(expected)}",
                remedy="say how its output is read, see --output-space and --output-channel",
            )


def _text(bounds: ValueRange) -> str:
    return f"{bounds[0]:g}..{bounds[1]:g}"
