"""Image quality of a reduced precision, compared with the fp32 graph that it was made from and with the true images."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from polyexport.data.drawings import DrawingsConfig, draw, with_palette
from polyexport.data.shapes import SIMPLE_SHAPES
from polyexport.data.sketch_config import SketchConfig
from polyexport.data.splits import SPLITS
from polyexport.data.splits.split import PLAIN_DRAWINGS
from polyexport.evaluate.metrics import pixel_errors
from polyexport.export.precision.precision import QualityGate
from polyexport.export.proof.parity import CPU_OPTIONS, Candidate
from polyexport.export.source.source import Source
from polyexport.imaging.pixels import Pixels
from polyexport.imaging.psnr import psnr_db
from polyexport.model.contract import COLORED, IMAGE_INPUT, Fidelity
from polyexport.runtime.open import open_session
from polyexport.runtime.session import SessionOptions

__all__ = ["DrawingTest", "calibration_feeds"]

_SEED = 20_260_102
_DRAWINGS_PER_KIND = 8
_CALIBRATION_DRAWINGS = 64
_BATCH_SIZE = 8

# Beside the splits of the evaluation: hairlines in the colors that people name, as in most drawings that users have.
_KINDS: dict[str, DrawingsConfig] = {
    "plain": replace(PLAIN_DRAWINGS, shapes=SIMPLE_SHAPES, antialiased=0, random_color=0, max_stroke=0.016),
    **{split.name: split.drawings for split in SPLITS.values()},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sample:
    kind: str
    image: Pixels
    truth: Pixels
    row: NDArray[Any]
    """Row of the graph's second input that belongs to the drawing's color."""


class DrawingTest:
    """Generated drawings of every kind, with the outputs of the fp32 graph for each of them."""

    def __init__(
        self,
        source: Source,
        fp32: Candidate,
        encode: Callable[[NDArray[Any]], NDArray[Any]],
        options: SessionOptions = CPU_OPTIONS,
    ) -> None:
        """Draw the drawings and run the fp32 graph on them once.

        Args:
            source: The network, which decides size and colors.
            fp32: The graph to measure against; every other graph has the same inputs.
            encode: Turns conditions of the module [K, ...] into rows of the graph's second input [K, ...].
            options: Execution provider that the graphs run on.
        """
        self._options = options
        self._fed = fp32
        palette = tuple(rgb for _, rgb in source.palette)
        condition = source.condition()
        self._samples = []
        for number, (kind, config) in enumerate(_KINDS.items()):
            for index in range(_DRAWINGS_PER_KIND):
                rng = np.random.default_rng([_SEED, number, index])
                drawing = draw(rng, max(16, source.training_size), with_palette(config, palette))
                row = encode(condition.drawing_row(drawing.color, rng))[0]
                size = source.training_size
                self._samples.append(
                    _Sample(kind=kind, image=drawing.image[:size, :size], truth=drawing.colored[:size, :size], row=row)
                )
        self._fp32 = self._images(fp32.model)

    def feeds(self, batch: int) -> dict[str, NDArray[Any]]:
        """Return the first ``batch`` drawings as inputs of the graph."""
        return self._batch(self._samples[:batch])

    def headroom_db(self, model: onnx.ModelProto, gate: QualityGate) -> float:
        """Return how many decibels a graph has to spare at the gate, on the kind of drawing where that is least.

        The error of a reduced precision and that of the network itself add up as squares, so a loss of L dB allows
        10^(L/10) - 1 times the network's own squared error. The two errors may happen to
        cancel on a few drawings; the distance to the fp32 graph, which is measured here, does not depend on that.
        """
        allowed = -10 * math.log10(10 ** (gate.psnr_loss_db / 10) - 1)
        return min(
            one.psnr_to_fp32_mean_db - max(gate.psnr_to_fp32_db, one.fp32_psnr_mean_db + allowed)
            for one in self.fidelity(model)
        )

    def fidelity(self, model: onnx.ModelProto) -> tuple[Fidelity, ...]:
        """Score a graph on every kind of drawing."""
        images = self._images(model)
        result = []
        for kind in _KINDS:
            chosen = [i for i, sample in enumerate(self._samples) if sample.kind == kind]
            own = [pixel_errors(images[i], self._samples[i].truth) for i in chosen]
            fp32 = [pixel_errors(self._fp32[i], self._samples[i].truth) for i in chosen]
            near = [psnr_db(images[i], self._fp32[i]) for i in chosen]
            result.append(
                Fidelity(
                    data=kind,
                    images=len(chosen),
                    psnr_to_fp32_mean_db=round(float(np.mean(near)), 3),
                    psnr_to_fp32_min_db=round(min(near), 3),
                    fp32_psnr_mean_db=round(float(np.mean([one["psnr_db"] for one in fp32])), 3),
                    psnr_mean_db=round(float(np.mean([one["psnr_db"] for one in own])), 3),
                    fp32_within_8=round(float(np.mean([one["within_8"] for one in fp32])), 6),
                    within_8=round(float(np.mean([one["within_8"] for one in own])), 6),
                )
            )
        return tuple(result)

    def _images(self, model: onnx.ModelProto) -> list[Pixels]:
        session = open_session(model.SerializeToString(), self._options)
        images: list[Pixels] = []
        for start in range(0, len(self._samples), _BATCH_SIZE):
            colored = session.run(COLORED, self._batch(self._samples[start : start + _BATCH_SIZE]))
            images.extend(colored[:, 0] if self._fed.many_colors else colored)
        return images

    def _batch(self, samples: list[_Sample]) -> dict[str, NDArray[Any]]:
        rows = np.stack([sample.row for sample in samples])
        return {
            IMAGE_INPUT: np.stack([sample.image for sample in samples]),
            self._fed.color_name: rows[:, None] if self._fed.many_colors else rows,
        }


def calibration_feeds(
    source: Source, fp32: Candidate, encode: Callable[[NDArray[Any]], NDArray[Any]]
) -> list[dict[str, NDArray[Any]]]:
    """Return generated drawings for calibration, none of which the quality gate uses, as inputs of the graph."""
    palette = tuple(rgb for _, rgb in source.palette)
    condition, size = source.condition(), source.training_size
    feeds = []
    for start in range(0, _CALIBRATION_DRAWINGS, _BATCH_SIZE):
        images, rows = [], []
        for index in range(start, start + _BATCH_SIZE):
            rng = np.random.default_rng([_SEED, len(_KINDS), index])
            drawing = draw(rng, max(16, size), with_palette(SketchConfig(), palette))
            images.append(drawing.image[:size, :size])
            rows.append(encode(condition.drawing_row(drawing.color, rng))[0])
        colors = np.stack(rows)
        feeds.append({IMAGE_INPUT: np.stack(images), fp32.color_name: colors[:, None] if fp32.many_colors else colors})
    return feeds
