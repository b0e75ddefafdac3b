"""Scores of a model over a data set."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polyexport.dataset import Pair, read_pair
from polyexport.evaluate.floodfill import flood_fill
from polyexport.evaluate.metrics import exact, psnr_db, within_levels
from polyexport.model import Model, Size

__all__ = ["Evaluation", "ImageScore", "Summary", "evaluate"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageScore:
    """One method on one pair."""

    input: Path
    color: str
    psnr_db: float
    within_8: float
    """Fraction of pixels within 8 levels of the target in every channel."""

    exact: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """One method over the data set."""

    images: int
    psnr_mean_db: float
    """Mean of the images' PSNR, exact images at ``EXACT_PSNR_DB``."""

    psnr_min_db: float
    within_8: float
    exact: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """The model and the flood fill on the same pairs."""

    model: Summary
    flood_fill: Summary
    images: tuple[ImageScore, ...]
    """Of the model, in the order of the pairs."""


def evaluate(model: Model, pairs: Sequence[Pair], *, size: Size = "fit") -> Evaluation:
    """Score a model on every pair, at the size of its target.

    Raises:
        DatasetError: a pair that cannot be read.
        ColorError: a colour outside the model's vocabulary.
    """
    framing = model.framing(size)
    ours: list[ImageScore] = []
    baseline: list[ImageScore] = []
    for pair in pairs:
        pixels = read_pair(pair)
        framed = framing.frame(pixels.image)
        colored = framed.restore(model.run_canvases([framed], [pair.color])[0])
        ours.append(_score(pair, colored, pixels.colored))
        baseline.append(_score(pair, flood_fill(pixels.image, pair.color.rgb), pixels.colored))
    return Evaluation(model=_summary(ours), flood_fill=_summary(baseline), images=tuple(ours))


def _score(pair: Pair, image: NDArray[np.uint8], target: NDArray[np.uint8]) -> ImageScore:
    return ImageScore(
        input=pair.input,
        color=pair.color.name,
        psnr_db=psnr_db(image, target),
        within_8=within_levels(image, target),
        exact=exact(image, target),
    )


def _summary(scores: Sequence[ImageScore]) -> Summary:
    psnr = [score.psnr_db for score in scores]
    return Summary(
        images=len(scores),
        psnr_mean_db=float(np.mean(psnr)),
        psnr_min_db=float(np.min(psnr)),
        within_8=float(np.mean([score.within_8 for score in scores])),
        exact=sum(score.exact for score in scores),
    )
