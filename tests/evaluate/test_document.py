import json
from pathlib import Path

import pytest

from polyexport.evaluate.catalog import METRICS
from polyexport.evaluate.document import document, facts_of
from polyexport.evaluate.score import METHODS, RIVALS, Evaluation
from polyexport.model.model import Model


def test_everything_is_there_and_undefined_is_null(evaluation: Evaluation, shipped: Model) -> None:
    whole = document(evaluation, facts_of(shipped, Path("models/small.onnx"), "fit"))
    read = json.loads(json.dumps(whole, allow_nan=False))
    names = [metric.name for metric in METRICS]

    assert read == whole
    assert read["model"]["file"] == "small.onnx"
    assert read["model"]["sha256"] == shipped.sha256
    assert [metric["name"] for metric in read["metrics"]] == names
    assert list(read["splits"]) == ["clean", "odd"]
    better = read["all"]["better_rival"]
    means = {method: read["all"][method]["metrics"]["psnr_db"]["mean"] for method in METHODS}
    assert better["method"] == max(RIVALS, key=lambda method: means[method])
    assert better["model_ahead_db"] == pytest.approx(means["model"] - means[better["method"]], abs=1e-3)
    for method in METHODS:
        everything = read["all"][method]
        assert everything["images"] == 7
        assert list(everything["metrics"]) == names
        assert everything["metrics"]["iou"]["images"] == 5
        assert sum(group["images"] for group in everything["by_shape"].values()) == 7
        assert sum(count for row in everything["confusion"].values() for count in row.values()) == 5
        white = read["splits"]["odd"]["images"][0]
        assert white["color_name"] == "white"
        assert white[method]["iou"] is white[method]["painted"] is None
        assert white[method]["psnr_db"] > 0


def test_the_values_of_single_images_can_be_left_out(evaluation: Evaluation, shipped: Model) -> None:
    small = document(evaluation, facts_of(shipped, Path("small.onnx"), "fit"), brief=True)
    assert "images" not in small["splits"]["clean"]
