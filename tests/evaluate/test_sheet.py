from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from polyexport.data.pairs import read_pairs
from polyexport.evaluate.score import Evaluation, Example, evaluate
from polyexport.evaluate.sheet import draw_sheet
from polyexport.model.model import Model

MARK = (209, 36, 47)


def example(psnr_db: float, height: int = 40, width: int = 40) -> Example:
    drawing, colored, target = (np.full((height, width, 3), level, np.uint8) for level in (10, 20, 30))
    return Example(psnr_db=psnr_db, drawing=drawing, colored=colored, target=target)


def test_a_split_is_three_rows_and_its_worst_result_is_marked(evaluation: Evaluation) -> None:
    shown = ((example(40), example(12.3), example(50)), (example(30, 3, 90),))
    sheet = draw_sheet(replace(evaluation, examples=shown))
    assert sheet.dtype == np.uint8
    for level in (10, 20, 30):
        counts = [(part == level).all(axis=-1).sum() for part in np.split(sheet[4:], 2)]
        assert counts[0] > counts[1] > 0
    marked = np.argwhere((sheet == MARK).all(axis=-1))
    assert ((marked[:, 1] > 100) & (marked[:, 1] < 205))[marked[:, 0] < len(sheet) // 2].all()
    assert (marked[:, 0] > len(sheet) // 2).any()


def test_the_first_drawings_of_every_split_are_kept_if_asked_for(
    tiny_model: Model, make_set: Callable[..., Path]
) -> None:
    splits = {name: read_pairs(make_set(name, count, size=16)) for name, count in (("a", 3), ("b", 1))}
    result = evaluate(tiny_model, splits, examples=2)
    assert [len(each) for each in result.examples] == [2, 1]
    assert result.examples[0][0].psnr_db == result.splits[0].scores["model"].values[0, 0]
    assert draw_sheet(result).shape[2] == 3
    assert evaluate(tiny_model, splits).examples == ()
