import re
from dataclasses import replace
from typing import Any

import pytest
import torch

from trainer.growth import check_growth, grow
from trainer.network import ConditionalUNet, ModelConfig

NARROW = ModelConfig(channels=(4, 6, 8), embedding_dim=5)
WIDE = replace(NARROW, channels=(16, 12, 24))
RED = (("red", (255, 0, 0)),)


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


DEEP = replace(NARROW, channels=(4, 6, 8, 8, 8))
WITH_CONTEXT = replace(NARROW, channels=(4, 6, 8), context=(8, 8, 8))


@pytest.mark.parametrize(
    ("old", "weight"),
    [
        (NARROW, "encoder.1.3.weight"),
        *((old, f"{module}.weight") for old in (DEEP, WITH_CONTEXT) for module in ("encoder.2.3", "widening")),
    ],
)
def test_copies_of_a_channel_learn_different_things(old: ModelConfig, weight: str) -> None:
    context = () if old is NARROW else (8, 8, 8)
    large = grow(trained(old), replace(WIDE, context=context)).train()
    large(torch.rand(2, 3, 32, 32), torch.rand(2, 3)).square().mean().backward()
    gradient = large.get_parameter(weight).grad  # outputs 0 and 1 are copies of one channel
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
        (
            replace(NARROW, channels=(4, 6, 8, 8)),
            "got levels 4 (4, 6, 8, 8) for 3 (4, 6, 8) of the old network: give the same, or start from random weights",
        ),
        (replace(NARROW, embedding_dim=6), "got embedding_dim 6 for 5 of the old network: give"),
        (replace(NARROW, conditioning="vocabulary", palette=RED), "got conditioning vocabulary for rgb of the old"),
        (
            replace(NARROW, channels=(8, 12), embedding_dim=6),
            "got levels 2 (8, 12) for 3 (4, 6, 8) of the old network, embedding_dim 6 for 5 of the old network:",
        ),
    ],
)
def test_what_cannot_grow_is_refused(config: ModelConfig, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        grow(trained(NARROW), config)


@pytest.mark.parametrize(
    ("palette", "said"),
    [
        ((("red", (255, 0, 1)),), "palette color 0 ('red', (255, 0, 1)) for ('red', (255, 0, 0)) of"),
        ((*RED, ("blue", (0, 0, 255))), "palette color 1 ('blue', (0, 0, 255)) for None of"),
    ],
)
def test_another_palette_is_refused(palette: tuple[tuple[str, tuple[int, int, int]], ...], said: str) -> None:
    old = replace(NARROW, conditioning="vocabulary", palette=RED)
    with pytest.raises(ValueError, match=re.escape(said)):
        check_growth(old, replace(old, palette=palette))


@pytest.mark.parametrize("values", [{"conditioning": "none"}, {"conditioning": "label", "labels": ("a", "b")}])
@torch.inference_mode()
def test_networks_without_colors_grow(values: dict[str, Any]) -> None:
    torch.manual_seed(1)
    small = ConditionalUNet(replace(NARROW, **values)).eval()
    wide = grow(small, replace(small.config, channels=(8, 12, 24)))
    given = (torch.rand(2, 3, 16, 16), *((torch.tensor([0, 1]),) if "labels" in values else ()))
    assert torch.allclose(wide(*given), small(*given), atol=1e-5)
    with pytest.raises(ValueError, match=f"got conditioning rgb for {values['conditioning']} of the old network"):
        check_growth(small.config, NARROW)


def test_other_labels_are_refused() -> None:
    old = replace(NARROW, conditioning="label", labels=("a", "b"))
    with pytest.raises(ValueError, match="got label 1 c for b of the old network"):
        check_growth(old, replace(old, labels=("a", "c")))


@pytest.mark.parametrize("context", [(), (8, 8, 6), (8, 8)])
def test_another_context_is_refused(context: tuple[int, ...]) -> None:
    old = replace(NARROW, context=(8, 8, 8))
    channels = (4, 6, 8, *((8,) * (3 - max(len(context), 1))))
    with pytest.raises(ValueError, match="the context must be"):
        grow(ConditionalUNet(old), replace(NARROW, channels=channels, context=context))
