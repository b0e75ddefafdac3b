"""Search for the layers that a quantized graph keeps in float: the most sensitive ones, as few as quality allows."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import onnx

from polyexport.errors import ParityError
from polyexport.export.graph.equalization import Calibration
from polyexport.export.graph.quantization import QuantizationOptions, quantizable, quantize

__all__ = ["MAX_SCORES", "SearchResult", "search"]

MAX_SCORES = 8
"""Largest number of graphs that a search makes and scores."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchResult:
    """The graph that a search found."""

    model: onnx.ModelProto
    kept_float: tuple[str, ...]
    """Names of the Conv nodes that stay in float, in graph order."""

    log: tuple[str, ...]
    """One line for each graph that was scored."""


def search(
    model: onnx.ModelProto,
    calibration: Calibration,
    score: Callable[[onnx.ModelProto], float],
    sensitivity: Mapping[str, float],
    *,
    floor: float,
    start: Collection[str],
    options: QuantizationOptions | None = None,
) -> SearchResult:
    """Quantize as many Conv nodes as the quality allows, and keep those in float that cost the most of it.

    The errors of layers are nearly independent, so that their squares add up. That tells how many of the most sensitive
    layers have to stay in float; from there the number is halved in.

    Args:
        model: The graph that was calibrated.
        calibration: Ranges of its channels, from ``calibrate``.
        score: Measures the quality of a candidate in decibels, such as its mean PSNR against the fp32 graph's images.
        sensitivity: For each Conv the squared error of the result with this one alone quantized.
        floor: Smallest score that is good enough.
        start: Names of Conv nodes that stay in float in any case.
        options: Format of the weights; the defaults of ``QuantizationOptions`` if None.

    Raises:
        ValueError: ``start`` names a node that is not a Conv of this graph.
        ParityError: The floor is not reached in ``MAX_SCORES`` graphs; the message names the best score.
    """
    names = quantizable(model)
    order = sorted((name for name in names if name not in start), key=lambda name: -sensitivity[name])  # stable
    failed, passed, log = -1, len(order), list[str]()
    best, found, kept_count = -float("inf"), None, 0
    while passed - failed > 1 and len(log) < MAX_SCORES:
        kept = {*start, *order[:kept_count]}
        candidate = quantize(model, calibration, keep_float=kept, options=options)
        reached = float(score(candidate))
        best = max(best, reached)
        in_order = tuple(name for name in names if name in kept)
        log.append(f"{reached:.2f} of {floor:.2f} with {', '.join(in_order) or 'no Conv'} in float")
        if reached >= floor:
            passed, found = kept_count, SearchResult(model=candidate, kept_float=in_order, log=tuple(log))
        else:
            failed = kept_count
        if len(log) == 1:
            kept_count = _enough(order, sensitivity, floor - reached)
        else:
            kept_count = (failed + passed) // 2 if found else 2 * kept_count + 1
        kept_count = min(max(kept_count, failed + 1), passed - 1)
    if found is None:
        raise ParityError(
            f"the quantized graph scores {best:.2f} at best, expected at least {floor:.2f}",
            remedy="accept a larger loss with --max-loss, or --min-psnr where it is judged on your own images, or "
            "export with another --precision",
        )
    return SearchResult(model=found.model, kept_float=found.kept_float, log=tuple(log))


def _enough(order: list[str], sensitivity: Mapping[str, float], missing_db: float) -> int:
    """Return how many of the first layers to keep in float so that the squared error falls by so many decibels."""
    allowed = sum(sensitivity[name] for name in order) * 10 ** (-max(0.0, missing_db) / 10)
    count, left = 0, sum(sensitivity[name] for name in order)
    while count < len(order) - 1 and left > allowed:
        left -= sensitivity[order[count]]
        count += 1
    return count
