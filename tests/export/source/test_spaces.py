import numpy as np
import pytest
import torch
from skimage import color

from polyexport.export.source.spaces import FROM_RGB, TO_RGB


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    """Every 51st level of each channel, and the darkest levels: [1, 3, rows, columns] in 0..1."""
    steps = torch.cat([torch.arange(0, 256, 51), torch.arange(1, 12)]) / 255
    grid = torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij")).float()
    return grid.reshape(3, len(steps), -1)[None]


def test_lab_is_that_of_scikit_image(pixels: torch.Tensor) -> None:
    lab = FROM_RGB["lab"](pixels)[0].permute(1, 2, 0).double().numpy()
    expected = color.rgb2lab(pixels[0].permute(1, 2, 0).double().numpy())
    assert np.abs(lab - expected).max() < 0.02


@pytest.mark.parametrize("space", ["lab", "ycbcr", "bgr", "rgb"])
def test_a_space_and_back(space: str, pixels: torch.Tensor) -> None:
    back = TO_RGB[space](FROM_RGB[space](pixels))
    assert float((back - pixels).abs().max()) < 0.3 / 255


def test_parts_of_spaces(pixels: torch.Tensor) -> None:
    assert torch.equal(FROM_RGB["y"](pixels), FROM_RGB["ycbcr"](pixels)[:, :1])
    assert torch.equal(torch.cat([FROM_RGB["l"](pixels), FROM_RGB["ab"](pixels)], 1), FROM_RGB["lab"](pixels))


def test_gray_has_no_color() -> None:
    gray = torch.linspace(0, 1, 64).expand(1, 3, 1, 64)
    assert FROM_RGB["ycbcr"](gray)[:, 1:].sub(0.5).abs().max() < 1e-6
    assert FROM_RGB["lab"](gray)[:, 1:].abs().max() < 0.02
