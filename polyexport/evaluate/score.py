"""Scores of a model and of two fills without a network on data sets."""

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from polyexport.data.pairs import Pair, PairPixels
from polyexport.evaluate.bleeding import Paper, bleeding_metrics, paper_of
from polyexport.evaluate.boundary import Boundary, boundary_metrics, boundary_of
from polyexport.evaluate.catalog import COLUMN, METRICS
from polyexport.evaluate.color_difference import ciede2000, confused, name_of, painted_name
from polyexport.evaluate.floodfill import flood_fill
from polyexport.evaluate.masks import Counts, fill_mask
from polyexport.evaluate.metrics import pixel_errors
from polyexport.evaluate.predict import Prediction, predict
from polyexport.evaluate.structure import ms_ssim, ssim
from polyexport.evaluate.trapped_ball import trapped_ball_fill
from polyexport.imaging.color import Color
from polyexport.imaging.pixels import Pixels
from polyexport.model.canvas import Size
from polyexport.model.model import Model

__all__ = [
    "LABELS",
    "METHODS",
    "RIVALS",
    "Evaluation",
    "Example",
    "Item",
    "Method",
    "Sample",
    "Scores",
    "Split",
    "evaluate",
    "measure",
]

Method = Literal["model", "trapped_ball", "flood_fill"]

RIVALS: dict[Method, Callable[[Pixels, tuple[int, int, int]], Pixels]] = {
    "trapped_ball": trapped_ball_fill,
    "flood_fill": flood_fill,
}
"""Fills of a drawing without a network, that the model is compared with."""

METHODS: tuple[Method, ...] = ("model", *RIVALS)

LABELS: dict[Method, str] = {"model": "model", "trapped_ball": "trapped ball", "flood_fill": "flood fill"}
"""Name of each method in tables and plots."""

WORST_IMAGES = 16
MAX_SAMPLE_SIDE = 128
"""Largest side of a sample, pixels; larger images are scaled down, so that all samples fit into memory and a report."""

AMPLIFICATION = 8
"""Factor by which a sample amplifies differences."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """Description of one pair of a split."""

    input: Path
    color: Color
    color_name: str
    """Name of the wanted color, the nearest of ``color_difference.NAMES``."""

    shape: str
    """Name of the shape; ``unknown`` if the data set does not tell."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """Scores of one method on the pairs of a split."""

    values: NDArray[np.float64]
    """Values of the metrics, [pairs, metrics], with columns as in ``METRICS``; NaN where a metric is undefined."""

    painted: tuple[str, ...]
    """Name of the painted color of each pair; empty for a fill that cannot be told from paper."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Scores on one data set, or on all of them together."""

    name: str
    items: tuple[Item, ...]
    scores: dict[Method, Scores]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """Images of one pair, uint8 [H, W, 3], no side over ``MAX_SAMPLE_SIDE``."""

    split: str
    item: Item
    psnr_db: float
    """PSNR of ``colored``, the image of the model."""

    rival_psnr_db: dict[Method, float]
    drawing: Pixels
    colored: Pixels
    rivals: dict[Method, Pixels]
    """Fill of each of ``RIVALS``."""

    target: Pixels
    difference: Pixels
    """Absolute error of ``colored``, times ``AMPLIFICATION``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """Images of one of the first pairs of a split, uint8 [H, W, 3], no side over ``MAX_SAMPLE_SIDE``."""

    psnr_db: float
    """PSNR of ``colored``, the image of the model."""

    drawing: Pixels
    colored: Pixels
    target: Pixels


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """Scores of the model and of its rivals on the same pairs."""

    splits: tuple[Split, ...]
    all: Split
    """Scores on all splits together."""

    worst: tuple[Sample, ...]
    """Pairs with the lowest PSNR of the model, lowest first."""

    examples: tuple[tuple[Example, ...], ...] = ()
    """First pairs of each split, in the order of the splits; none if none were asked for."""


def evaluate(
    model: Model, splits: Mapping[str, Sequence[Pair]], *, size: Size = "fit", examples: int = 0
) -> Evaluation:
    """Score a model and its rivals on every pair of every split, at the size of its target.

    Args:
        model: the model.
        splits: pairs of each data set, by its name.
        size: size at which drawings are given to the model.
        examples: number of pairs of each split whose images are kept for a contact sheet.

    Raises:
        DatasetError: a pair that cannot be read.
        ColorError: a color that the model does not know.
    """
    worst = _Worst()
    kept: list[list[Example]] = [[] for _ in splits]
    scored = tuple(
        _split(name, predict(model, pairs, size=size), worst, shown, examples)
        for (name, pairs), shown in zip(splits.items(), kept, strict=True)
    )
    return Evaluation(
        splits=scored, all=_joined(scored), worst=worst.samples(), examples=tuple(map(tuple, kept)) if examples else ()
    )


def measure(image: Pixels, pair: PairPixels) -> tuple[NDArray[np.float64], str]:
    """Compute every metric of one image against the target of its pair.

    Returns:
        One value for each of ``METRICS``, NaN where it is not defined, and the name of the painted color, empty for a
        fill that cannot be told from paper.
    """
    return _measure(image, _target_of(pair))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Target:
    """Properties of a target that every method is compared with, computed once."""

    pixels: Pixels
    rgb: tuple[int, int, int]
    paper: Paper
    fill: NDArray[np.bool_] | None
    boundary: Boundary | None


def _target_of(pair: PairPixels) -> _Target:
    fill = fill_mask(pair.colored, pair.color.rgb)
    return _Target(
        pixels=pair.colored,
        rgb=pair.color.rgb,
        paper=paper_of(pair.colored),
        fill=fill,
        boundary=None if fill is None else boundary_of(fill),
    )


def _measure(image: Pixels, target: _Target) -> tuple[NDArray[np.float64], str]:
    differences = ciede2000(image, target.pixels)
    values = {
        **pixel_errors(image, target.pixels),
        "ssim": ssim(image, target.pixels),
        "ms_ssim": ms_ssim(image, target.pixels),
        "ciede2000_mean": float(differences.mean()),
        **bleeding_metrics(image, target.pixels, target.paper),
    }
    painted = ""
    predicted = fill_mask(image, target.rgb)
    if predicted is not None and target.fill is not None and target.boundary is not None:
        values |= Counts.of(predicted, target.fill).metrics()
        values |= boundary_metrics(boundary_of(predicted), target.boundary)
        if target.fill.any():
            colors, painted = _fill_colors(image, differences, target, target.fill)
            values |= colors
    row = np.full(len(METRICS), np.nan)
    for name, value in values.items():
        row[COLUMN[name]] = value
    return row, painted


def _fill_colors(
    image: Pixels, differences: NDArray[np.float64], target: _Target, fill: NDArray[np.bool_]
) -> tuple[dict[str, float], str]:
    inside = image[fill].astype(np.int16)  # [pixels, 3]
    red, green, blue = (int(channel) for channel in np.median(inside, axis=0))
    median = (red, green, blue)
    painted = painted_name(median, target.rgb)
    values = {
        "fill_ciede2000_mean": float(differences[fill].mean()),
        "fill_ciede2000_p95": float(np.percentile(differences[fill], 95)),
        "fill_ciede2000_max": float(differences[fill].max()),
        "fill_mae_levels": float(np.abs(inside - target.pixels[fill]).mean()),
        "fill_color_error_levels": float(np.mean(np.abs(np.subtract(median, target.rgb)))),
        "fill_color_ciede2000": float(ciede2000(median, target.rgb)),
        "confusion": float(confused(painted, name_of(target.rgb))),
    }
    return values, painted


def _split(
    name: str, predictions: Iterable[Prediction], worst: "_Worst", examples: list[Example], max_examples: int
) -> Split:
    items: list[Item] = []
    rows: dict[Method, list[NDArray[np.float64]]] = {method: [] for method in METHODS}
    painted: dict[Method, list[str]] = {method: [] for method in METHODS}
    for one in predictions:
        item = Item(
            input=one.pair.input,
            color=one.pair.color,
            color_name=name_of(one.pair.color.rgb),
            shape=one.pair.shape or "unknown",
        )
        target = _target_of(one.pixels)
        rivals = {method: fill(one.pixels.image, one.pair.color.rgb) for method, fill in RIVALS.items()}
        images: dict[Method, Pixels] = {"model": one.colored, **rivals}
        for method, image in images.items():
            row, color_name = _measure(image, target)
            rows[method].append(row)
            painted[method].append(color_name)
        items.append(item)
        psnr_db = {method: float(rows[method][-1][COLUMN["psnr_db"]]) for method in METHODS}
        worst.offer(name, item, one, rivals, psnr_db)
        if len(examples) < max_examples:
            drawing, colored, wanted = map(_small, (one.pixels.image, one.colored, one.pixels.colored))
            examples.append(Example(psnr_db=psnr_db["model"], drawing=drawing, colored=colored, target=wanted))
    scores = {method: Scores(values=np.stack(rows[method]), painted=tuple(painted[method])) for method in METHODS}
    return Split(name=name, items=tuple(items), scores=scores)


def _joined(splits: Sequence[Split]) -> Split:
    return Split(
        name="all splits",
        items=tuple(item for split in splits for item in split.items),
        scores={
            method: Scores(
                values=np.concatenate([split.scores[method].values for split in splits]),
                painted=tuple(name for split in splits for name in split.scores[method].painted),
            )
            for method in METHODS
        },
    )


def _small(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    scale = MAX_SAMPLE_SIDE / max(height, width)
    if scale >= 1:
        return pixels
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(pixels).resize(inner, Image.Resampling.BOX))


class _Worst:
    """Collector of the samples with the lowest PSNR; the earlier of two equal ones is kept."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Sample]] = []  # the highest PSNR of those kept comes first
        self._offered = 0

    def offer(
        self, split: str, item: Item, one: Prediction, rivals: dict[Method, Pixels], psnr_db: dict[Method, float]
    ) -> None:
        self._offered += 1
        if len(self._heap) == WORST_IMAGES and psnr_db["model"] >= -self._heap[0][0]:
            return
        error = np.abs(one.colored.astype(np.int32) - one.pixels.colored)
        sample = Sample(
            split=split,
            item=item,
            psnr_db=psnr_db["model"],
            rival_psnr_db={method: psnr_db[method] for method in RIVALS},
            drawing=_small(one.pixels.image),
            colored=_small(one.colored),
            rivals={method: _small(image) for method, image in rivals.items()},
            target=_small(one.pixels.colored),
            difference=_small(np.minimum(error * AMPLIFICATION, 255).astype(np.uint8)),
        )
        heapq.heappush(self._heap, (-psnr_db["model"], -self._offered, sample))
        if len(self._heap) > WORST_IMAGES:
            heapq.heappop(self._heap)

    def samples(self) -> tuple[Sample, ...]:
        return tuple(entry[2] for entry in sorted(self._heap, key=lambda entry: (-entry[0], -entry[1])))
