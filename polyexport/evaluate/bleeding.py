"""Metrics of color on what should be white paper."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from polyexport.evaluate.metrics import CLOSE_LEVELS

__all__ = ["FAR_PX", "Paper", "bleeding_metrics", "paper_of"]

FAR_PX = 3.0
"""Distance from ink and fill, pixels, beyond which a tint is a leak and not a soft edge."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Paper:
    """Masks of the white paper of a target."""

    all: NDArray[np.bool_]
    """Pixels within ``CLOSE_LEVELS`` of white in every channel, bool [H, W]."""

    far: NDArray[np.bool_]
    """Pixels of ``all`` that are more than ``FAR_PX`` from everything else, bool [H, W]."""


def paper_of(target: NDArray[np.uint8]) -> Paper:
    """Find the paper of a target, uint8 [H, W, 3]."""
    paper = target.min(axis=-1) >= 255 - CLOSE_LEVELS
    # Without anything else the distance to it is undefined: all of the paper is far.
    far = paper if paper.all() else ndimage.distance_transform_edt(paper) > FAR_PX
    return Paper(all=paper, far=far)


def bleeding_metrics(image: NDArray[np.uint8], target: NDArray[np.uint8], paper: Paper) -> dict[str, float]:
    """Metrics of the catalog that concern the paper alone, by name; NaN without any paper."""
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
