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
def test_new_context_layers_change_nothing_and_grow_with_the_network() -> None:
    small = trained(NARROW)
    seeing_far = grow(small, replace(NARROW, context=(1, 2)))
    image, color = torch.rand(2, 3, 32, 48) * 2 - 1, torch.rand(2, 3) * 2 - 1
    assert torch.equal(seeing_far(image, color), small(image, color))

    for layer in seeing_far.context:
        torch.nn.init.uniform_(layer.get_parameter("layers.2.weight"), 5, 20)
    large = grow(seeing_far, replace(WIDE, context=(1, 2)))
    assert not torch.allclose(seeing_far(image, color), small(image, color), atol=1e-4)
    assert torch.allclose(large(image, color), seeing_far(image, color), atol=1e-5)


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


def test_other_context_layers_are_refused() -> None:
    seeing_far = ConditionalUNet(replace(NARROW, context=(1, 2)))
    for context in [(), (1, 4)]:
        with pytest.raises(ValueError, match="only widths can grow"):
            grow(seeing_far, replace(NARROW, context=context))
