import io
import subprocess
import sys
import time

import numpy as np
import pytest
from color_profiles import adobe_rgb, by_littlecms, cmyk_profile, display_p3, gray_profile, rgb_table_profile
from PIL import Image

from polyexport.imaging.encoders.profile import srgb_profile, to_profile, try_profile

COLORS = np.random.default_rng(1).integers(0, 256, (20, 30, 4), dtype=np.uint8)


@pytest.mark.parametrize("profile", [display_p3(), adobe_rgb()])
@pytest.mark.parametrize("channels", [3, 4])
def test_what_is_converted_into_a_wider_profile_looks_the_same(profile: bytes, channels: int) -> None:
    pixels = COLORS[..., :channels]
    converted = to_profile(pixels, profile)
    assert converted.shape == pixels.shape
    assert np.abs(converted[..., :3].astype(int) - pixels[..., :3]).max() > 20
    assert np.array_equal(converted[..., 3:], pixels[..., 3:])
    back = by_littlecms(Image.fromarray(np.ascontiguousarray(converted[..., :3])), profile)
    away = np.abs(back.astype(int) - pixels[..., :3])
    assert (away.mean() < 0.5, away.max() <= 12) == (True, True)  # 8 bits are coarse in the dark


@pytest.mark.parametrize("channels", [1, 2])
def test_grays_go_into_a_profile_of_grays(channels: int) -> None:
    pixels = COLORS[..., -channels:]
    converted = to_profile(pixels, gray_profile(1.0))
    assert converted.shape == pixels.shape
    middle = to_profile(np.full((1, 1, 1), 128, np.uint8), gray_profile(1.0))
    assert abs(int(middle[0, 0, 0]) - 55) <= 1  # sRGB 128 has a luminance of 21.6 %
    assert np.array_equal(converted[..., 1:], pixels[..., 1:])


def test_white_and_black_stay() -> None:
    for value in (0, 255):
        assert np.all(to_profile(np.full((2, 2, 3), value, np.uint8), display_p3()) == value)


@pytest.mark.parametrize(
    ("profile", "channels", "reason"),
    [
        (cmyk_profile(), 3, "it is for CMYK images, and this one is RGB"),
        (gray_profile(2.2), 3, "it is for gray images, and this one is RGB"),
        (display_p3(), 1, "it is for RGB images, and this one is gray"),
        (b"", 3, "it has no way back from sRGB"),
        (b"no profile" * 40, 3, "it has no way back from sRGB"),
        (rgb_table_profile(), 3, "it has no way back from sRGB"),  # a table in one direction alone
    ],
)
def test_a_profile_that_cannot_be_kept_says_why(profile: bytes, channels: int, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        to_profile(COLORS[..., :channels], profile)


def test_the_profile_of_srgb_is_the_same_at_any_time() -> None:
    code = "import sys, polyexport.imaging.encoders.profile as one; sys.stdout.buffer.write(one.srgb_profile())"
    time.sleep(1.1 - time.time() % 1)  # another second than that in which this process made it
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert again == srgb_profile()
    assert np.array_equal(by_littlecms(Image.fromarray(COLORS[..., :3]), srgb_profile()), COLORS[..., :3])
    assert len(srgb_profile()) < 1000
    assert io.BytesIO(srgb_profile()).read(4) == len(srgb_profile()).to_bytes(4, "big")


def test_trying_a_profile_never_fails() -> None:
    for profile in (display_p3(), gray_profile(2.2), cmyk_profile(), rgb_table_profile(), b"", b"no profile" * 40):
        try_profile(profile)
