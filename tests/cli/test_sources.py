"""The images that `export` and `verify` take."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from polyexport.cli.console import console
from polyexport.cli.sources import read_images


def test_images_that_are_left_out_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("polyexport.export.proof.parity.MAX_IMAGES", 2)
    monkeypatch.setattr(console, "quiet", False)
    for number in range(3):
        Image.fromarray(np.full((4, 4, 3), number, dtype=np.uint8)).save(tmp_path / f"{number}.png")
    assert [int(image[0, 0, 0]) for image in read_images(tmp_path)] == [0, 1]
    assert capsys.readouterr().err == f"compares on the first 2 of the 3 images in {tmp_path}\n"
    (tmp_path / "2.png").unlink()
    assert len(read_images(tmp_path)) == 2
    assert read_images(None) == []
    assert capsys.readouterr().err == ""
