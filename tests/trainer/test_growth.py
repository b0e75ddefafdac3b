from dataclasses import replace

import pytest
import torch

from trainer.growth import grow
from trainer.network import ConditionalUNet, ModelConfig

NARROW = ModelConfig(channels=(4, 6, 8), embedding_dim=5)
WIDE = replace(NARROW, channels=(16, 12, 24))


def trained(config: ModelConfig) -> ConditionalUNet:
    torch.manual_seed(0)
    model = ConditionalUNet(config)
    for _ in range(3):
        model(torch.rand(4, 3, 32, 32) * 2 - 1, torch.rand(4, 3) * 2 - 1)
    return model.eval()


@torch.inference_mode()
def test_the_larger_network_computes_the_same() -> None:
    small = trained(NARROW)
    large = grow(small, WIDE)
    image, color = torch.rand(2, 3, 32, 48) * 2 - 1, torch.rand(2, 3) * 2 - 1

    assert large.config == WIDE
    assert not large.training
    assert torch.allclose(large(image, color), small(image, color), atol=1e-5)


def test_copies_of_a_channel_learn_different_things() -> None:
    large = grow(trained(NARROW), WIDE).train()
    large(torch.rand(2, 3, 32, 32), torch.rand(2, 3)).square().mean().backward()
    gradient = large.get_parameter("encoder.1.3.weight").grad  # outputs 0 and 1 are copies of one channel
    assert gradient is not None
    assert not torch.allclose(gradient[0], gradient[1], rtol=1e-4)


@torch.inference_mode()
def test_the_deepest_levels_become_a_context_and_stay_one() -> None:
    small = trained(replace(NARROW, channels=(4, 6, 8, 8, 8)))
    image, color = torch.rand(2, 3, 32, 48) * 2 - 1, torch.rand(2, 3) * 2 - 1
    with_context = grow(small, replace(NARROW, channels=(8, 6, 24), context=(8, 8, 8)))
    assert torch.allclose(with_context(image, color), small(image, color), atol=1e-5)
    wider = grow(with_context, replace(NARROW, channels=(16, 12, 48), context=(8, 8, 8)))
    assert torch.allclose(wider(image, color), small(image, color), atol=1e-5)


def test_the_same_configuration_is_the_same_network() -> None:
    small = trained(NARROW)
    assert grow(small, NARROW) is small


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (replace(NARROW, channels=(4, 7, 8)), "must be multiples"),
        (replace(NARROW, channels=(4, 6, 4)), "must be multiples"),
        (replace(NARROW, channels=(4, 6, 8, 8)), "only widths can grow"),
        (replace(NARROW, embedding_dim=6), "only widths can grow"),
        (replace(NARROW, conditioning="vocabulary", palette=(("red", (255, 0, 0)),)), "only widths can grow"),
    ],
)
def test_what_cannot_grow_is_refused(config: ModelConfig, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        grow(trained(NARROW), config)


@pytest.mark.parametrize("context", [(), (8, 8, 6), (8, 8)])
def test_another_context_is_refused(context: tuple[int, ...]) -> None:
    old = replace(NARROW, context=(8, 8, 8))
    channels = (4, 6, 8, *((8,) * (3 - max(len(context), 1))))
    with pytest.raises(ValueError, match="the context must be"):
        grow(ConditionalUNet(old), replace(NARROW, channels=channels, context=context))
