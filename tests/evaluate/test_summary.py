import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from polyexport.evaluate.catalog import COLUMN, METRICS
from polyexport.evaluate.score import METHODS, Evaluation, Scores, Split
from polyexport.evaluate.summary import by_color, by_shape, confusion, largest, lead, summarize


def scores(*columns: tuple[str, list[float]]) -> Scores:
    count = len(columns[0][1])
    values = np.full((count, len(METRICS)), np.nan)
    values[:, COLUMN["exact"]] = 0
    for name, column in columns:
        values[:, COLUMN[name]] = column
    return Scores(values=values, painted=("",) * count)


def test_undefined_values_are_left_out_and_counted() -> None:
    summary = summarize(scores(("iou", [0.5, np.nan, 1.0]), ("exact", [0, 1, 1])))
    assert (summary.images, summary.exact_images) == (3, 2)
    assert (summary.metrics["iou"].images, summary.mean("iou")) == (2, 0.75)
    nothing = summary.metrics["dice"]
    assert nothing.images == 0
    assert [summary.partial(name) for name in ("iou", "dice", "exact")] == [True, False, False]
    assert {nothing.mean, nothing.min, nothing.p05, nothing.median, nothing.p95, nothing.max, nothing.worst} == {None}


def test_the_worst_depends_on_the_metric() -> None:
    column = [-3.0, 1.0, 2.0]
    summary = summarize(
        scores(*((name, column) for name in ("psnr_db", "bleeding", "bias_red_levels", "tp_px"))),
    )
    assert [summary.metrics[name].worst for name in ("psnr_db", "bleeding", "bias_red_levels", "tp_px")] == [
        *(-3, 2, -3, None)
    ]


@given(arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 100)))
def test_the_statistics_are_ordered(column: np.ndarray) -> None:
    found = summarize(scores(("psnr_db", column.tolist()))).metrics["psnr_db"]
    assert found.min == found.worst == column.min()
    figures = [found.min, found.p05, found.median, found.p95, found.max]
    known = [figure for figure in figures if figure is not None]
    assert known == figures == sorted(known)
    assert found.mean == pytest.approx(column.mean())


def test_groups_hold_every_image_once(evaluation: Evaluation) -> None:
    for split in (*evaluation.splits, evaluation.all):
        for method in METHODS:
            for groups in (by_color(split.items, split.scores[method]), by_shape(split.items, split.scores[method])):
                assert sum(group.images for group in groups.values()) == len(split.items)
    odd = evaluation.splits[1]
    assert list(by_color(odd.items, odd.scores["model"])) == ["lime", "white"]


@pytest.mark.parametrize(
    ("ball", "flood", "better", "ahead"), [(30.0, 20.0, "trapped_ball", 5.0), (30.0, 40.0, "flood_fill", -5.0)]
)
def test_the_model_is_compared_with_the_better_rival(ball: float, flood: float, better: str, ahead: float) -> None:
    psnr = {"model": [30.0, 40.0], "trapped_ball": [ball, ball], "flood_fill": [flood, flood]}
    split = Split(name="s", items=(), scores={method: scores(("psnr_db", psnr[method])) for method in METHODS})
    found = lead(split)
    assert (found.rival, found.ahead_db, found.model_psnr_db) == (better, ahead, 35)
    assert found.rival_psnr_db == max(ball, flood)


def test_the_largest_groups_keep_their_order() -> None:
    groups = {name: summarize(scores(("iou", [1.0] * count))) for name, count in (("a", 2), ("b", 1), ("c", 3))}
    assert list(largest(groups, 2)) == ["a", "c"]
    assert largest(groups, 9) == groups


def test_a_confusion_matrix_of_swapped_colors(evaluation: Evaluation) -> None:
    clean, odd = evaluation.splits
    reds = sum(item.color_name == "red" for item in clean.items)
    swapped = Scores(values=clean.scores["model"].values, painted=("lime",) * len(clean.items))
    matrix = confusion(clean.items, swapped)
    assert matrix.names == ("red", "lime", "navy")
    assert matrix.counts.tolist() == [[0, reds, 0], [0, 0, 0], [0, len(clean.items) - reds, 0]]
    assert confusion(odd.items, odd.scores["flood_fill"]).counts.sum() == 1  # a white fill has no place in it
