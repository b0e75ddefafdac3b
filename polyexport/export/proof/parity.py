"""Parity of a graph with the PyTorch module: the outputs for the same images, compared value by value."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from PIL import Image

from polyexport.errors import ParityError, PolyexportError, check_memory, reason_of
from polyexport.export.proof.drawings import drawings
from polyexport.export.source.source import Source
from polyexport.imaging.pixels import MAX_SIDE, Pixels
from polyexport.imaging.psnr import psnr_db_of_mse
from polyexport.model.contract import COLORED, IMAGE_INPUT, StageParity
from polyexport.runtime.open import open_session
from polyexport.runtime.session import Session, SessionOptions

__all__ = ["CPU_OPTIONS", "MAX_IMAGES", "Candidate", "ParityOptions", "Reference", "compare"]

CPU_OPTIONS = SessionOptions(provider="cpu")

MAX_IMAGES = 16
"""Images of a proof; the outputs of the PyTorch module are kept for all of them."""

_MAX_PAIRS = 36  # images times colors of one batch size, beyond which not every pair is compared
_SMALLEST_DRAWING_PIXELS = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class ParityOptions:
    """Images, batch sizes and image sizes that a comparison covers."""

    sizes: tuple[tuple[int, int], ...] = ()
    """Heights and widths; if empty, half the training size, the training size, and a rectangle twice as high."""

    batches: tuple[int, ...] = (1, 2, 5)
    images: int = 6
    """Drawings per size, used when no images are given."""

    def sizes_of(self, source: Source) -> tuple[tuple[int, int], ...]:
        """The sizes that a network can take."""
        size, multiple = source.training_size, source.size_multiple
        if source.fixed_size:
            return ((size, size),)
        if self.sizes:
            return self.sizes
        least = -(-_SMALLEST_DRAWING_PIXELS // multiple) * multiple
        half = max(least, size // 2 // multiple * multiple)
        size = max(least, size)
        twice = 2 * size if 2 * size <= MAX_SIDE else size
        return tuple(dict.fromkeys(((half, half), (size, size), (twice, size))))


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A graph that stands for the module, with the names of its tensors and the rows of its second input."""

    name: str
    """Name of the stage, such as ``simplified``."""

    model: onnx.ModelProto
    float_output: str
    """Name of the network's own output, before it is shifted and quantized."""

    color_name: str
    """Name of the second input."""

    rows: NDArray[Any]
    """The reference's K colors as the graph takes them: [K, ...]."""

    many_colors: bool = False


@dataclass(frozen=True, slots=True)
class Reference:
    """The module's outputs in float32, for every image in every color at every size."""

    source: Source
    options: ParityOptions
    colors: NDArray[Any]
    """The K conditions that the module gets, [K, ...]; see ``Condition.proof_rows``."""

    pixels: dict[tuple[int, int], list[Pixels]] = field(default_factory=dict)
    outputs: dict[tuple[int, int], NDArray[np.float32]] = field(default_factory=dict)
    """Size -> [images, K, H, W, 3], scaled to [-1, 1]."""

    @classmethod
    def of(cls, source: Source, options: ParityOptions, images: Sequence[Pixels] = ()) -> "Reference":
        """Run the module on the CPU.

        Args:
            source: The network.
            options: Sizes, batches and number of drawings.
            images: uint8 [H, W, 3] each, resized to every size, the first ``MAX_IMAGES`` of them; generated drawings
                if empty.

        Raises:
            ParityError: the module fails on one of the sizes.
        """
        reference = cls(source, options, source.condition().proof_rows())
        condition = source.condition_tensor(reference.colors)
        low, high = source.output_range
        for height, width in options.sizes_of(source):
            pixels = _resized(images[:MAX_IMAGES] or drawings(options.images, max(height, width)), height, width)
            outputs = []
            for image in pixels:
                planes = source.scaled(torch.from_numpy(image.copy()).permute(2, 0, 1).contiguous())
                try:
                    with torch.inference_mode():
                        colored = source.module(planes.expand(len(condition), -1, -1, -1), condition)
                except Exception as error:
                    check_memory(error, "comparing the graph with the network")
                    raise ParityError(
                        f"the PyTorch model itself fails on {width}x{height} pixels: {reason_of(error)}",
                        remedy="give the sizes that it takes with --size and --size-multiple",
                    ) from error
                outputs.append(((colored - low) * (2 / (high - low)) - 1).permute(0, 2, 3, 1).numpy())
            reference.pixels[height, width] = pixels
            reference.outputs[height, width] = np.stack(outputs)
        return reference

    @property
    def images(self) -> int:
        """Number of images at each size."""
        return len(next(iter(self.pixels.values())))


@dataclass(slots=True)
class _Differences:
    """Sums of differences over all batches; a NaN anywhere counts as an infinite difference."""

    max_abs: float = 0.0
    uint8_max: int = 0
    unequal: int = 0
    squares: int = 0
    values: int = 0

    def add(self, reference: NDArray[np.float32], candidate: NDArray[np.float32], levels: NDArray[np.uint8]) -> None:
        """Add one batch: float outputs [..., H, W, 3] of both, in [-1, 1], and the candidate's 8-bit output."""
        difference = float(np.max(np.abs(reference - candidate)))
        self.max_abs = max(self.max_abs, difference if np.isfinite(difference) else np.inf)
        expected = np.clip(np.rint((np.nan_to_num(reference) + 1) * 127.5), 0, 255).astype(np.uint8)
        off = np.abs(expected.astype(np.int32) - levels)
        self.uint8_max = max(self.uint8_max, int(off.max()))
        self.unequal += int(np.count_nonzero(off))
        self.squares += int(np.sum(np.square(off), dtype=np.int64))
        self.values += off.size


def compare(reference: Reference, candidate: Candidate, options: SessionOptions = CPU_OPTIONS) -> StageParity:
    """Run a graph on every image of the reference, in every batch size, and compare its outputs with the module's.

    Raises:
        ParityError: the graph cannot be loaded or fails on a batch or a size that the module takes.
    """
    session = open_session(_with_output(candidate), options)
    low, high = reference.source.output_range
    differences = _Differences()
    for (height, width), pixels in reference.pixels.items():
        expected = reference.outputs[height, width]
        for batch in reference.options.batches:
            for image, color in _batches(len(pixels), len(reference.colors), batch, many=candidate.many_colors):
                feeds = {
                    IMAGE_INPUT: np.stack([pixels[i] for i in image]),
                    candidate.color_name: candidate.rows[color],
                }
                levels, floats = _run(session, candidate, feeds, f"batch {batch} at {width}x{height} pixels")
                floats = np.moveaxis(floats.astype(np.float32), 1, 3) * (2 / (high - low)) - (high + low) / (high - low)
                wanted = expected[image[:, None], color] if candidate.many_colors else expected[image, color]
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
    session: Session, candidate: Candidate, feeds: Mapping[str, NDArray[np.generic]], where: str
) -> list[NDArray[Any]]:
    try:
        levels, floats = session.run_all((COLORED, candidate.float_output), feeds)
    except PolyexportError:
        raise
    except Exception as error:
        check_memory(error, "comparing the graph with the network")
        raise ParityError(
            f"stage {candidate.name} fails on {where}: {reason_of(error)}",
            remedy="nothing was written; export with other versions of torch or onnxsim",
        ) from error
    batch = feeds[candidate.color_name].shape[: 1 + candidate.many_colors]
    wanted = (*batch, *feeds[IMAGE_INPUT].shape[1:])
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


def _resized(images: Sequence[Pixels], height: int, width: int) -> list[Pixels]:
    return [
        image if image.shape[:2] == (height, width) else np.asarray(Image.fromarray(image).resize((width, height)))
        for image in images
    ]


def _batches(
    images: int, colors: int, batch: int, *, many: bool
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield indices of images [batch] and of colors [batch], or [batch, colors] with ``many``.

    Every image in every color, or, where that would be too many, every image and every color. Batches are of exactly
    ``batch``; the last one is filled up from the start.
    """
    if many:
        for start in range(0, images, batch):
            chosen = np.arange(start, start + batch) % images
            yield chosen, np.tile(np.arange(colors), (batch, 1))
        return
    pairs = [(image, color) for image in range(images) for color in range(colors)]
    if len(pairs) > _MAX_PAIRS:
        pairs = [(i % images, i % colors) for i in range(max(images, colors, _MAX_PAIRS))]
    for start in range(0, len(pairs), batch):
        chosen = np.array([pairs[i % len(pairs)] for i in range(start, start + batch)])
        yield chosen[:, 0], chosen[:, 1]
