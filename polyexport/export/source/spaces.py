"""Color spaces as formulas on float tensors, so that they can stand inside of a graph.

sRGB and Lab are those of IEC 61966-2-1 and CIE 15 with the white of D65; YCbCr is that of JFIF:
BT.601 on the full range. Shapes: [B, C, H, W].
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

__all__ = ["FROM_RGB", "TO_RGB", "WHOLE"]

_WHITE = (0.95047, 1.0, 1.08883)
_RGB_TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
_XYZ_TO_RGB = (
    (3.2404542, -1.5371385, -0.4985314),
    (-0.9692660, 1.8760108, 0.0415560),
    (0.0556434, -0.2040259, 1.0572252),
)
_EPSILON, _KAPPA = (6 / 29) ** 3, (29 / 3) ** 3


def _mixed(image: Tensor, matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    """Multiply the channels of an image with a matrix."""
    red, green, blue = image.unbind(1)
    return torch.stack([red * row[0] + green * row[1] + blue * row[2] for row in matrix], dim=1)


def _ycbcr(rgb: Tensor) -> Tensor:
    red, green, blue = rgb.unbind(1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return torch.stack([luma, (blue - luma) / 1.772 + 0.5, (red - luma) / 1.402 + 0.5], dim=1)


def _rgb_of_ycbcr(ycbcr: Tensor) -> Tensor:
    luma, blue, red = ycbcr.unbind(1)
    blue, red = blue - 0.5, red - 0.5
    return torch.stack(
        [luma + 1.402 * red, luma - (0.114 * 1.772 * blue + 0.299 * 1.402 * red) / 0.587, luma + 1.772 * blue], dim=1
    )


def _lab(rgb: Tensor) -> Tensor:
    # Both branches are computed, so the one that is not taken has to stay finite.
    linear = torch.where(rgb > 0.04045, ((rgb.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = _mixed(linear, _RGB_TO_XYZ).unbind(1)
    scaled = torch.stack([each / white for each, white in zip(xyz, _WHITE, strict=True)], dim=1)
    curved = torch.where(scaled > _EPSILON, scaled.clamp(min=_EPSILON) ** (1 / 3), (_KAPPA * scaled + 16) / 116)
    x, y, z = curved.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def _rgb_of_lab(lab: Tensor) -> Tensor:
    lightness, a, b = lab.unbind(1)
    y = (lightness + 16) / 116
    curved = torch.stack([y + a / 500, y, y - b / 200], dim=1)
    cube = curved**3
    scaled = torch.where(cube > _EPSILON, cube, (116 * curved - 16) / _KAPPA)
    xyz = torch.stack([each * white for each, white in zip(scaled.unbind(1), _WHITE, strict=True)], 1)
    linear = _mixed(xyz, _XYZ_TO_RGB).clamp(0, 1)
    return torch.where(linear > 0.0031308, 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055, 12.92 * linear)


def _turned(image: Tensor) -> Tensor:
    return image.flip(1)


def _same(image: Tensor) -> Tensor:
    return image


WHOLE: Mapping[str, str] = {"y": "ycbcr", "l": "lab", "ab": "lab"}
"""Name of some channels of a space -> the name of the space."""

FROM_RGB: Mapping[str, Callable[[Tensor], Tensor]] = {
    "rgb": _same,
    "bgr": _turned,
    "ycbcr": _ycbcr,
    "y": lambda rgb: _ycbcr(rgb)[:, :1],
    "lab": _lab,
    "l": lambda rgb: _lab(rgb)[:, :1],
    "ab": lambda rgb: _lab(rgb)[:, 1:],
}
"""Name of a space -> the function that gives its channels of an RGB image in 0..1; Y, Cb and Cr are in
0..1, L is in 0..100."""

TO_RGB: Mapping[str, Callable[[Tensor], Tensor]] = {
    "rgb": _same,
    "bgr": _turned,
    "ycbcr": _rgb_of_ycbcr,
    "lab": _rgb_of_lab,
}
"""Name of a whole space -> the function that gives the RGB image in 0..1 of it."""
