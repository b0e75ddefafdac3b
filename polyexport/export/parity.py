"""The proof: the exported graph beside the PyTorch module, on drawings, compared value by value."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from PIL import Image

from polyexport.color import parse_color
from polyexport.contract import COLOR_INPUT, COLORED, IMAGE_INPUT, Parity
from polyexport.errors import ParityError
from polyexport.export.graph import ExportedGraph
from polyexport.export.source import Source, drawings
from polyexport.image import Pixels
from polyexport.session import SessionOptions, open_session

__all__ = ["ParityOptions", "check_parity"]

# Corners of the colour cube, mid tones, and both ends of every channel.
_COLORS = ("red", "lime", "black", "orange", "#7f8081")


@dataclass(frozen=True, kw_only=True, slots=True)
class ParityOptions:
    """What is tried, and how far apart the two may be."""

    sizes: tuple[int, ...] = (64, 128, 256)
    batches: tuple[int, ...] = (1, 2, 5)
    images: int = 6
    """Drawings per size, used when no images are given."""

    max_abs_diff: float = 1e-4
    """Of the float outputs in [-1, 1]."""

    uint8_max_diff: int = 1
    uint8_equal: float = 0.999
    """Least fraction of equal 8-bit values."""


@dataclass(slots=True)
class _Differences:
    """Accumulates over runs; NaN anywhere is an infinite difference."""

    max_abs: float = 0.0
    uint8_max: int = 0
    unequal: int = 0
    values: int = 0

    def add(self, reference: NDArray[np.float32], candidate: NDArray[np.float32], levels: Pixels) -> None:
        """Float outputs [B, H, W, 3] of both, and the candidate's 8-bit output."""
        difference = float(np.max(np.abs(reference - candidate)))
        self.max_abs = max(self.max_abs, difference if np.isfinite(difference) else np.inf)
        expected = np.clip(np.rint((np.nan_to_num(reference) + 1) * 127.5), 0, 255).astype(np.uint8)
        off = np.abs(expected.astype(np.int16) - levels)
        self.uint8_max = max(self.uint8_max, int(off.max()))
        self.unequal += int(np.count_nonzero(off))
        self.values += off.size


def check_parity(
    source: Source, graph: ExportedGraph, options: ParityOptions, *, images: Sequence[Pixels] = ()
) -> Parity:
    """Run module and graph side by side on the CPU, in float32.

    Args:
        source: the module.
        graph: the graph that stands for it.
        options: sizes, batches and tolerances.
        images: uint8 [H, W, 3] each, resized to every size; generated drawings if empty.

    Raises:
        ParityError: a difference above the tolerances; the message names every one of them.
    """
    session = open_session(_with_float_output(graph), SessionOptions(provider="cpu"))
    colors = _colors(source)
    differences = _Differences()
    count = 0
    for size in options.sizes:
        pixels = _resized(images, size) if images else drawings(options.images, size)
        count = len(pixels)
        for batch in options.batches:
            for image, color in _batches(pixels, colors, batch):
                levels, floats = session.run_all(
                    (COLORED, graph.float_output), {IMAGE_INPUT: image, COLOR_INPUT: color}
                )
                differences.add(_reference(source, image, color), floats.transpose(0, 2, 3, 1), levels)
    parity = Parity(
        reference=f"PyTorch {torch.__version__}, CPU, float32",
        candidate=f"ONNX Runtime {ort.__version__}, {session.execution_provider}",
        max_abs_diff=differences.max_abs,
        uint8_max_diff=differences.uint8_max,
        uint8_equal=1 - differences.unequal / differences.values,
        values=differences.values,
        images=count,
        colors=len(colors),
        batches=options.batches,
        sizes=options.sizes,
    )
    _judge(parity, options)
    return parity


def _judge(parity: Parity, options: ParityOptions) -> None:
    faults = []
    if not parity.max_abs_diff <= options.max_abs_diff:
        faults.append(f"max abs diff {parity.max_abs_diff:.3g} > {options.max_abs_diff:.3g}")
    if parity.uint8_max_diff > options.uint8_max_diff:
        faults.append(f"8-bit difference {parity.uint8_max_diff} > {options.uint8_max_diff}")
    if parity.uint8_equal < options.uint8_equal:
        faults.append(f"{parity.uint8_equal:.4%} of 8-bit values equal < {options.uint8_equal:.4%}")
    if faults:
        raise ParityError(
            f"the exported graph differs from the PyTorch model: {', '.join(faults)}",
            remedy="nothing was written; export with other versions of torch or onnxsim",
        )


def _with_float_output(graph: ExportedGraph) -> bytes:
    """The very same graph with one more output: the float tensor before it is rounded."""
    tapped = onnx.ModelProto()
    tapped.CopyFrom(graph.model)
    tapped.graph.output.append(onnx.helper.make_tensor_value_info(graph.float_output, onnx.TensorProto.FLOAT, None))
    return bytes(tapped.SerializeToString())


def _colors(source: Source) -> NDArray[np.uint8] | NDArray[np.int64]:
    """uint8 [K, 3] or, for a vocabulary, int64 [K]."""
    if source.conditioning == "rgb":
        return np.array([parse_color(name).rgb for name in _COLORS], dtype=np.uint8)
    return np.arange(len(source.palette), dtype=np.int64)


def _resized(images: Sequence[Pixels], size: int) -> list[Pixels]:
    return [
        image if image.shape[:2] == (size, size) else np.asarray(Image.fromarray(image).resize((size, size)))
        for image in images
    ]


def _batches(
    pixels: Sequence[Pixels], colors: NDArray[np.uint8] | NDArray[np.int64], batch: int
) -> Iterator[tuple[Pixels, NDArray[np.uint8] | NDArray[np.int64]]]:
    """Every image in every colour, in batches of exactly ``batch``; the last one is filled up from the start."""
    pairs = [(image, color) for image in range(len(pixels)) for color in range(len(colors))]
    for start in range(0, len(pairs), batch):
        chosen = [pairs[i % len(pairs)] for i in range(start, start + batch)]
        yield np.stack([pixels[image] for image, _ in chosen]), colors[[color for _, color in chosen]]


def _reference(source: Source, image: Pixels, color: NDArray[np.uint8] | NDArray[np.int64]) -> NDArray[np.float32]:
    """The module itself, with its scaling written out once more: float32 [B, H, W, 3] in [-1, 1]."""
    planes = torch.from_numpy(image).permute(0, 3, 1, 2).contiguous().to(torch.float32) / 127.5 - 1
    condition = torch.from_numpy(color)
    if source.conditioning == "rgb":
        condition = condition.to(torch.float32) / 127.5 - 1
    with torch.inference_mode():
        colored = source.module(planes, condition)
    result: NDArray[np.float32] = colored.permute(0, 2, 3, 1).numpy()
    return result
