from pathlib import Path

import numpy as np
import pytest

from polyexport.color import color_of
from polyexport.dataset import PairPixels, read_pairs, write_pairs
from polyexport.evaluate.metrics import psnr_db
from polyexport.evaluate.score import evaluate
from polyexport.model import Model
from trainer.polygons import draw


def test_scores_are_the_metrics_of_what_the_model_gives(tiny_model: Model, tmp_path: Path) -> None:
    drawings = [draw(np.random.default_rng(i), 32) for i in range(4)]
    pixels = [PairPixels(image=d.image, color=color_of(d.color), colored=d.colored) for d in drawings]
    write_pairs(tmp_path, [(str(i), one) for i, one in enumerate(pixels)])
    result = evaluate(tiny_model, read_pairs(tmp_path))
    expected = [psnr_db(tiny_model.colorize([d.image], [d.color])[0][0], d.colored) for d in drawings]

    assert [score.psnr_db for score in result.images] == expected
    assert result.model.psnr_mean_db == pytest.approx(np.mean(expected))
    assert result.model.psnr_min_db == min(expected)
    assert result.model.images == result.flood_fill.images == 4
    assert result.flood_fill.psnr_mean_db > result.model.psnr_mean_db  # random weights beat nothing
