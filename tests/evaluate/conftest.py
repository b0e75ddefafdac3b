"""Data sets and evaluations of them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from polyexport.data.drawings import draw
from polyexport.data.pairs import PairPixels, read_pairs, write_pairs
from polyexport.evaluate.score import Evaluation, evaluate
from polyexport.imaging.color import color_of
from polyexport.model.model import Model

MakeSet = Callable[..., Path]


@pytest.fixture
def make_set(tmp_path: Path) -> MakeSet:
    """Write a data set of drawings; colors are used in turn."""

    def make(name: str, count: int = 3, *, size: int = 32, colors: tuple[str, ...] = ("red", "#123456")) -> Path:
        pairs = []
        for number in range(count):
            color = color_of(colors[number % len(colors)])
            one = draw(np.random.default_rng(number), size, color=color.rgb)
            pixels = PairPixels(image=one.image, color=color, colored=one.colored, shape=one.shape)
            pairs.append((f"{number:02}", pixels))
        write_pairs(tmp_path, {name: pairs})
        return tmp_path / name

    return make


@pytest.fixture
def evaluation(shipped: Model, make_set: MakeSet) -> Evaluation:
    """The shipped model on two splits, one of them with a white fill."""
    return evaluate(
        shipped,
        {
            "clean": read_pairs(make_set("clean", 4)),
            "odd": read_pairs(make_set("odd", 3, size=40, colors=("white", "lime"))),
        },
    )
