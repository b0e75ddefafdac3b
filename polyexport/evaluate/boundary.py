"""Metrics of the distance between the edges of two fills."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import find_boundaries

__all__ = ["Boundary", "boundary_metrics", "boundary_of", "tolerance_px"]

_TOLERANCE_OF_DIAGONAL = 0.0075
"""Tolerance as a fraction of the diagonal, after Csurka, Larlus, Perronnin: What is a good evaluation measure for
semantic segmentation?, 2013, section 3."""

_LEAST_TOLERANCE_PX = 1.5
"""Smallest tolerance, which covers the eight neighbors of a pixel; it holds up to a diagonal of 200 pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Boundary:
    """Innermost pixels of a mask along its edge; the border of the image is not an edge."""

    pixels: NDArray[np.bool_]
    """Mask of the edge, bool [H, W]."""

    distance_px: NDArray[np.float64] | None
    """Distance from every pixel to the nearest of ``pixels``, [H, W]; None if there are none."""


def boundary_of(mask: NDArray[np.bool_]) -> Boundary:
    """Find the edge of a mask, bool [H, W]; a mask that is empty or covers the image has none."""
    pixels = find_boundaries(mask, connectivity=1, mode="inner").astype(np.bool_)
    return Boundary(pixels=pixels, distance_px=ndimage.distance_transform_edt(~pixels) if pixels.any() else None)


def tolerance_px(height: int, width: int) -> float:
    """Largest distance, pixels, at which two edges count as one in an image of this size."""
    return max(_LEAST_TOLERANCE_PX, _TOLERANCE_OF_DIAGONAL * float(np.hypot(height, width)))


def boundary_metrics(predicted: Boundary, target: Boundary) -> dict[str, float]:
    """Metrics of the catalog that compare edges, by name.

    Two images without an edge agree. If only one has an edge, nothing of it is near the other, and each distance is the
    diagonal of the image, the largest possible.
    """
    if predicted.distance_px is None or target.distance_px is None:
        agree = predicted.distance_px is target.distance_px
        distance = 0.0 if agree else float(np.hypot(*target.pixels.shape))
        return _named(float(agree), float(agree), distance, distance, distance)
    to_target = target.distance_px[predicted.pixels]
    to_predicted = predicted.distance_px[target.pixels]
    tolerance = tolerance_px(*target.pixels.shape)
    return _named(
        float(np.mean(to_target <= tolerance)),
        float(np.mean(to_predicted <= tolerance)),
        float(max(to_target.max(), to_predicted.max())),
        float(max(np.percentile(to_target, 95), np.percentile(to_predicted, 95))),
        float(np.concatenate([to_target, to_predicted]).mean()),
    )


def _named(
    precision: float, recall: float, hausdorff_px: float, hausdorff_95_px: float, distance_px: float
) -> dict[str, float]:
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {
        "boundary_precision": precision,
        "boundary_recall": recall,
        "boundary_f1": f1,
        "hausdorff_px": hausdorff_px,
        "hausdorff_95_px": hausdorff_95_px,
        "boundary_distance_px": distance_px,
        "shape_distortion": 1 - f1,
    }
