"""Image quality of a reduced precision, compared with the fp32 graph that it was made from and with the true images."""

import hashlib
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
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
from polyexport.export.source.source import TRAINER, Source
from polyexport.imaging.pixels import Pixels
from polyexport.imaging.psnr import psnr_db, psnr_db_of_mse
from polyexport.model.canvas import CanvasRule
from polyexport.model.certificate import Fidelity
from polyexport.model.conditions.color_condition import ColorCondition
from polyexport.model.result import ResultKind
from polyexport.runtime.open import open_session
from polyexport.runtime.session import Session, SessionOptions

__all__ = ["DrawingTest", "calibration_feeds"]

_SEED = 20_260_102
_DRAWINGS_PER_KIND = 8
_FILLS_PER_KIND = 80
"""Most fills are equal to those of fp32, and few differ much: with 8 drawings of a kind, luck would decide. With 80,
the loss of one 8-bit graph was at most 0.33 dB on each of 46 sets of drawings; with 40, up to 1.4 dB."""
_LEAST_DRAWINGS = 3
_CALIBRATION_DRAWINGS, _LEAST_CALIBRATION = 64, 24
_DRAWN_SIZE, _DRAWN_SIZE_OF_TRAINER = 128, 192
"""Size of drawings, pixels, up to which there are as many as above; those that were trained on such drawings are judged
on more. Of larger ones there are fewer, with as many pixels together, down to the least numbers."""
_PROBES = 4
_BATCH_SIZE = 8
_BATCH_PIXELS = 8 * 128**2

# Beside the splits of the evaluation: hairlines in pure colors, as in most drawings that users have.
_KINDS: dict[str, DrawingsConfig] = {
    "plain": replace(PLAIN_DRAWINGS, shapes=SIMPLE_SHAPES, antialiased=0, random_color=0, max_stroke=0.016),
    **{split.name: split.drawings for split in SPLITS.values()},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sample:
    image: Pixels
    """Drawing, uint8 [H, W, 3]."""

    truth: Pixels
    """The drawing with its fill, uint8 [H, W, 3]."""

    color: tuple[int, int, int] | None
    """sRGB of the fill; None if the network's colors are not known, so that ``fit`` gives its picture."""

    row: NDArray[Any]
    """Row of the color, as the network was trained on it."""


@dataclass(frozen=True, slots=True)
class _Score:
    """Scores of one graph on one drawing."""

    near: float
    """PSNR against the image of the fp32 graph, dB."""

    own: dict[str, float]
    """``pixel_errors`` of the graph's image."""

    fp32: dict[str, float]
    """``pixel_errors`` of the fp32 graph's image."""


class DrawingTest:
    """Generated drawings of every kind, on which graphs are compared with the fp32 graph and with the truth."""

    def __init__(
        self,
        source: Source,
        fp32: Candidate,
        options: SessionOptions = CPU_OPTIONS,
        *,
        result: ResultKind | None = None,
    ) -> None:
        """Set up the comparison.

        Args:
            source: The network, which decides size and colors.
            fp32: The graph to measure against; every other graph has the same inputs.
            options: Execution provider that the graphs run on.
            result: What the network's output is; None for what the source says.
        """
        self._source, self._options, self._fp32 = source, options, fp32
        self._fill = (result or source.result.kind) == "fill"
        self._batch = _batch_of(source)
        self._latest: tuple[bytes, dict[str, list[Pixels]]] | None = None

    @cached_property
    def _samples(self) -> dict[str, list[_Sample]]:
        """The drawings of each kind whose pictures are compared."""
        count = _count(_DRAWINGS_PER_KIND, _LEAST_DRAWINGS, self._source)
        return {kind: list(self._drawn(kind, count)) for kind in _KINDS}

    @cached_property
    def _fp32_pictures(self) -> dict[str, list[Pixels]]:
        return self._pictures(self._fp32.model)

    def feeds(self, batch: int) -> dict[str, NDArray[Any]]:
        """Return the first ``batch`` drawings as inputs of the graph."""
        samples = [sample for kind in self._samples.values() for sample in kind][:batch]
        return self._inputs(samples, [sample.image for sample in samples])

    def calibration_feeds(self) -> list[dict[str, NDArray[Any]]]:
        """Return further drawings, for calibration, as inputs of the graph."""
        return calibration_feeds(self._source, self._fp32)

    def probe_feeds(self) -> list[dict[str, NDArray[Any]]]:
        """Return drawings of a few kinds, one by one, as inputs of the graph."""
        kinds = list(self._samples.values())
        chosen = [samples[0] for samples in kinds[:: max(1, len(kinds) // _PROBES)]][:_PROBES]
        return [self._inputs([sample], [sample.image]) for sample in chosen]

    def headroom_db(self, model: onnx.ModelProto, gate: QualityGate) -> float:
        """Return how many decibels a graph's pictures have to spare, on the kind of drawing where that is least.

        The error of a reduced precision and that of the network itself add up as squares, so a loss of L dB allows
        10^(L/10) - 1 times the network's own squared error. The two errors may happen to
        cancel on a few drawings; the distance to the fp32 graph, which is measured here, does not depend on that.

        This is the network's picture also where the result is a fill, because every small error moves it, and no error
        moves a finished fill until a region is decided otherwise. The gate's floor for the distance to fp32 then is not
        asked of the picture, whose shades nobody sees.
        """
        allowed = -10 * math.log10(10 ** (gate.psnr_loss_db / 10) - 1)
        floor = 0.0 if self._fill else gate.psnr_to_fp32_db
        return min(
            one.psnr_to_fp32_mean_db - max(floor, one.fp32_psnr_mean_db + allowed)
            for one in self._compare_pictures(model)
        )

    def fidelity(self, model: onnx.ModelProto) -> tuple[Fidelity, ...]:
        """Score a graph on every kind of drawing: its pictures, or the finished fills, as users get them."""
        return self._compare_fills(model) if self._fill else self._compare_pictures(model)

    def _compare_pictures(self, model: onnx.ModelProto) -> tuple[Fidelity, ...]:
        images = self._pictures(model)
        return tuple(
            _fidelity(
                kind,
                [
                    _score(own, fp32, sample.truth)
                    for sample, own, fp32 in zip(samples, images[kind], self._fp32_pictures[kind], strict=True)
                ],
                pooled=False,
            )
            for kind, samples in self._samples.items()
        )

    def _compare_fills(self, model: onnx.ModelProto) -> tuple[Fidelity, ...]:
        """Draw more drawings, a few at a time, and give each result the edges of its drawing, as ``fit`` does."""
        own, fp32 = (open_session(each.SerializeToString(), self._options) for each in (model, self._fp32.model))
        rule = CanvasRule.for_size(
            "fit",
            training_size=self._source.training_size,
            multiple=self._source.size_multiple,
            fixed_shape=self._source.fixed_shape,
            fill=True,
        )
        result = []
        for kind in _KINDS:
            scores = []
            drawn = self._drawn(kind, _FILLS_PER_KIND)
            while samples := list(islice(drawn, self._batch)):
                canvases = [rule.place(sample.image) for sample in samples]
                inputs = self._inputs(samples, [canvas.pixels for canvas in canvases])
                for sample, canvas, *outputs in zip(
                    samples, canvases, self._run(own, inputs), self._run(fp32, inputs), strict=True
                ):
                    ours, theirs = (canvas.restore(output, sample.color) for output in outputs)
                    scores.append(_score(ours, theirs, sample.truth))
            result.append(_fidelity(kind, scores, pooled=True))
        return tuple(result)

    def _drawn(self, kind: str, count: int) -> Iterator[_Sample]:
        source, number = self._source, zlib.crc32(kind.encode())  # a new kind does not change the drawings of others
        palette, condition, size = tuple(rgb for _, rgb in source.palette), _color(self._fp32), source.training_size
        for index in range(count):
            rng = np.random.default_rng([_SEED, number, index])
            drawing = draw(rng, max(16, size), with_palette(_KINDS[kind], palette))
            row = condition.trained.drawing_row(drawing.color, rng)[0]
            image, truth = drawing.image[:size, :size], drawing.colored[:size, :size]
            yield _Sample(image=image, truth=truth, color=condition.trained.fill_color(drawing.color), row=row)

    def _pictures(self, model: onnx.ModelProto) -> dict[str, list[Pixels]]:
        data = model.SerializeToString()
        if self._latest is not None and self._latest[0] == hashlib.sha256(data).digest():
            return self._latest[1]  # the last graph of a search is the one that is judged
        session = open_session(data, self._options)
        pictures = {
            kind: [
                picture
                for start in range(0, len(samples), self._batch)
                for chosen in (samples[start : start + self._batch],)
                for picture in self._run(session, self._inputs(chosen, [sample.image for sample in chosen]))
            ]
            for kind, samples in self._samples.items()
        }
        self._latest = hashlib.sha256(data).digest(), pictures
        return pictures

    def _run(self, session: Session, inputs: dict[str, NDArray[Any]]) -> NDArray[np.uint8]:
        colored: NDArray[np.uint8] = session.run(self._fp32.output, inputs)
        return colored[:, 0] if self._fp32.many_colors else colored

    def _inputs(self, samples: Sequence[_Sample], images: Sequence[Pixels]) -> dict[str, NDArray[Any]]:
        return self._fp32.feeds(np.stack(images), [np.stack([sample.row for sample in samples])])


def _score(own: Pixels, fp32: Pixels, truth: Pixels) -> _Score:
    return _Score(psnr_db(own, fp32), pixel_errors(own, truth), pixel_errors(fp32, truth))


def _fidelity(kind: str, scores: Sequence[_Score], *, pooled: bool) -> Fidelity:
    """Summarize the scores on one kind of drawing.

    Args:
        kind: Name of the kind.
        scores: One for each drawing.
        pooled: Take the PSNR to the truth of all drawings together, not the mean of their PSNR. Fills that are exact,
            at 100 dB, would outweigh in a mean those that are not.
    """

    def to_truth(errors: list[dict[str, float]]) -> float:
        if pooled:
            return round(psnr_db_of_mse(float(np.mean([one["mse"] for one in errors]))), 3)
        return round(float(np.mean([one["psnr_db"] for one in errors])), 3)

    def within_8(errors: list[dict[str, float]]) -> float:
        return round(float(np.mean([one["within_8"] for one in errors])), 6)

    own, fp32 = [one.own for one in scores], [one.fp32 for one in scores]
    return Fidelity(
        data=kind,
        images=len(scores),
        psnr_to_fp32_mean_db=round(float(np.mean([one.near for one in scores])), 3),
        psnr_to_fp32_min_db=round(min(one.near for one in scores), 3),
        fp32_psnr_mean_db=to_truth(fp32),
        psnr_mean_db=to_truth(own),
        fp32_within_8=within_8(fp32),
        within_8=within_8(own),
    )


def _color(fp32: Candidate) -> ColorCondition:
    (condition,) = fp32.conditions
    assert isinstance(condition, ColorCondition)  # generated drawings belong to networks that take a color alone
    return condition


def _count(most: int, least: int, source: Source) -> int:
    """Return how many drawings of a network's size have as many pixels as ``most`` of the size above."""
    size = _DRAWN_SIZE_OF_TRAINER if source.network == TRAINER else _DRAWN_SIZE
    return max(least, min(most, most * size**2 // source.training_size**2))


def _batch_of(source: Source) -> int:
    """Return the largest number of drawings of one call: fewer of large ones, whose tensors would fill the memory."""
    return 1 if source.batch_one else max(1, min(_BATCH_SIZE, _BATCH_PIXELS // source.training_size**2))


def calibration_feeds(source: Source, fp32: Candidate) -> list[dict[str, NDArray[Any]]]:
    """Return generated drawings for calibration, none of which the quality gate uses, as inputs of the graph."""
    palette = tuple(rgb for _, rgb in source.palette)
    condition, size = _color(fp32).trained, source.training_size
    feeds = []
    batch = _batch_of(source)
    for start in range(0, _count(_CALIBRATION_DRAWINGS, _LEAST_CALIBRATION, source) // batch * batch, batch):
        images, rows = [], []
        for index in range(start, start + batch):
            rng = np.random.default_rng([_SEED, index])
            drawing = draw(rng, max(16, size), with_palette(SketchConfig(), palette))
            images.append(drawing.image[:size, :size])
            rows.append(condition.drawing_row(drawing.color, rng)[0])
        feeds.append(fp32.feeds(np.stack(images), [np.stack(rows)]))
    return feeds
