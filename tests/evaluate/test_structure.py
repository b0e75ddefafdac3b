import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyexport.data.drawings import draw
from polyexport.evaluate.structure import ms_ssim, scales_of, ssim


def noise(seed: int, side: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def test_a_scale_holds_a_whole_window() -> None:
    assert [scales_of(side, side) for side in (10, 11, 21, 22, 43, 44, 88, 128, 175, 176, 4096)] == [
        *(0, 1, 1, 2, 2, 3, 4, 4, 4, 5, 5)
    ]
    assert scales_of(4096, 30) == 2


def test_an_image_under_the_window_has_none() -> None:
    assert np.isnan(ssim(noise(0, 10), noise(1, 10)))
    assert np.isnan(ms_ssim(noise(0, 10), noise(1, 10)))


def test_at_one_scale_both_are_the_same() -> None:
    drawing = draw(np.random.default_rng(3), 16)
    image, target = drawing.image[:15, :15], drawing.colored[:15, :15]
    assert ssim(image, target) > 0
    per_channel = [ssim(np.dstack([image[..., c]] * 3), np.dstack([target[..., c]] * 3)) for c in range(3)]
    assert ms_ssim(image, target) == pytest.approx(np.mean(np.clip(per_channel, 0, 1)), abs=1e-4)


def test_structure_hides_in_the_fine_scales() -> None:
    target = draw(np.random.default_rng(3), 128).colored
    speckled = np.clip(target + np.random.default_rng(0).normal(0, 25, target.shape), 0, 255).astype(np.uint8)
    assert ssim(speckled, target) < ms_ssim(speckled, target) < 1


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([11, 31, 64]))
def test_ranges_and_a_perfect_image(seed: int, side: int) -> None:
    image, target = noise(seed, side), noise(seed + 1, side)
    assert -1 <= ssim(image, target) < 0.9
    assert 0 <= ms_ssim(image, target) < 0.9
    assert ssim(target, target) == pytest.approx(1)
    assert ms_ssim(target, target) == pytest.approx(1)
