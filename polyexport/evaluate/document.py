"""Evaluation report as one JSON document, in which an undefined value is null and never NaN."""

import math
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnxruntime as ort

from polyexport import __version__
from polyexport.evaluate.catalog import COLUMN, METRICS
from polyexport.evaluate.score import METHODS, Evaluation, Item, Method, Scores, Split
from polyexport.evaluate.summary import Summary, by_color, by_shape, confusion, largest, lead, summarize
from polyexport.model.model import Model

__all__ = ["BRIEF_GROUPS", "ModelFacts", "document", "facts_of"]

BRIEF_GROUPS = 64
"""Largest number of shapes in a brief document: a data set may name a shape of its own for every image."""

_LIBRARIES = ("numpy", "scipy", "scikit-image", "pillow")
_SIGNIFICANT_DIGITS = 7  # more than any metric is accurate to


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFacts:
    """Description of the model that was evaluated, and of the versions that did it."""

    file: str
    sha256: str
    checkpoint_sha256: str
    conditioning: str
    training_size: int
    size_multiple: int
    precision: str
    opset: int
    parity_max_abs_diff: float
    execution_provider: str
    size: str
    """Size at which images were given to the model: ``fit``, ``native`` or a canvas size in pixels."""

    versions: dict[str, str]
    """Version of each package that ran the model and measured."""


def facts_of(model: Model, file: Path, size: str) -> ModelFacts:
    """Describe a loaded model."""
    contract = model.contract
    return ModelFacts(
        file=file.name,
        sha256=model.sha256,
        checkpoint_sha256=contract.checkpoint_sha256,
        conditioning=contract.color.conditioning if contract.color is not None else "",
        training_size=contract.training_size,
        size_multiple=contract.size_multiple,
        precision=contract.precision,
        opset=contract.opset,
        parity_max_abs_diff=contract.parity.final.max_abs_diff,
        execution_provider=model.session.execution_provider,
        size=size,
        versions={
            "python": platform.python_version(),
            "polyexport": __version__,
            "onnxruntime": ort.__version__,
            **{library: version(library) for library in _LIBRARIES},
        },
    )


def document(evaluation: Evaluation, facts: ModelFacts, *, brief: bool = False) -> dict[str, Any]:
    """Gather everything that was measured in one JSON document.

    Args:
        evaluation: the scores.
        facts: description of the model.
        brief: leave out the values of single images, and all but the largest ``BRIEF_GROUPS`` groups.
    """
    return {
        "model": asdict(facts),
        "metrics": [asdict(metric) for metric in METRICS],
        "splits": {
            split.name: _split(split, brief=brief) | ({} if brief else {"images": _images(split)})
            for split in evaluation.splits
        },
        "all": _split(evaluation.all, brief=brief),
    }


def _split(split: Split, *, brief: bool) -> dict[str, Any]:
    ahead = lead(split)
    return {
        **{method: _method(split.items, split.scores[method], brief=brief) for method in METHODS},
        "better_rival": {
            "method": ahead.rival,
            "psnr_db": _rounded(ahead.rival_psnr_db),
            "model_ahead_db": _rounded(ahead.ahead_db),
        },
    }


def _method(items: tuple[Item, ...], scores: Scores, *, brief: bool) -> dict[str, Any]:
    matrix = confusion(items, scores)
    shapes = by_shape(items, scores)
    return {
        **_summary(summarize(scores), lambda each: {key: _rounded(value) for key, value in asdict(each).items()}),
        "by_color": _groups(by_color(items, scores)),
        "by_shape": _groups(largest(shapes, BRIEF_GROUPS) if brief else shapes),
        "confusion": {
            wanted: {painted: int(count) for painted, count in zip(matrix.names, row, strict=True) if count}
            for wanted, row in zip(matrix.names, matrix.counts, strict=True)
            if row.any()
        },
    }


def _summary(summary: Summary, entry: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    return {
        "images": summary.images,
        "exact_images": summary.exact_images,
        "metrics": {name: entry(each) for name, each in summary.metrics.items()},
    }


def _groups(groups: Mapping[str, Summary]) -> dict[str, Any]:
    def entry(each: Any) -> dict[str, Any]:
        return {"mean": _rounded(each.mean), "worst": _rounded(each.worst)}

    return {name: _summary(summary, entry) for name, summary in groups.items()}


def _images(split: Split) -> list[dict[str, Any]]:
    return [
        {
            "file": item.input.name,
            "color": item.color.name,
            "color_name": item.color_name,
            "shape": item.shape,
            **{method: _image(split, method, row) for method in METHODS},
        }
        for row, item in enumerate(split.items)
    ]


def _image(split: Split, method: Method, row: int) -> dict[str, Any]:
    scores = split.scores[method]
    values = {name: _rounded(float(scores.values[row, column])) for name, column in COLUMN.items()}
    return {**values, "painted": scores.painted[row] or None}


def _rounded(value: float | None) -> float | int | None:
    if value is None or math.isnan(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.{_SIGNIFICANT_DIGITS}g}")
