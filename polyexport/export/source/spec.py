"""The description of a network beyond its weights: what it is built of, how it takes an image, and what it gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from polyexport.export.source.condition_spec import ConditionSpec
from polyexport.export.source.source import SIGNED, ValueRange
from polyexport.export.source.texts import checked_range, expect
from polyexport.imaging.pixels import MAX_TRAINING_SIZE
from polyexport.model.conditions import COLOR_MODULES
from polyexport.model.conditions.fields import MAX_EMBEDDING_DIM, Palette
from polyexport.model.result import ResultKind

__all__ = ["ACTIVATIONS", "GRAYS", "INPUT_SPACES", "ONNX_SUFFIX", "OUTPUT_SPACES", "NetworkSpec"]

ONNX_SUFFIX = ".onnx"
"""Ending of the names of ONNX files."""

INPUT_SPACES = ("rgb", "bgr", "ycbcr", "y", "lab", "l")
"""Readings of the channels of a network's image: ``y`` and ``l`` are the first channel of their space alone."""

OUTPUT_SPACES = (*INPUT_SPACES, "ab")
"""Readings of its output; what ``y``, ``l`` and ``ab`` lack is taken from the image."""

ACTIVATIONS = ("none", "sigmoid", "tanh", "softmax", "argmax")
"""Functions that are still to be applied to a network's output."""

GRAYS = ("luma", "per-channel")
"""Readings of a picture for a network of gray images."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkSpec:
    """A network by its import path, its weights, and everything that the weights alone do not tell.

    Raises:
        UsageError: A name, range, size or combination that is impossible.
    """

    network: str
    """``package.module:Class`` of an ``nn.Module``, or ``package.module:function`` that makes one; or the name of an
    ONNX file."""

    weights: Path
    """File of the weights, ``.safetensors``, ``.pth`` or ``.pt``; the ONNX file itself."""

    weights_key: str = ""
    """Name of the set of weights in that file, such as ``ema``, for a file with several; ``.`` is the file's own
    dictionary. Empty if the file leaves no choice."""

    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the class's constructor."""

    image_argument: str = ""
    """Name of the argument of forward that takes the image, or its position from 0; empty for ``image``, ``img``, or
    the first one."""

    conditions: tuple[ConditionSpec, ...] = ()
    """Arguments that the network takes beside the image."""

    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of forward that have the same value in every call."""

    channels: int | None = None
    """Channels of the images that the model file takes: 1, 3 or 4; None for what the network takes."""

    gray: str = ""
    """One of ``GRAYS``, for a network that takes one channel; empty for luma."""

    value_range: ValueRange | None = None
    """Value range of the image, and of the color with ``rgb`` conditioning; None for what is found out."""

    mean: tuple[float, ...] = ()
    """Mean for each channel that is taken from the image's values; empty for zero."""

    std: tuple[float, ...] = ()
    """Standard deviation for each channel that the image's values are divided by; empty for one."""

    input_space: str = "rgb"
    """One of ``INPUT_SPACES``."""

    output_key: str = ""
    """Place of the image in what forward returns, such as ``1``, ``out`` or ``preds.0``; empty for the only one."""

    activation: str = ""
    """One of ``ACTIVATIONS``; empty for none if the output has bounds."""

    output_channel: int | None = None
    """Channel of the output that is the result, from 0; None for all."""

    residual: float | None = None
    """Factor of the output, which is added to the image; None if the output is the image."""

    output_range: ValueRange | None = None
    """Value range of the network's output; None for that of ``value_range``."""

    output_mean: tuple[float, ...] = ()
    """Mean for each channel that is added to the output; empty for zero."""

    output_std: tuple[float, ...] = ()
    """Standard deviation for each channel that the output is multiplied with; empty for one."""

    output_space: str = ""
    """One of ``OUTPUT_SPACES``; empty for the input's."""

    label_colors: Palette = ()
    """Names and sRGB values of the labels that ``argmax`` gives, in index order; empty for their indices as gray."""

    result: ResultKind | None = None
    """Kind of the result; None for what is found out."""

    conditioning: str | None = None
    """Kind of the network's condition; None for ``vocabulary`` if colors are given, here or beside the weights, and for
    ``rgb`` otherwise."""

    colors: Palette = ()
    """Names and sRGB values in index order; empty for those that the file of weights names."""

    embedding: str = ""
    """Dotted name of the submodule that makes the embedding of a color."""

    embedding_dim: int = 0
    """Width D of the condition with ``embedding`` conditioning; 0 for the width of the table."""

    embedding_table: str = ""
    """Key in the file of weights of the table float [colors, D], for ``embedding`` conditioning."""

    size: int | None = None
    """Height and width of the training images, pixels; None for what is found out, 128 if possible."""

    width: int | None = None
    """Width of the images of a network that takes one size, which is not square, pixels; None for ``size``."""

    layout: str = ""
    """Order of the axes of an ONNX file's image, such as ``NHWC``; empty for what its shapes show."""

    size_multiple: int | None = None
    """The network takes every height and width that is a multiple of this; None if it takes ``size`` only, or, without
    ``size``, for what is found out."""

    def __post_init__(self) -> None:
        module, colon, name = self.network.partition(":")
        expect(
            self.network.lower().endswith(ONNX_SUFFIX)
            or (bool(colon) and all(part.isidentifier() for part in (*module.split("."), *name.split(".")))),
            f"{self.network!r} names no network",
            "give package.module:Class, such as models.unet:UNet for class UNet in models/unet.py",
        )
        expect(
            all(isinstance(name, str) and name.isidentifier() for name in self.arguments),
            f"{repr(list(self.arguments))[:60]} are not all names of arguments",
            "give names as the constructor has them",
        )
        for bounds in (self.value_range or SIGNED, self.output_range or SIGNED):
            checked_range(*bounds)
        self._check_reading()
        expect(
            self.conditioning in (None, *COLOR_MODULES),
            f"conditioning is {self.conditioning!r}",
            f"give {' or '.join(COLOR_MODULES)}",
        )
        size = self.size or 128
        expect(
            self.size is None or 0 < self.size <= MAX_TRAINING_SIZE,
            f"the size is {self.size} pixels, expected 1 to {MAX_TRAINING_SIZE}",
            "give another size",
        )
        expect(
            self.size_multiple is None
            or (self.size_multiple > 0 and (self.size is None or size % self.size_multiple == 0)),
            f"the size {size} is not a multiple of {self.size_multiple}",
            "give a size that is, or leave size-multiple out to export for one size alone",
        )
        expect(
            self.conditioning != "rgb" or not self.colors,
            "a network with rgb conditioning has no list of colors",
            "leave the colors out, or give conditioning vocabulary",
        )
        expect(
            0 <= self.embedding_dim <= MAX_EMBEDDING_DIM, f"embedding-dim is {self.embedding_dim}", "give its width D"
        )
        vectors = bool(self.embedding_dim or self.embedding_table)
        if self.conditioning == "embedding":
            expect(
                vectors,
                "the width of the embedding is unknown",
                "give embedding-dim, or the key of the table with embedding-table",
            )
            expect(
                not self.embedding,
                "a network that was trained on vectors has no submodule that makes them",
                "leave embedding out, or give another conditioning",
            )
            expect(
                bool(self.embedding_table) or not self.colors,
                "colors without a table of their embeddings",
                "give its key in the weights with embedding-table, or leave the colors out",
            )
        else:
            expect(
                not vectors,
                "embedding-dim and embedding-table belong to conditioning embedding",
                "give that conditioning, or leave them out",
            )

    @property
    def says_color(self) -> bool:
        """Whether an option says that the network takes a color, without its place among the arguments."""
        return bool(self.conditioning or self.colors or self.embedding or self.embedding_dim or self.embedding_table)

    def _check_reading(self) -> None:
        for what, value, known in (
            ("gray", self.gray, ("", *GRAYS)),
            ("input-space", self.input_space, INPUT_SPACES),
            ("output-space", self.output_space, ("", *OUTPUT_SPACES)),
            ("activation", self.activation, ("", *ACTIVATIONS)),
            ("result", self.result, (None, *get_args(ResultKind))),
        ):
            names = [name for name in known if name]
            expect(value in known, f"{what} is {str(value)[:60]!r}", f"give {', '.join(names)}")
        expect(self.channels in (None, 1, 3, 4), f"the images have {self.channels} channels", "give channels 1, 3 or 4")
        for what, values in (
            ("mean", self.mean),
            ("std", self.std),
            ("output-mean", self.output_mean),
            ("output-std", self.output_std),
        ):
            expect(len(values) in (0, 1, 2, 3, 4), f"{what} has {len(values)} values", "give one for each channel")
            expect("std" not in what or all(values), f"a value of {what} is 0", "give what the values are divided by")
        for what, space, bounds in (
            ("value-range", self.input_space, self.value_range),
            ("output-range", self.output_space or self.input_space, self.output_range),
        ):
            kind = what.partition("-")[0]
            expect(
                space not in ("lab", "l", "ab") or bounds is None,
                f"{what} does not go with Lab, whose L is 0 to 100 and whose a and b are -128 to 128",
                f"give {'mean and std' if kind == 'value' else 'output-mean and output-std'} in these units",
            )
        names = [condition.name for condition in self.conditions]
        expect(len(set(names)) == len(names), f"the conditions {', '.join(names)[:80]} are not all different", "rename")
        expect(
            sum(condition.kind == "color" for condition in self.conditions) <= 1,
            "two conditions are colors",
            "describe one of them as a vector",
        )
        expect(
            not self.label_colors or self.activation == "argmax",
            "label-color belongs to activation argmax",
            "give that too, or leave it out",
        )
