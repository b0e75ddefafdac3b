import math

import pytest
import torch

from trainer.losses import ColoringLoss, EdgePyramidLoss, LossConfig


def test_the_loss_is_the_weighted_sum_of_its_terms() -> None:
    torch.manual_seed(0)
    prediction, target = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
    difference = prediction - target
    expected = difference.abs().mean() + 0.5 * difference.square().mean() + 0.1 * EdgePyramidLoss()(prediction, target)
    assert torch.isclose(ColoringLoss(LossConfig())(prediction, target), expected)


def test_the_loss_of_this_pair_is_known() -> None:
    """A constant offset of 0.5 has no edges, so only L1 and L2 contribute."""
    loss = ColoringLoss(LossConfig())(torch.full((1, 3, 16, 16), 0.5), torch.zeros(1, 3, 16, 16))
    assert loss.item() == pytest.approx(0.5 + 0.5 * 0.25)


def test_a_shifted_edge_costs_more_than_the_same_error_spread_out() -> None:
    target = torch.zeros(1, 3, 32, 32)
    target[..., 16:] = 1
    shifted = torch.zeros_like(target)
    shifted[..., 17:] = 1
    spread = target + (shifted - target).abs().mean()
    perceptual = EdgePyramidLoss()
    assert perceptual(shifted, target) > 5 * perceptual(spread, target)


def test_the_psnr_term_is_the_psnr_and_weights_all_images_alike() -> None:
    target = torch.zeros(2, 3, 16, 16)
    prediction = torch.stack([torch.full((3, 16, 16), 0.2), torch.full((3, 16, 16), 0.02)]).requires_grad_()
    term = ColoringLoss(LossConfig(psnr=1)).terms(prediction, target)["psnr"]
    term.backward()

    # A range of 2 has a peak of 10 log10(4) dB.
    psnr = 10 * torch.log10(4 / prediction.detach().square().mean(dim=(1, 2, 3)))
    assert term.item() == pytest.approx(10 * math.log10(4) - psnr.mean().item(), abs=0.02)
    assert prediction.grad is not None
    large, small = prediction.grad.flatten(1).norm(dim=1).tolist()
    assert small == pytest.approx(10 * large, rel=0.01)  # a tenth of the error, ten times the slope


@pytest.mark.parametrize("values", [{"l1": -1.0}, {"l1": 0.0, "l2": 0.0, "perceptual": 0.0}])
def test_impossible_weights_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="weights"):
        LossConfig(**values)
