"""Binary mask of a fill, and agreement of two masks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polyexport.evaluate.metrics import CLOSE_LEVELS

__all__ = ["Counts", "fill_mask"]

Mask = NDArray[np.bool_]

WRONG_BELOW = 0.9
"""Intersection over union of the fills below which a drawing counts as wrong."""

WHOLE_PAGE = 0.98
"""Share of the pixels above which a fill covers the whole page."""


def fill_mask(image: NDArray[np.uint8], rgb: tuple[int, int, int]) -> Mask | None:
    """Find the pixels of an image, uint8 [H, W, 3], that are nearer to the fill color than to white; bool [H, W].

    Such a pixel is beyond half of the way from white to the color, along the line through both: an anti-aliased edge
    pixel is filled if the fill covers more than half of it. The result is None for a color within ``CLOSE_LEVELS`` of
    white in every channel, whose fill cannot be told from paper.
    """
    axis = 255 - np.array(rgb, dtype=np.int64)
    if axis.max() <= CLOSE_LEVELS:
        return None
    mask: Mask = 2 * ((255 - image.astype(np.int64)) @ axis) > axis @ axis
    return mask


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """Numbers of true and false, positive and negative pixels; the four sum to the pixels of the image."""

    tp: int
    fp: int
    fn: int
    tn: int

    @classmethod
    def of(cls, predicted: Mask, target: Mask) -> "Counts":
        """Count the pixels of two masks, bool [H, W]."""
        tp = int(np.count_nonzero(predicted & target))
        fp = int(np.count_nonzero(predicted)) - tp
        fn = int(np.count_nonzero(target)) - tp
        return cls(tp=tp, fp=fp, fn=fn, tn=predicted.size - tp - fp - fn)

    def metrics(self) -> dict[str, float]:
        """Metrics of the catalog that follow from the counts, by name; NaN where a denominator is zero."""
        tp, fp, fn, tn = self.tp, self.fp, self.fn, self.tn
        pixels = tp + fp + fn + tn
        overlap = _ratio(2 * tp, 2 * tp + fp + fn)
        return {
            "tp_px": tp,
            "fp_px": fp,
            "fn_px": fn,
            "tn_px": tn,
            "accuracy": _ratio(tp + tn, pixels),
            "precision": _ratio(tp, tp + fp),
            "recall": _ratio(tp, tp + fn),
            "specificity": _ratio(tn, tn + fp),
            "f1": overlap,
            "iou": _ratio(tp, tp + fp + fn),
            "dice": overlap,
            "wrong": float(tp < WRONG_BELOW * (tp + fp + fn)),
            "page_filled": float(tp + fp > WHOLE_PAGE * pixels >= tp + fn),
        }


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
