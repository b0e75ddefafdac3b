from pathlib import Path

import numpy as np
import pytest

from polyexport.data.drawings import draw
from polyexport.data.pairs import PairPixels
from polyexport.evaluate.catalog import COLUMN, METRICS, Metric, markdown_table
from polyexport.evaluate.score import measure
from polyexport.imaging.color import color_of

DOCS = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")


def test_the_documentation_has_the_same_table() -> None:
    assert markdown_table() in DOCS


def test_there_are_many_and_each_is_explained() -> None:
    assert len(METRICS) >= 25
    assert len({metric.name for metric in METRICS}) == len({metric.label for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert all((metric.label, metric.range, metric.library, metric.source, metric.what, metric.formula))
        assert not set("|\n") & set(metric.what + metric.formula + metric.range)
        for source in metric.source.split("; "):
            author = source.split(" et al.")[0].split(",")[0]
            assert source in ("definition", "this project") or f"- {author}" in DOCS, source


def test_every_metric_is_measured() -> None:
    drawing = draw(np.random.default_rng(0), 32, color=(255, 0, 0))
    pair = PairPixels(image=drawing.image, color=color_of(drawing.color), colored=drawing.colored)
    values, _ = measure(drawing.colored, pair)
    assert len(values) == len(METRICS) == len(COLUMN)
    assert not np.isnan(values).any()


def test_a_direction_is_one_of_four() -> None:
    with pytest.raises(ValueError, match="better must be"):
        Metric(
            name="x",
            label="x",
            range="x",
            better="up",  # type: ignore[arg-type]
            library="x",
            source="x",
            what="x",
            formula="x",
        )
