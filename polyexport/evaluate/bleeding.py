"""Colour where there should be paper."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from polyexport.evaluate.metrics import CLOSE_LEVELS

__all__ = ["FAR_PX", "Paper", "bleeding_metrics", "paper_of"]

FAR_PX = 3.0
"""Beyond this distance from ink and fill, pixels, a tint is a leak and no soft edge."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Paper:
    """The paper of a target."""

    all: NDArray[np.bool_]
    """[H, W], within ``CLOSE_LEVELS`` of white in every channel."""

    far: NDArray[np.bool_]
    """[H, W], of ``all`` those more than ``FAR_PX`` from everything else."""


def paper_of(target: NDArray[np.uint8]) -> Paper:
    """uint8 [H, W, 3] -> its paper."""
    paper = target.min(axis=-1) >= 255 - CLOSE_LEVELS
    # Without anything else the distance to it is undefined: all of the paper is far.
    far = paper if paper.all() else ndimage.distance_transform_edt(paper) > FAR_PX
    return Paper(all=paper, far=far)


def bleeding_metrics(image: NDArray[np.uint8], target: NDArray[np.uint8], paper: Paper) -> dict[str, float]:
    """The metrics of the catalog that look at the paper alone; NaN without any."""
    darker = target.astype(np.int16) - image
    tint = np.clip(darker.max(axis=-1), 0, None)  # [H, W]
    tinted = tint > CLOSE_LEVELS
    return {
        "bleeding": _mean(tinted[paper.all]),
        "bleeding_far": _mean(tinted[paper.far]),
        "tint_levels": _mean(tint[paper.all]),
    }


def _mean(values: NDArray[np.bool_] | NDArray[np.int16]) -> float:
    return float(values.mean()) if values.size else float("nan")
