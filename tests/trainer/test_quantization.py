"""Training under the rounding of an int8 export."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from trainer.batches import SizedBatch
from trainer.checkpoint import load_checkpoint
from trainer.config import TrainConfig
from trainer.network import ConditionalUNet, ModelConfig
from trainer.quantization import RoundedConv2d, round_like_int8
from trainer.train import train

CONFIG = ModelConfig(channels=(4, 6, 8), embedding_dim=5)


def test_what_is_rounded_is_that_of_an_integer_convolution() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
    rounded = RoundedConv2d(conv).train()
    features = torch.rand(2, 3, 6, 5) * torch.tensor([0.1, 1.0, 7.0])[:, None, None]
    made = rounded(features)

    ranges = features.amax(dim=(0, 2, 3))
    assert rounded.ranges is not None
    assert torch.equal(rounded.ranges, ranges)
    inputs = torch.round(features / ranges[:, None, None] * 255)  # 8 bits for every channel
    scaled = conv.weight.detach() * ranges[:, None, None]
    steps = scaled.abs().amax(dim=(1, 2, 3)) / 63
    weights = torch.round(scaled / steps[:, None, None, None])  # 7 bits for every kernel
    assert np.abs(weights.numpy()).max() == 63
    expected = nn.functional.conv2d(inputs, weights, padding=1) * steps[:, None, None] / 255
    assert torch.allclose(made, expected, atol=1e-4)


def test_all_but_the_first_convolution_and_the_head_are_rounded_and_keep_their_weights() -> None:
    model = ConditionalUNet(CONFIG)
    before, weights = copy.deepcopy(model), dict(model.named_parameters())
    round_like_int8(model)
    assert list(model.state_dict()) == list(before.state_dict())
    assert all(weights[name] is parameter for name, parameter in model.named_parameters())
    kinds = [type(layer) for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    assert kinds == [nn.Conv2d, *[RoundedConv2d] * (len(kinds) - 2), nn.Conv2d]

    image, color = torch.rand(2, 3, 16, 16) * 2 - 1, torch.rand(2, 3)
    difference = (model.train()(image, color) - before.train()(image, color)).abs().max()
    assert 0 < difference < 0.5
    model(image, color).square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_training_under_rounding_writes_a_checkpoint_like_any_other(tmp_path: Path) -> None:
    config = TrainConfig(
        output=tmp_path / "a.safetensors",
        model=CONFIG,
        mix=(SizedBatch(size=16, batch_size=2),),
        size=16,
        steps=2,
        workers=0,
        quantize=True,
        freeze_norm=0,
    )
    train(config)
    checkpoint = load_checkpoint(config.output)
    assert checkpoint.training["options"]["quantize"] is True
    assert not any(isinstance(layer, RoundedConv2d) for layer in checkpoint.model.modules())
    assert train(replace(config, steps=3), resume=True).steps == 3
    with pytest.raises(ValueError, match="fixed statistics"):
        replace(config, freeze_norm=0.5)
