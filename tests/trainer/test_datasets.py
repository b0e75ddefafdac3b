from pathlib import Path

import numpy as np
import pytest

from polyexport.data.drawing_config import DrawingConfig
from polyexport.data.drawings import draw
from polyexport.data.generate import write_drawings
from polyexport.errors import DatasetError
from trainer.datasets import hold_out, load_pairs


def test_pairs_are_those_of_the_data_set(tmp_path: Path) -> None:
    write_drawings(tmp_path, {"": DrawingConfig()}, count=3, size=32, seed=5)
    pairs = load_pairs(tmp_path, 16)
    for number, pair in enumerate(pairs):
        drawing = draw(np.random.default_rng([5, number]), 32)
        assert pair.color == drawing.color
        assert np.array_equal(pair.image, drawing.image)
        assert np.array_equal(pair.colored, drawing.colored)


def test_a_size_that_the_network_cannot_take_is_refused(tmp_path: Path) -> None:
    write_drawings(tmp_path, {"": DrawingConfig()}, count=1, size=40, seed=0)
    with pytest.raises(DatasetError, match="is 40x40.*a multiple of 16"):
        load_pairs(tmp_path, 16)


def test_every_eighth_pair_is_held_out() -> None:
    pairs = [draw(np.random.default_rng(number), 16) for number in range(17)]
    training, validation = hold_out(pairs)
    assert [id(one) for one in validation] == [id(pairs[number]) for number in (0, 8, 16)]
    assert len(training) == 14
    assert not any(one is other for one in training for other in validation)


@pytest.mark.parametrize("count", range(2, 8))
def test_one_of_a_few_pairs_is_held_out(count: int) -> None:
    pairs = [draw(np.random.default_rng(number), 16) for number in range(count)]
    training, validation = hold_out(pairs)
    assert [id(one) for one in validation] == [id(pairs[0])]
    assert [id(one) for one in training] == [id(one) for one in pairs[1:]]


def test_a_single_pair_is_both_trained_and_scored_on() -> None:
    pairs = [draw(np.random.default_rng(0), 16)]
    assert all(part is pairs for part in hold_out(pairs))
