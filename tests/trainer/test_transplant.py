"""A network of patches that starts from one of pixels."""

from dataclasses import replace

import pytest
import torch

from trainer.growth import check_growth
from trainer.network import ConditionalUNet, ModelConfig
from trainer.transplant import can_transplant, transplant, without_finest_level

PIXELS = ModelConfig(channels=(4, 6, 8, 10), embedding_dim=5)
PATCHES = ModelConfig(channels=(6, 8, 10), embedding_dim=5, patch=2)


def _bottleneck(model: ConditionalUNet, features: torch.Tensor, first: int) -> torch.Tensor:
    """Run the encoder from the features of the level at half of the resolution on."""
    for block in model.encoder[first:]:
        features = block(torch.nn.functional.max_pool2d(features, 2))
    return features


@torch.inference_mode()
def test_all_levels_but_the_finest_are_taken_over() -> None:
    torch.manual_seed(0)
    source = ConditionalUNet(PIXELS).eval()
    target = transplant(source, PATCHES)
    assert not target.training
    features = torch.rand(2, 6, 16, 16)
    assert torch.equal(_bottleneck(source, features, 2), _bottleneck(target, features, 1))
    color = torch.rand(2, 3)
    assert torch.equal(source.embed(color), target.embed(color))  # type: ignore[arg-type]
    for mine, own in zip(target.decoder, source.decoder, strict=False):
        assert all(
            torch.equal(a, b) for a, b in zip(mine.state_dict().values(), own.state_dict().values(), strict=True)
        )
    assert target(torch.zeros(2, 3, 32, 40), color).shape == (2, 3, 32, 40)


def test_what_can_be_transplanted() -> None:
    assert without_finest_level(PIXELS) == PATCHES
    assert can_transplant(PIXELS, PATCHES)
    for other in (replace(PATCHES, channels=(6, 8, 12)), replace(PATCHES, embedding_dim=6), PIXELS):
        assert not can_transplant(PIXELS, other)
        with pytest.raises(ValueError, match="is not"):
            transplant(ConditionalUNet(PIXELS), other)
    for source in (PATCHES, replace(PIXELS, channels=(4, 6)), replace(PIXELS, context=(4, 4))):
        with pytest.raises(ValueError, match="at least three levels"):
            without_finest_level(source)
    with pytest.raises(ValueError, match="patch 2 for 1 of the old network"):
        check_growth(PIXELS, replace(PIXELS, patch=2))
