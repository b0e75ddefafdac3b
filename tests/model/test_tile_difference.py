"""What tiles cost where they do not give the result of the whole image, on a model whose cost is known."""

from pathlib import Path

import numpy as np
import pytest
from version3_models import version3_bytes

from polyexport.errors import UsageError
from polyexport.model import tile_difference
from polyexport.model.loading.load import load_model
from polyexport.model.locality import Locality
from polyexport.model.model import Model
from polyexport.model.settings import setting_from
from polyexport.model.tile_difference import measure_tiles
from polyexport.model.tile_wish import TileWish


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """A model that blurs 5x5 pixels, and takes a number and a mask."""
    locality = Locality(kind="local", reach=2, bytes_per_pixel=100)
    (tmp_path / "m.onnx").write_bytes(version3_bytes("local", locality=locality))
    return load_model(tmp_path / "m.onnx", provider="cpu")


def test_an_overlap_that_is_too_small_costs_something(model: Model) -> None:
    rule = model.contract.canvas_rule("native", tiles=TileWish(tile=16, overlap=4))
    assert rule.tiles is not None
    assert not rule.tiles.exact
    difference = measure_tiles(model, rule, setting_from(model.conditions, {"sigma": 3}))
    assert 0 < difference.mean < difference.largest <= 255
    assert difference.psnr_db < 60
    assert (difference.height, difference.width) == (28, 28)
    line = difference.describe()
    assert f"{difference.largest} at most" in line
    assert "28x28 pixels" in line
    assert "\n" not in line


def test_exact_tiles_cost_nothing(model: Model) -> None:
    rule = model.contract.canvas_rule("native", tiles=TileWish(tile=16))
    assert rule.tiles is not None
    assert rule.tiles.exact
    difference = measure_tiles(model, rule, setting_from(model.conditions, {"sigma": 3}))
    assert (difference.mean, difference.largest, difference.psnr_db) == (0, 0, 100)


def test_tiles_that_do_not_fit_the_memory_are_compared_smaller(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tile_difference, "granted_memory", lambda: 8 * 900 * 100)
    rule = model.contract.canvas_rule("native", tiles=TileWish(tile=512, overlap=4))
    difference = measure_tiles(model, rule, setting_from(model.conditions, {"sigma": 3}))
    assert difference.rule.side < 40
    assert difference.height**2 <= 1000


def test_what_is_larger_than_the_network_takes_is_refused(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tile_difference, "MAX_NATIVE_PIXELS", 0)
    rule = model.contract.canvas_rule("native", tiles=TileWish(tile=16, overlap=4))
    with pytest.raises(UsageError, match="cannot be compared with whole images"):
        measure_tiles(model, rule, setting_from(model.conditions, {"sigma": 3}))


def test_the_image_is_continued_by_its_mirror_image() -> None:
    image = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
    continued = tile_difference._continued(image, 5)
    assert continued[..., 0].tolist() == [
        [0, 1, 2, 2, 1],
        [3, 4, 5, 5, 4],
        [3, 4, 5, 5, 4],
        [0, 1, 2, 2, 1],
        [0, 1, 2, 2, 1],
    ]
