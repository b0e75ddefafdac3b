"""Parity of a graph with the PyTorch module: the outputs for the same images, compared value by value."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from polyexport.errors import ParityError, PolyexportError, check_memory, reason_of
from polyexport.export.proof.examples import Example, example_images, picture_for, placed, setting_rows, stacked
from polyexport.export.source.source import Source
from polyexport.imaging.pixels import MAX_SIDE, Pixels, to_channels
from polyexport.imaging.psnr import psnr_db_of_mse
from polyexport.model.certificate import StageParity
from polyexport.model.conditions.color_condition import ColorCondition
from polyexport.model.conditions.condition import Condition
from polyexport.model.contract import IMAGE_INPUT
from polyexport.model.settings import Setting
from polyexport.runtime.open import open_session
from polyexport.runtime.session import Session, SessionOptions

__all__ = ["CPU_OPTIONS", "MAX_IMAGES", "Candidate", "ParityOptions", "Reference", "compare"]

CPU_OPTIONS = SessionOptions(provider="cpu")

MAX_IMAGES = 16
"""Images of a proof; the outputs of the PyTorch module are kept for all of them."""

_MAX_PAIRS = 24  # images times settings at the training size, beyond which not every pair is compared
_SMALLEST_DRAWING_PIXELS = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class ParityOptions:
    """Images, batch sizes and image sizes that a comparison covers."""

    sizes: tuple[tuple[int, int], ...] = ()
    """Heights and widths; if empty, half the training size, the training size, and a rectangle twice as high."""

    batches: tuple[int, ...] = (1, 2, 5)
    images: int = 6
    """Drawings per size, used when no images are given."""

    def batches_of(self, source: Source) -> tuple[int, ...]:
        """The batch sizes that a network can take."""
        return (1,) if source.batch_one else self.batches

    def sizes_of(self, source: Source) -> tuple[tuple[int, int], ...]:
        """The sizes that a network can take; the training size is the second one, if there are several."""
        size, multiple = source.training_size, source.size_multiple
        if source.fixed_shape is not None:
            return (source.fixed_shape,)
        if self.sizes:
            return self.sizes
        least = -(-max(_SMALLEST_DRAWING_PIXELS, source.smallest_size) // multiple) * multiple
        half = max(least, size // 2 // multiple * multiple)
        size = max(least, size)
        twice = 2 * size if 2 * size <= MAX_SIDE else size
        return tuple(dict.fromkeys(((half, half), (size, size), (twice, size))))


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A graph that stands for the module, with the names of its tensors and the conditions that it takes."""

    name: str
    """Name of the stage, such as ``simplified``."""

    model: onnx.ModelProto
    float_output: str
    """Name of the network's own output, before it is shifted and quantized."""

    output: str
    """Name of the graph's output."""

    conditions: tuple[Condition[Any], ...]
    """Conditions of the graph, in the order of its inputs."""

    many_colors: bool = False

    def feeds(self, images: NDArray[np.uint8], rows: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return the inputs of the graph by name.

        Args:
            images: uint8 [B, H, W, C].
            rows: Rows of each condition as the network was trained on it, [B, ...]; with ``many_colors`` either that,
                for one color of each image, or [B, K, ...].
        """
        feeds: dict[str, NDArray[Any]] = {IMAGE_INPUT: images}
        for condition, row in zip(self.conditions, rows, strict=True):
            feeds[condition.name] = self._encoded(condition, row)
        return feeds

    def _encoded(self, condition: Condition[Any], rows: NDArray[Any]) -> NDArray[Any]:
        if not isinstance(condition, ColorCondition):
            return rows
        own = len(condition.trained.row_shape)
        flat = rows.reshape(-1, *rows.shape[rows.ndim - own :])
        encoded = condition.encode_trained(flat)
        if not self.many_colors:
            return encoded
        colors = rows.shape[1] if rows.ndim > 1 + own else 1
        return encoded.reshape(len(rows), colors, *encoded.shape[1:])


@dataclass(frozen=True, slots=True)
class Reference:
    """The module's outputs in float32, one for each example: an image of some size under some conditions."""

    source: Source
    options: ParityOptions
    settings: int
    """Number of settings of the conditions that text gives."""

    images: int
    """Number of images at each size."""

    examples: dict[tuple[int, int], list[Example]] = field(default_factory=dict)
    outputs: dict[tuple[int, int], NDArray[np.float32]] = field(default_factory=dict)
    """Size -> [examples, s H, s W, C], scaled to [-1, 1]."""

    @classmethod
    def of(
        cls,
        source: Source,
        options: ParityOptions,
        images: Sequence[Pixels] = (),
        pictures: Mapping[str, Sequence[Pixels]] | None = None,
        settings: Sequence[Setting] = (),
    ) -> "Reference":
        """Run the module on the CPU, once for each example.

        At the training size every image is compared under every setting, or, where that would be too many, every image
        and every setting; at the other sizes every image once.

        Args:
            source: The network.
            options: Sizes, batches and number of drawings.
            images: uint8 [H, W, C] each, placed on every size, the first ``MAX_IMAGES`` of them; generated drawings if
                empty.
            pictures: For each condition that is a picture one for each image, uint8 [H, W, C]; made from the images if
                None.
            settings: Settings of the conditions that text gives, beside those of every proof.

        Raises:
            ParityError: the module fails on one of the sizes.
        """
        conditions = source.built_conditions()
        rows = [*setting_rows(conditions), *(setting_rows(conditions, settings) if settings else ())]
        count = min(len(images), MAX_IMAGES) or options.images
        reference = cls(source, options, len(rows), count)
        sizes = options.sizes_of(source)
        whole = sizes[min(1, len(sizes) - 1)]
        for height, width in sizes:
            seen = example_images(source, images[:MAX_IMAGES], height, width, options.images)
            pairs = _pairs(len(seen), len(rows)) if (height, width) == whole else _each(len(seen), len(rows))
            second = _second_pictures(source, seen, pictures or {}, height, width)
            examples = [Example(seen[i], _merged(source, rows[k], second[i])) for i, k in pairs]
            outputs = []
            for example in examples:
                try:
                    output = source.run(*stacked([example]))[0]
                except Exception as error:
                    check_memory(error, "comparing the graph with the network")
                    raise ParityError(
                        f"{source.named} itself fails on {width}x{height} pixels: {reason_of(error)}",
                        remedy="give the sizes that it takes with --size and --size-multiple",
                    ) from error
                expected = _result_shape(source, height, width)
                if tuple(output.shape) != expected:
                    raise ParityError(
                        f"the PyTorch model makes {list(output.shape)} of {width}x{height} pixels, expected "
                        f"{list(expected)}",
                        remedy="give the sizes that it takes with --size and --size-multiple",
                    )
                low, high = source.output_range
                outputs.append(((output - low) * (2 / (high - low)) - 1).permute(1, 2, 0).numpy())
            reference.examples[height, width] = examples
            reference.outputs[height, width] = np.stack(outputs)
        return reference


def _result_shape(source: Source, height: int, width: int) -> tuple[int, int, int]:
    """Return channels, height and width of the network's output for one image."""
    ratio = source.result.ratio
    return source.result.channels, math.ceil(height * ratio), math.ceil(width * ratio)


def _pairs(images: int, settings: int) -> list[tuple[int, int]]:
    """Return pairs of an image and a setting, those of one image after each other."""
    if images * settings <= _MAX_PAIRS:
        return [(image, setting) for image in range(images) for setting in range(settings)]
    return sorted({(i % images, i % settings) for i in range(max(images, settings, _MAX_PAIRS))})


def _each(images: int, settings: int) -> list[tuple[int, int]]:
    return [(image, image % settings) for image in range(images)]


def _second_pictures(
    source: Source, images: Sequence[Pixels], given: Mapping[str, Sequence[Pixels]], height: int, width: int
) -> list[list[Pixels]]:
    """Return the second pictures of each image, in the order of the conditions that are pictures."""
    second: list[list[Pixels]] = []
    for number, image in enumerate(images):
        own = []
        for fields in source.conditions:
            if fields.kind == "image":
                found = given.get(fields.name)
                picture = found[number] if found else picture_for(image, number, fields.channels)
                own.append(placed(source, to_channels(picture, fields.channels), height, width))
        second.append(own)
    return second


def _merged(source: Source, setting: Sequence[Any], pictures: Sequence[Pixels]) -> tuple[Any, ...]:
    values, second = iter(setting), iter(pictures)
    return tuple(next(second) if fields.kind == "image" else next(values) for fields in source.conditions)


@dataclass(slots=True)
class _Differences:
    """Sums of differences over all batches; a NaN anywhere counts as an infinite difference."""

    max_abs: float = 0.0
    uint8_max: int = 0
    unequal: int = 0
    squares: int = 0
    values: int = 0

    def add(self, reference: NDArray[np.float32], candidate: NDArray[np.float32], levels: NDArray[np.uint8]) -> None:
        """Add one batch: float outputs [..., H, W, C] of both, in [-1, 1], and the candidate's 8-bit output."""
        difference = float(np.max(np.abs(reference - candidate)))
        self.max_abs = max(self.max_abs, difference if np.isfinite(difference) else np.inf)
        expected = np.clip(np.rint((np.nan_to_num(reference) + 1) * 127.5), 0, 255).astype(np.uint8)
        off = np.abs(expected.astype(np.int32) - levels)
        self.uint8_max = max(self.uint8_max, int(off.max()))
        self.unequal += int(np.count_nonzero(off))
        self.squares += int(np.sum(np.square(off), dtype=np.int64))
        self.values += off.size


def compare(
    reference: Reference, candidate: Candidate, options: SessionOptions = CPU_OPTIONS, *, least: bool = False
) -> StageParity:
    """Run a graph on every example of the reference, in batches of every size, and compare it with the module.

    Args:
        reference: The module's outputs.
        candidate: The graph.
        options: Execution provider that it runs on.
        least: Run one example of every size instead, for a stage that is only on the way to the one that is proven.

    Raises:
        ParityError: the graph cannot be loaded or fails on a batch or a size that the module takes.
    """
    session = open_session(_with_output(candidate), options)
    low, high = reference.source.output_range
    batches = reference.options.batches_of(reference.source)
    differences = _Differences()
    for (height, width), examples in reference.examples.items():
        chosen_batches = _batches(examples, batches, many=candidate.many_colors)
        for chosen in itertools.islice(chosen_batches, 1) if least else chosen_batches:
            images, rows = stacked([examples[i] for i in chosen.ravel()])
            if candidate.many_colors:
                images = images[:: chosen.shape[1]]
                rows = tuple(row.reshape(*chosen.shape, *row.shape[1:]) for row in rows)
            where = f"batch {len(chosen)} at {width}x{height} pixels"
            wanted = reference.outputs[height, width][chosen]
            levels, floats = _run(session, candidate, candidate.feeds(images, rows), where, wanted.shape)
            floats = np.moveaxis(floats.astype(np.float32), 1, 3) * (2 / (high - low)) - (high + low) / (high - low)
            differences.add(wanted, floats.reshape(wanted.shape), levels.reshape(wanted.shape))
    return StageParity(
        name=candidate.name,
        nodes=len(candidate.model.graph.node),
        max_abs_diff=differences.max_abs,
        uint8_max_diff=differences.uint8_max,
        uint8_equal=1 - differences.unequal / differences.values,
        psnr_db=psnr_db_of_mse(differences.squares / differences.values),
        values=differences.values,
    )


def _run(
    session: Session,
    candidate: Candidate,
    feeds: Mapping[str, NDArray[np.generic]],
    where: str,
    wanted: tuple[int, ...],
) -> list[NDArray[Any]]:
    try:
        levels, floats = session.run_all((candidate.output, candidate.float_output), feeds)
    except PolyexportError:
        raise
    except Exception as error:
        check_memory(error, "comparing the graph with the network")
        raise ParityError(
            f"stage {candidate.name} fails on {where}: {reason_of(error)}",
            remedy="nothing was written; export with other versions of torch or onnxsim",
        ) from error
    if levels.shape != wanted:
        raise ParityError(
            f"stage {candidate.name} makes {list(levels.shape)} of {where}, expected {list(wanted)}",
            remedy="nothing was written; export with other versions of torch or onnxsim",
        )
    return [levels, floats]


def _with_output(candidate: Candidate) -> bytes:
    """Serialize the graph with one more output: the float tensor before it is rounded."""
    tapped = onnx.ModelProto()
    tapped.CopyFrom(candidate.model)
    tapped.graph.output.append(onnx.ValueInfoProto(name=candidate.float_output))
    return bytes(tapped.SerializeToString())


def _batches(examples: Sequence[Example], batches: Sequence[int], *, many: bool) -> Iterator[NDArray[np.intp]]:
    """Yield the indices of the examples of each call: [batch], or [batch, colors] with ``many``.

    The sizes of the batches take turns, and every one of them has its turn. Batches are of exactly these sizes; the
    last ones are filled up from the start. With ``many``, the examples of one image are the colors of one call.
    """
    groups: list[list[int]] = [[index] for index in range(len(examples))]
    if many:
        by_image = itertools.groupby(range(len(examples)), key=lambda index: id(examples[index].image))
        groups = [list(group) for _, group in by_image]
    for _, alike in itertools.groupby(sorted(groups, key=len), key=len):
        same = list(alike)
        start = 0
        for turn in itertools.count():
            if start >= len(same) and turn >= len(batches):
                break
            batch = batches[turn % len(batches)]
            chosen = np.array([same[i % len(same)] for i in range(start, start + batch)])
            yield chosen if many else chosen[:, 0]
            start += batch
