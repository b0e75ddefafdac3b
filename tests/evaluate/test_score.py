from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from polyexport.data.drawing_config import DrawingConfig
from polyexport.data.drawings import draw
from polyexport.data.pairs import PairPixels, read_pair, read_pairs, write_pairs
from polyexport.evaluate import score
from polyexport.evaluate.catalog import COLUMN, METRICS
from polyexport.evaluate.score import METHODS, RIVALS, Evaluation, evaluate, measure
from polyexport.imaging.color import color_of
from polyexport.imaging.psnr import psnr_db
from polyexport.model.model import Model

MakeSet = Callable[..., Path]

CLEAN = DrawingConfig(antialiased=0, gapped=0, noisy=0, tinted=0)


def pair_of(color: tuple[int, int, int], size: int = 48) -> PairPixels:
    one = draw(np.random.default_rng(5), size, CLEAN, shape="square", color=color)
    return PairPixels(image=one.image, color=color_of(color), colored=one.colored)


def value(row: np.ndarray, name: str) -> float:
    return float(row[COLUMN[name]])


def test_scores_are_the_metrics_of_what_the_model_gives(tiny_model: Model, make_set: MakeSet) -> None:
    pairs = read_pairs(make_set("set", 4))
    result = evaluate(tiny_model, {"set": pairs})
    (split,) = result.splits
    decoded = [read_pair(pair) for pair in pairs]
    expected = [psnr_db(tiny_model.colorize([one.image], [one.color])[0][0], one.colored) for one in decoded]

    assert split.scores["model"].values[:, COLUMN["psnr_db"]].tolist() == expected
    assert [item.input for item in split.items] == [pair.input for pair in pairs]
    assert np.mean(expected) < split.scores["flood_fill"].values[:, COLUMN["psnr_db"]].mean()


def test_every_rival_is_scored_by_its_own_fill(tiny_model: Model, make_set: MakeSet) -> None:
    (pair,) = read_pairs(make_set("set", 1))
    result = evaluate(tiny_model, {"set": [pair]})
    decoded = read_pair(pair)
    for rival, fill in RIVALS.items():
        row, _ = measure(fill(decoded.image, decoded.color.rgb), decoded)
        assert np.array_equal(result.all.scores[rival].values[0], row, equal_nan=True)
        assert result.worst[0].rival_psnr_db[rival] == value(row, "psnr_db")


def test_all_is_every_split_once(evaluation: Evaluation) -> None:
    assert [split.name for split in evaluation.splits] == ["clean", "odd"]
    assert [len(split.items) for split in (*evaluation.splits, evaluation.all)] == [4, 3, 7]
    for method in METHODS:
        values = [split.scores[method].values for split in evaluation.splits]
        assert np.array_equal(evaluation.all.scores[method].values, np.concatenate(values), equal_nan=True)
        assert len(evaluation.all.scores[method].painted) == 7


@pytest.mark.parametrize("color", [(255, 0, 0), (0, 0, 0), (240, 250, 255), (1, 2, 3)])
def test_the_target_itself_is_perfect(color: tuple[int, int, int]) -> None:
    pair = pair_of(color)
    row, _ = measure(pair.colored, pair)
    best = {"higher": 1.0, "lower": 0.0, "zero": 0.0}
    for metric in METRICS:
        if metric.better != "neither":
            expected = 100.0 if metric.name == "psnr_db" else best[metric.better]
            assert value(row, metric.name) == pytest.approx(expected, abs=1e-6), metric.name


def test_a_fill_in_another_color_is_confused_and_not_distorted() -> None:
    pair = pair_of((255, 0, 0))
    swapped = pair.colored.copy()
    swapped[swapped[..., 1] == 0] = (128, 0, 0)
    row, painted = measure(swapped, pair)
    assert painted == "maroon"
    assert value(row, "confusion") == 1
    assert value(row, "bleeding") == value(row, "shape_distortion") == 0
    assert value(row, "fill_color_error_levels") == pytest.approx(127 / 3)


def test_a_fill_that_stayed_empty_is_missed_and_not_confused() -> None:
    pair = pair_of((0, 0, 255))
    row, painted = measure(np.full_like(pair.colored, 255), pair)
    assert painted == "white"
    assert value(row, "confusion") == value(row, "recall") == value(row, "iou") == value(row, "bleeding") == 0
    assert np.isnan(value(row, "precision"))
    assert value(row, "shape_distortion") == 1


def test_a_page_full_of_color_bleeds() -> None:
    pair = pair_of((0, 0, 255))
    row, painted = measure(np.broadcast_to(np.array([0, 0, 255], np.uint8), pair.colored.shape).copy(), pair)
    assert painted == "blue"
    assert value(row, "bleeding") == value(row, "bleeding_far") == value(row, "recall") == 1
    assert value(row, "specificity") == value(row, "confusion") == 0
    assert value(row, "wrong") == value(row, "page_filled") == 1


def test_a_white_fill_leaves_the_fill_undefined_and_the_rest_measured() -> None:
    pair = pair_of((255, 255, 255))
    row, painted = measure(pair.colored, pair)
    assert painted == ""
    assert all(
        np.isnan(value(row, name)) for name in ("tp_px", "iou", "boundary_f1", "fill_ciede2000_mean", "confusion")
    )
    assert value(row, "psnr_db") == 100
    assert value(row, "bleeding") == 0


def test_images_of_any_size_are_measured(shipped: Model, tmp_path: Path) -> None:
    pairs = [
        (str(side), PairPixels(image=white, color=color_of("red"), colored=white))
        for side in (1, 5, 200)
        for white in [np.full((side, side + 1, 3), 255, np.uint8)]
    ]
    write_pairs(tmp_path, {"": pairs})
    result = evaluate(shipped, {"set": read_pairs(tmp_path)})
    similarity = result.all.scores["model"].values[:, COLUMN["ssim"]]
    assert np.isnan(similarity[:2]).all()
    assert similarity[2] > 0.9
    assert max(max(sample.colored.shape) for sample in result.worst) <= score.MAX_SAMPLE_SIDE
    assert {item.shape for item in result.all.items} == {"unknown"}


def test_the_worst_are_kept_in_order(shipped: Model, make_set: MakeSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "WORST_IMAGES", 3)
    pairs = read_pairs(make_set("set", 6, size=16))
    result = evaluate(shipped, {"a": pairs, "b": pairs})
    values = sorted(result.all.scores["model"].values[:, COLUMN["psnr_db"]])
    assert [sample.psnr_db for sample in result.worst] == values[:3]
    assert result.worst[0].split == "a"  # the earlier of two that are equal
    error = np.abs(result.worst[0].colored.astype(int) - result.worst[0].target)
    assert np.array_equal(result.worst[0].difference, np.minimum(error * score.AMPLIFICATION, 255))
