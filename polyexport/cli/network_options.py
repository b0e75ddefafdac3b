"""The options of `polyexport export` that describe a network of the user's own.

They are spelled like the keys of a TOML file; an option that may be repeated is spelled in the singular.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from polyexport.model.conditions import COLOR_MODULES

__all__ = ["network_fields", "with_network_options"]

if TYPE_CHECKING:
    _Conditioning = str
else:
    _Conditioning = Literal[tuple(COLOR_MODULES)]


@dataclass(frozen=True, slots=True)
class _Option:
    """One option, whose parameter is called like it."""

    flag: str
    type: Any
    help: str
    panel: str
    metavar: str | None = None
    default: str | bool = False
    """Default as the help shows it."""

    key: str = ""
    """Key in a TOML file; empty if it is that of the option."""

    least: int | None = None

    @property
    def parameter(self) -> str:
        return self.flag.removeprefix("--").replace("-", "_")

    @property
    def toml_key(self) -> str:
        return self.key or self.flag.removeprefix("--")


_NETWORK = "A network of your own"
_IMAGE = "The image of the network"
_CONDITIONS = "Conditions of the network"
_OUTPUT = "The output of the network"
_MEANS = "NUMBER,..."

_OPTIONS = (
    _Option("--weights", Path, "State dict of the network, .safetensors or .pth.", _NETWORK, "FILE"),
    _Option(
        "--weights-key",
        str,
        "Set of weights in --weights, such as ema, if several fit the network; . is the whole file.",
        _NETWORK,
        "NAME",
        "the only one that fits",
    ),
    _Option(
        "--argument",
        list[str],
        "Argument of the network's constructor. VALUE is TOML, text, or an object such as torch.nn:InstanceNorm2d. May "
        "be repeated.",
        _NETWORK,
        "NAME=VALUE",
        key="arguments",
    ),
    _Option(
        "--size",
        int,
        "Height and width of the training images, pixels; without --size-multiple also the only size that it takes.",
        _NETWORK,
        default="found out, 128 if it takes that",
        least=1,
    ),
    _Option(
        "--size-multiple",
        int,
        "Number of pixels that height and width of every image must be a multiple of.",
        _NETWORK,
        default="found out; with --size that size alone",
        least=1,
    ),
    _Option(
        "--image-argument",
        str,
        "Argument of forward that takes the image: its name, or its position from 0.",
        _IMAGE,
        "NAME",
        "image, img, or the first",
    ),
    _Option("--channels", int, "Channels of the images: 1, 3 or 4.", _IMAGE, default="as the network takes", least=1),
    _Option(
        "--layout",
        Literal["NCHW", "NHWC", "CHW", "HWC"],
        "Axes of the image in an ONNX file of another exporter.",
        _IMAGE,
        default="found out",
    ),
    _Option(
        "--gray",
        Literal["luma", "per-channel"],
        "Reading of a picture for a network of one channel: its luma, or each of its channels by itself.",
        _IMAGE,
        default="luma",
    ),
    _Option(
        "--input-space",
        Literal["rgb", "bgr", "ycbcr", "y", "lab", "l"],
        "Channels of the network's image; y and l are the first channel of YCbCr and of Lab alone.",
        _IMAGE,
        default="rgb",
    ),
    _Option(
        "--value-range",
        str,
        "Value range of the network's input: the values that pixel values 0 and 255 are mapped to.",
        _IMAGE,
        "LOW..HIGH",
        "found out; -1..1 with a color",
    ),
    _Option(
        "--mean",
        str,
        "Mean of each channel, in units of the value range, which is 0..1 then; of Lab in its own units.",
        _IMAGE,
        _MEANS,
    ),
    _Option("--std", str, "Standard deviation of each channel.", _IMAGE, _MEANS),
    _Option(
        "--condition",
        list[str],
        "Meaning of an argument of forward, such as sigma=number:range=0..75, style=label:labels=sketch|ink, "
        "mask=image:as=channels or code=vector:dim=8. May be repeated.",
        _CONDITIONS,
        "NAME=KIND[:KEY=VALUE,...]",
    ),
    _Option(
        "--fixed",
        list[str],
        "Argument of forward that is the same in every call. May be repeated.",
        _CONDITIONS,
        "NAME=VALUE",
    ),
    _Option(
        "--conditioning",
        _Conditioning,
        "Kind of the network's color: rgb, float [N, 3]; vocabulary, int64 [N]; embedding, float [N, D].",
        _CONDITIONS,
        default="vocabulary if colors are named, else rgb",
    ),
    _Option(
        "--color",
        list[str],
        "Color that the network knows, in index order. May be repeated; names beside the weights are found.",
        _CONDITIONS,
        "NAME[=VALUE]",
        key="colors",
    ),
    _Option("--embedding", str, "Submodule that embeds the color, for --color-input embedding.", _CONDITIONS, "NAME"),
    _Option("--embedding-dim", int, "Width D of the color with --conditioning embedding.", _CONDITIONS, least=1),
    _Option(
        "--embedding-table",
        str,
        "Key in the file of weights of the [colors, D] tensor, for --conditioning embedding.",
        _CONDITIONS,
        "KEY",
    ),
    _Option(
        "--output-key",
        str,
        "Place of the image in the tuple, list or dictionary that forward returns, such as 1, out or preds.0.",
        _OUTPUT,
        "KEY",
        "the only image",
    ),
    _Option(
        "--activation",
        Literal["none", "sigmoid", "tanh", "softmax", "argmax"],
        "Function still to be applied to the output: sigmoid for logits of a mask, argmax for scores of labels.",
        _OUTPUT,
        default="none",
    ),
    _Option(
        "--output-channel", int, "Channel of the output that is the result, from 0.", _OUTPUT, default="all", least=0
    ),
    _Option(
        "--residual",
        str,
        "The output is multiplied with this and added to the network's image: 1, or -1 for noise to be taken away.",
        _OUTPUT,
        "NUMBER",
    ),
    _Option(
        "--output-range",
        str,
        "Value range of the network's output: the values that become pixel values 0 and 255.",
        _OUTPUT,
        "LOW..HIGH",
        "found out, or the value range",
    ),
    _Option("--output-mean", str, "Mean of each channel, which is added to the output.", _OUTPUT, _MEANS),
    _Option(
        "--output-std", str, "Standard deviation of each channel, which the output is multiplied with.", _OUTPUT, _MEANS
    ),
    _Option(
        "--output-space",
        Literal["rgb", "bgr", "ycbcr", "y", "lab", "l", "ab"],
        "Channels of the output; what y, l and ab lack is taken from the image.",
        _OUTPUT,
        default="the input space",
    ),
    _Option(
        "--label-color",
        list[str],
        "Color of a label that argmax gives, in index order. May be repeated.",
        _OUTPUT,
        "NAME[=VALUE]",
        "the index as gray",
        key="label-colors",
    ),
)


def with_network_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options to a command, before ``--json``. It gets them as keyword arguments, through its ``**given``."""
    signature = inspect.signature(command)
    parameters = list(signature.parameters.values())
    place = [each.name for each in parameters].index("json_report")
    parameters[place:place] = [
        inspect.Parameter(
            option.parameter,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=None,
            annotation=Annotated[
                option.type | None,
                typer.Option(
                    option.flag,
                    help=option.help,
                    rich_help_panel=option.panel,
                    metavar=option.metavar,
                    show_default=option.default,
                    min=option.least,
                ),
            ],
        )
        for option in _OPTIONS
    ]
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return command


def network_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """Read what was given for the options, as fields of ``NetworkSpec``; what was left out is not among them.

    Raises:
        UsageError: A value has another form than its option needs.
    """
    values = {option.toml_key: given.get(option.parameter) for option in _OPTIONS}
    if all(value is None or value == [] for value in values.values()):
        return {}  # without the import of torch
    from polyexport.export.source.spec_fields import read_field

    return dict(
        read_field(key, str(value) if isinstance(value, Path) else value)
        for key, value in values.items()
        if value is not None and value != []
    )
