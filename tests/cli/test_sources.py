"""The images that `export` and `verify` take."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from polyexport.cli.console import console
from polyexport.cli.sources import read_images
from polyexport.errors import UsageError
from polyexport.export.source.source import Source
from polyexport.model.conditions.fields import ConditionFields, ImageFields, NumberFields


def source_of(*conditions: ConditionFields, channels: int = 3) -> Source:
    return Source(
        module=torch.nn.Identity(),
        conditions=conditions,
        image_channels=channels,
        size_multiple=1,
        training_size=64,
        network="test",
        sha256="0" * 64,
    )


INPAINTING = source_of(ImageFields(name="mask", channels=1), NumberFields(name="sigma", minimum=0, maximum=9))


def save(folder: Path, name: str, level: int, size: tuple[int, int] = (4, 4)) -> None:
    folder.mkdir(exist_ok=True)
    Image.fromarray(np.full((*size, 3), level, dtype=np.uint8)).save(folder / name)


def test_images_that_are_left_out_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("polyexport.export.proof.parity.MAX_IMAGES", 2)
    monkeypatch.setattr(console, "quiet", False)
    for number in range(3):
        save(tmp_path, f"{number}.png", number)
    found = read_images(source_of(), tmp_path).images
    assert [int(image[0, 0, 0]) for image in found] == [0, 1]
    assert capsys.readouterr().err == f"compares on the first 2 of the 3 images in {tmp_path}\n"
    assert len(read_images(source_of(), tmp_path, limit=3).images) == 3
    assert read_images(source_of(), None).images == ()
    assert capsys.readouterr().err == ""


def test_images_have_the_channels_of_the_network_and_second_pictures_their_names(tmp_path: Path) -> None:
    for number in range(2):
        save(tmp_path / "in", f"{number}.png", 10 + number)
    save(tmp_path / "masks", "0.png", 200)
    save(tmp_path / "masks", "1.jpg", 100)
    masks = f"mask={tmp_path / 'masks'}"
    own = read_images(INPAINTING, tmp_path / "in", pictures=[masks], assignments=["sigma=2", "sigma=3"])
    assert [image.shape for image in own.pictures["mask"]] == [(4, 4, 1), (4, 4, 1)]
    assert [int(image[0, 0, 0]) for image in own.pictures["mask"]] == [200, 100]
    assert [setting.values for setting in own.settings] == [(2.0,), (3.0,)]
    assert read_images(source_of(channels=1), tmp_path / "in").images[0].shape == (4, 4, 1)


def test_large_images_are_cut(tmp_path: Path) -> None:
    save(tmp_path, "large.png", 1, (3000, 40))
    assert read_images(source_of(), tmp_path).images[0].shape == (2048, 40, 3)


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        (["mask"], "'mask' is not NAME=DIR"),
        (["other=masks"], "the network has no second picture 'other'; it takes mask"),
        (["mask=nowhere"], "nowhere is not a folder"),
        (["mask=empty"], "empty has no picture for 0.png"),
        (["mask=large"], "0.png: 8x8 pixels, .*0.png has 4x4"),
    ],
)
def test_second_pictures_that_do_not_fit_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "in", "0.png", 1)
    save(tmp_path / "large", "0.png", 1, (8, 8))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=message) as caught:
        read_images(INPAINTING, tmp_path / "in", pictures=pictures)
    assert caught.value.remedy


def test_pictures_without_images_and_values_of_no_condition_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--with was given without --images"):
        read_images(INPAINTING, None, pictures=[f"mask={tmp_path}"])
    with pytest.raises(UsageError, match="no condition 'gamma'"):
        read_images(INPAINTING, None, assignments=["gamma=1"])
