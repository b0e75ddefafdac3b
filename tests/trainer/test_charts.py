import io

import numpy as np
import pytest
from PIL import Image

from trainer.charts import Series, curves_png, sample_grid


def ink(png: bytes) -> tuple[int, int, int]:
    """Width, height, and the number of pixels that are colored, not gray."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    return pixels.shape[1], pixels.shape[0], int((np.ptp(pixels, axis=2) > 40).sum())


def test_a_sample_grid_has_a_column_a_sample_and_keeps_every_pixel() -> None:
    rng = np.random.default_rng(0)
    images, predictions, targets = rng.integers(0, 256, (3, 5, 128, 128, 3), dtype=np.uint8)
    grid = sample_grid(images, predictions, targets)
    assert grid.dtype == np.uint8

    views = np.lib.stride_tricks.sliding_window_view(grid, (128, 128), axis=(0, 1))
    corner = {"drawing": images, "prediction": predictions, "target": targets}
    tops = []
    for tiles in corner.values():
        places = [np.argwhere((grid[:-127, :-127] == tile[0, 0]).all(-1)).tolist() for tile in tiles]
        found = [
            next((y, x) for y, x in candidates if np.array_equal(np.moveaxis(views[y, x], 0, -1), tile))
            for tile, candidates in zip(tiles, places, strict=True)
        ]
        assert len({y for y, _ in found}) == 1
        assert [x for _, x in found] == sorted(x for _, x in found)
        tops.append(found[0][0])
    assert tops == sorted(tops)


def test_small_samples_are_enlarged() -> None:
    sample = np.zeros((2, 16, 16, 3), np.uint8)
    height, width, _ = sample_grid(sample, sample, sample).shape
    assert height >= 3 * 96
    assert width >= 2 * 96


def test_samples_of_different_shapes_are_refused() -> None:
    a, b = np.zeros((2, 16, 16, 3), np.uint8), np.zeros((3, 16, 16, 3), np.uint8)
    with pytest.raises(ValueError, match="three arrays"):
        sample_grid(a, b, a)


def test_curves_have_a_panel_for_every_known_metric() -> None:
    steps = range(10, 2010, 10)
    loss: Series = [(step, 1 / step) for step in steps]
    few = curves_png({"train/loss": loss}, "title")
    many = curves_png(
        {
            "train/loss": loss,
            "train/loss_l1": loss,
            "train/learning_rate": loss,
            "train/gradient_norm": loss,
            "train/images_per_s": loss,
            "validation/psnr_db": [(500, 30.0), (1000, 31.0)],
        },
        "title",
    )
    assert ink(many)[0] > ink(few)[0]
    assert ink(many)[2] > ink(few)[2] > 100


@pytest.mark.parametrize(
    "points",
    [[], [(1, float("nan"))], [(1, 0.0)], [(1, -1.0), (2, float("inf")), (3, 2.0)], [(7, 5.0)] * 3],
)
def test_curves_of_odd_values(points: Series) -> None:
    assert curves_png({"train/loss": points, "validation/psnr_db": points, "of/mine": points}, "t")[:4] == b"\x89PNG"
