"""Drawings that a first look settles, and others, in one folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from color_settings import setting
from PIL import Image, ImageDraw

from polyexport.errors import ImageError
from polyexport.imaging.pixels import read_image
from polyexport.model.model import Model
from polyexport.pipeline.plan import Plan, make_plan
from polyexport.pipeline.results import ItemResult, RunReport

Colorize = Callable[..., tuple[RunReport, dict[str, ItemResult]]]

RED, BLUE = setting("red"), setting("#0080ff")


def plan_of(inputs: Path, tmp_path: Path) -> Plan:
    return make_plan([inputs], (RED, BLUE), output=tmp_path / "out", recursive=True)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Drawings of several sizes with and without gaps, and a blank page."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    for number, (side, gap) in enumerate([(128, 0), (128, 12), (192, 0), (70, 0), (300, 10), (128, 0), (60, 0)]):
        image = Image.new("L", (side, side), 255)
        box = [side * 0.2, side * 0.2, side * 0.8, side * 0.8]
        ImageDraw.Draw(image).arc(box, gap, 360 - gap, fill=0, width=max(2, side // 40))
        image.save(folder / f"{number}.png")
    Image.new("L", (128, 128), 255).save(folder / "blank.png")
    return folder


@pytest.mark.parametrize("batch_size", [0, 1, 3])
def test_a_folder_comes_out_as_image_by_image(
    colorize: Colorize, mixed: Path, shipped: Model, tmp_path: Path, batch_size: int
) -> None:
    report, _ = colorize(
        tmp_path / "out", plan=plan_of(mixed, tmp_path), model=shipped, size="auto", batch_size=batch_size
    )
    assert (report.written, report.failed) == (16, 0)
    for file in sorted(mixed.iterdir()):
        expected = shipped.colorize([file], ["red", "#0080ff"])[0]
        for folder, pixels in zip(("red", "0080ff"), expected, strict=True):
            [made] = [path for path in (tmp_path / "out").rglob(file.name) if folder in str(path)]
            assert np.array_equal(read_image(made).pixels, pixels)


def test_a_first_look_that_fails_costs_no_image(
    colorize: Colorize, mixed: Path, shipped: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, failed = Model.run_rows, []

    def failing(self: Model, canvases: Any, rows: Any) -> Any:
        if canvases[0].shape[0] == 64 and len(canvases) > 1:
            failed.append(len(canvases))
            raise ImageError("the look fails", remedy="look again")
        return run(self, canvases, rows)

    monkeypatch.setattr(Model, "run_rows", failing)
    report, _ = colorize(tmp_path / "out", plan=plan_of(mixed, tmp_path), model=shipped, size="auto")
    assert (report.written, report.failed) == (16, 0)
    assert failed


def test_another_size_is_another_recipe(colorize: Colorize, mixed: Path, shipped: Model, tmp_path: Path) -> None:
    plan = plan_of(mixed, tmp_path)
    colorize(tmp_path / "out", plan=plan, model=shipped, size="auto")
    assert colorize(tmp_path / "out", plan=plan, model=shipped, size="auto")[0].skipped == 8
    report, _ = colorize(tmp_path / "out", plan=plan, model=shipped, size=shipped.contract.training_size)
    assert report.skipped == 0  # which looks at every drawing at that size
