"""Facts that the shapes of an ONNX file leave out, found by running it on noise: layout, batch, sizes, scale, output.

Sizes are odd multiples of a number, of two different extents, so that nothing fits by chance.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from polyexport.errors import UsageError, check_memory, reason_of
from polyexport.export.graph.foreign import Extent
from polyexport.export.source.onnx_file import OnnxFile, OnnxValue
from polyexport.model.result import SCALES

__all__ = ["LAYOUTS", "Layout", "Reading", "noise", "read_shapes"]

Layout = Literal["NCHW", "NHWC", "CHW", "HWC"]
"""Order of a picture's axes: batch N, channels C, height H, width W."""

LAYOUTS: tuple[Layout, ...] = get_args(Layout)

_MULTIPLES = (1, 2, 4, 8, 16, 32, 64)
_LEAST = 48  # pixels of the smaller extent of a trial, so that padding by reflection and windows have room
_USUAL_CHANNELS = (3, 1, 4)
_MOST_CHANNELS = 64
"""Largest number of channels of an axis that is taken for channels because the other axes are larger."""

_RATIOS = frozenset(map(Fraction, SCALES))

_OUTPUT_LAYOUTS = {4: ("NCHW", "NHWC"), 3: ("NHW", "CHW", "HWC"), 2: ("HW",)}
"""Number of axes of an output -> the orders that are tried."""

_Outputs = dict[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """Form in which an ONNX file takes an image, and in which it gives the result."""

    image: OnnxValue
    """The input that is the image."""

    layout: Layout
    channels: int
    """Channels of the image."""

    output: OnnxValue
    output_layout: str
    """Order of its axes, such as ``NHWC``, ``NHW`` or ``HW``."""

    output_channels: int
    shape: tuple[Extent, ...]
    """Extents of the output, as they follow from those of the image."""

    tried: tuple[int, int]
    """A height and width that the file was run at, pixels."""

    fixed_shape: tuple[int, int] | None
    """Height and width of every image, pixels; None if they are free."""


def read_shapes(
    file: OnnxFile,
    *,
    image: str = "",
    layout: str = "",
    output: str = "",
    size: int | None = None,
    size_multiple: int | None = None,
) -> Reading:
    """Find out how a file takes an image.

    Args:
        file: The file.
        image: Name of the input that is the image; empty for the only one that can be, or the first of several.
        layout: One of ``LAYOUTS``; empty for the one that the axes of the image show.
        output: Name or position of the output that is the result; empty for the only one that is an image.
        size: Height and width of the images of a file that does not take multiples of 1 to 64; None if not known.
        size_multiple: Number that heights and widths are multiples of; None for the smallest that works.

    Raises:
        UsageError: no input or output is an image, several can be, or the file runs at no size; the remedy names the
            option that says what to take.
    """
    taken = _image_input(file, image)
    refusals: list[str] = []
    found = []
    for order, channels in _orders(file, taken, layout):
        trial = _Trial(file, taken, order, channels)
        reading = _read(trial, output, size, size_multiple, refusals)
        if reading is not None:
            found.append(reading)
    if not found:
        raise UsageError(
            f"{file.path} makes no image of its input {taken}: {refusals[0]}",
            remedy="say which size it takes with --size or --size-multiple, and which axes with --layout NCHW or NHWC",
        )
    if len(found) > 1:
        every = " and ".join(f"{each.layout} with {each.channels} channels" for each in found[:3])
        raise UsageError(
            f"{file.path} takes its input {taken} as {every}", remedy="give the right one with --layout, such as NCHW"
        )
    return found[0]


def _image_input(file: OnnxFile, name: str) -> OnnxValue:
    if name:
        found = [each for number, each in enumerate(file.inputs) if name in (each.name, str(number))]
        remedy = f"give one of {', '.join(each.name for each in file.inputs)[:200]}"
    else:
        found = [each for each in file.inputs if len(each.shape) in (3, 4)]
        remedy = "give a file with an input [batch, channels, height, width] or [batch, height, width, channels]"
        likely = [each for each in found if any(word in each.name.lower() for word in ("image", "img", "input"))]
        found = likely if len(likely) == 1 else found
    if not found:
        inputs = "; ".join(map(str, file.inputs)) or "none"
        raise UsageError(f"{file.path} has no input for an image among its inputs ({inputs[:300]})", remedy=remedy)
    taken = found[0]
    if taken.dtype not in ("float32", "float16", "float64", "uint8"):
        raise UsageError(
            f"{file.path} takes its image {taken} as {taken.dtype}, expected float32, float16, float64 or uint8",
            remedy="give a file with such an input",
        )
    return taken


def _orders(file: OnnxFile, image: OnnxValue, layout: str) -> Iterator[tuple[Layout, int]]:
    """Yield the layouts and channels to try: the one that the file's shapes show, else all that are usual."""
    shape = image.shape
    possible = [each for each in LAYOUTS if len(each) == len(shape) and layout in ("", each)]
    if not possible:
        raise UsageError(
            f"{file.path} takes its image as {image}, which cannot be {layout or 'an image'}",
            remedy=f"give --layout {' or '.join(each for each in LAYOUTS if len(each) == len(shape)) or 'NCHW'}",
        )
    known: dict[Layout, int] = {}
    for order in possible:
        extent = shape[order.index("C")]
        others = [shape[order.index(axis)] for axis in "HW"]
        if extent is not None and (
            extent in _USUAL_CHANNELS
            or (extent <= _MOST_CHANNELS and all(other is None or other > extent for other in others))
        ):
            known[order] = extent
    usual = {order: channels for order, channels in known.items() if channels in _USUAL_CHANNELS} or known
    if usual:
        yield next(iter(usual.items()))
        return
    for order in possible:
        extent = shape[order.index("C")]
        for channels in _USUAL_CHANNELS if extent is None else (extent,):
            yield order, channels


@dataclass(frozen=True, slots=True)
class _Trial:
    """Runs of a file on noise, with the image in one order of axes."""

    file: OnnxFile
    image: OnnxValue
    layout: Layout
    channels: int

    def shapes(self, batch: int, height: int, width: int) -> _Outputs | str:
        """Return the shape of every output, or the reason why the file does not run."""
        extents = {"N": batch, "C": self.channels, "H": height, "W": width}
        feeds = {value.name: noise(value, self.layout, extents) for value in self.file.inputs}
        try:
            found = self.file.session.run(None, feeds)
        except Exception as error:  # noqa: BLE001 - ONNX Runtime raises unrelated types
            check_memory(error, f"running {self.file.path} on {width}x{height} pixels")
            return reason_of(error)
        return {
            value.name: tuple(map(int, np.shape(result)))
            for value, result in zip(self.file.outputs, found, strict=True)
        }

    def extent(self, axis: str) -> int | None:
        return self.image.shape[self.layout.index(axis)] if axis in self.layout else 1


def noise(value: OnnxValue, layout: Layout, extents: Mapping[str, int]) -> NDArray[Any]:
    """Return noise for an input: a picture, or something for each image.

    Args:
        value: The input.
        layout: Order of the axes of pictures.
        extents: Extent of each axis by its letter.
    """
    axes = layout if len(value.shape) == len(layout) else "N" + "?" * (len(value.shape) - 1)
    shape = tuple(
        extents.get(axis, 1) if extent is None else extent for extent, axis in zip(value.shape, axes, strict=False)
    )
    generator = np.random.default_rng(0)
    if value.dtype == "uint8":
        return generator.integers(0, 256, shape, np.uint8)
    if value.dtype.startswith("float"):
        return np.asarray(generator.random(shape)).astype(value.dtype)
    try:
        return np.zeros(shape, value.dtype)
    except TypeError as error:
        raise UsageError(
            f"the input {value} is of a type that cannot be given", remedy="give a file without that input"
        ) from error


def _read(
    trial: _Trial, output: str, size: int | None, size_multiple: int | None, refusals: list[str]
) -> Reading | None:
    """Read the shapes in one order of axes; None if the file does not run so, with the reason in ``refusals``."""
    batch = trial.extent("N")
    if batch is not None and batch > 1:
        raise UsageError(
            f"{trial.file.path} takes {batch} images at a time ({trial.image}), expected one or any number",
            remedy="export it again with a dynamic first axis, or with a batch of 1",
        )
    height, width = trial.extent("H"), trial.extent("W")
    if height is not None or width is not None:
        first = height or width or 0
        return _settled(trial, (height or size or first, width or size or first), output, refusals)
    for multiple in (size_multiple,) if size_multiple else _MULTIPLES:
        odd = -(-_LEAST // multiple) | 1
        one, other = (multiple * odd, multiple * (odd + 2)), (multiple * (odd + 4), multiple * odd)
        fit = _fit(trial, 1, one, other, output, refusals)
        if fit is not None:
            return (None if batch == 1 else _fit(trial, 2, one, other, output, [])) or fit
    return _settled(trial, (size, size), output, refusals) if size and not size_multiple else None


def _settled(trial: _Trial, shape: tuple[int, int], output: str, refusals: list[str]) -> Reading | None:
    """Read the shapes of a file that takes images of one size."""
    fit = _fit(trial, 1, shape, shape, output, refusals)
    if fit is not None and trial.extent("N") != 1:
        fit = _fit(trial, 2, shape, shape, output, []) or fit
    return fit and replace(fit, fixed_shape=shape)


def _fit(
    trial: _Trial,
    batch: int,
    one: tuple[int, int],
    other: tuple[int, int],
    output: str,
    refusals: list[str],
) -> Reading | None:
    """Run at two sizes, and return what the shapes of the chosen output say; None if they are no image's."""
    runs = [trial.shapes(batch, *size) for size in dict.fromkeys((one, other))]
    failed = next((each for each in runs if isinstance(each, str)), None)
    if failed is not None:
        refusals.append(failed)
        return None
    shapes = [each for each in runs if not isinstance(each, str)]
    sizes = [(batch, *size) for size in dict.fromkeys((one, other))]
    images = {}
    for value in trial.file.outputs:
        read = _image_like(trial, value, [each[value.name] for each in shapes], sizes)
        if read is not None:
            images[value.name] = read
    described = "; ".join(f"{name[:60]} {list(shape)}" for name, shape in shapes[0].items())
    where = f"of {one[1]}x{one[0]} pixels"
    if output:
        names = [value.name for value in trial.file.outputs]
        chosen = output if output in names else dict(enumerate(names)).get(int(output) if output.isdigit() else -1)
        if chosen is None:
            raise UsageError(
                f"{trial.file.path} has no output {output[:60]!r}", remedy=f"give one of {', '.join(names)[:200]}"
            )
        images = {name: read for name, read in images.items() if name == chosen}
    if not images:
        refusals.append(f"{where} it makes {described}, none of a size that follows from the image's")
        return None
    if len(images) > 1:
        usual = {name: read for name, read in images.items() if read.output_channels in _USUAL_CHANNELS}
        images = usual if len(usual) == 1 else images
    if len(images) > 1:
        raise UsageError(
            f"{trial.file.path} makes {len(images)} images {where}: {described}",
            remedy=f"choose one with --output-key, such as --output-key {next(iter(images))}",
        )
    return next(iter(images.values()))


def _image_like(
    trial: _Trial, value: OnnxValue, shapes: Sequence[tuple[int, ...]], sizes: Sequence[tuple[int, int, int]]
) -> Reading | None:
    """Read an output as an image whose size is a multiple of the input's; None if it is not."""
    rank = len(shapes[0])
    if any(len(shape) != rank for shape in shapes) or not value.dtype.startswith(("float", "uint", "int")):
        return None
    batch = sizes[0][0]
    for order in _OUTPUT_LAYOUTS.get(rank, ()):
        height, width = order.index("H"), order.index("W")
        ratios = {
            Fraction(shape[axis], size[number])
            for shape, size in zip(shapes, sizes, strict=True)
            for axis, number in ((height, 1), (width, 2))
        }
        rest = [axis for axis in range(rank) if axis not in (height, width)]
        settled = all(shape[axis] == shapes[0][axis] for shape in shapes for axis in rest)
        if len(ratios) != 1 or not settled or not ratios <= _RATIOS:
            continue
        if "N" in order and shapes[0][order.index("N")] != batch:
            continue
        if "N" not in order and batch != 1:
            continue
        (ratio,) = ratios
        extents = []
        for axis in range(rank):
            if axis in (height, width):
                place = trial.layout.index("H" if axis == height else "W")
                extents.append(Extent(factor=ratio, axis=place))
            elif order[axis] == "N" and "N" in trial.layout:
                extents.append(Extent(factor=Fraction(1), axis=0))
            else:
                extents.append(Extent(factor=Fraction(shapes[0][axis])))
        return Reading(
            image=trial.image,
            layout=trial.layout,
            channels=trial.channels,
            output=value,
            output_layout=order,
            output_channels=shapes[0][order.index("C")] if "C" in order else 1,
            shape=tuple(extents),
            tried=sizes[0][1:],
            fixed_shape=None,
        )
    return None
