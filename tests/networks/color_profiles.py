"""ICC profiles for tests, written by this file: of screens, gray, printing presses, and of what no image has."""

import io
import struct
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

Floats = NDArray[np.float64]
Chromaticities = Sequence[tuple[float, float]]

D50 = np.array([0.9642, 1.0, 0.8249])
_D65 = (0.3127, 0.3290)
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])

SRGB_PRIMARIES: Chromaticities = [(0.64, 0.33), (0.30, 0.60), (0.15, 0.06)]
P3_PRIMARIES: Chromaticities = [(0.680, 0.320), (0.265, 0.690), (0.150, 0.060)]
ADOBE_RGB_PRIMARIES: Chromaticities = [(0.64, 0.33), (0.21, 0.71), (0.15, 0.06)]


def srgb_curve(entries: int = 1024) -> Floats:
    """The curve of sRGB (IEC 61966-2-1), 0 to 1."""
    value = np.linspace(0, 1, entries)
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def profile(space: bytes, tags: Mapping[bytes, bytes], *, kind: bytes = b"mntr", pcs: bytes = b"XYZ ") -> bytes:
    """A profile of version 2.4 with these tags, a description and a white point."""
    text = b"a profile for tests\0"
    description = b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78)
    entries = {b"desc": description, b"cprt": b"text" + bytes(4) + b"none\0", b"wtpt": _xyz(D50)} | dict(tags)
    start, table, body = 128 + 4 + 12 * len(entries), b"", b""
    for name, data in entries.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I4sI4s4s4s", start + len(body), bytes(4), 0x02400000, kind, space, pcs)
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _fixed(D50) + bytes(48)
    return header + struct.pack(">I", len(entries)) + table + body


def _fixed(values: Floats) -> bytes:
    return np.rint(np.asarray(values) * 65536).astype(">i4").tobytes()


def _xyz(values: Floats) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(values)


def curve(values: float | Floats) -> bytes:
    """A gamma, or a table of values of 0 to 1."""
    if isinstance(values, float):
        return b"curv" + bytes(4) + struct.pack(">IH", 1, round(values * 256)) + bytes(2)
    return b"curv" + bytes(4) + struct.pack(">I", len(values)) + np.rint(values * 65535).astype(">u2").tobytes()


def rgb_profile(primaries: Chromaticities, tone: float | Floats, *, kind: bytes = b"mntr") -> bytes:
    """A profile of primaries (x, y), white of D65 and one curve."""

    def xyz(x: float, y: float) -> Floats:
        return np.array([x / y, 1.0, (1 - x - y) / y])

    columns = np.stack([xyz(*each) for each in primaries], axis=1)
    columns = columns * np.linalg.solve(columns, xyz(*_D65))
    cones = (_BRADFORD @ D50) / (_BRADFORD @ xyz(*_D65))
    adapted = np.linalg.inv(_BRADFORD) @ (cones[:, None] * (_BRADFORD @ columns))
    tags = {name: _xyz(adapted[:, index]) for index, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    return profile(b"RGB ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve(tone)), kind=kind)


def srgb_profile() -> bytes:
    """A usual sRGB profile of version 2, with a table of 1024 values."""
    return rgb_profile(SRGB_PRIMARIES, srgb_curve())


def display_p3() -> bytes:
    """Display P3, which phones write."""
    return rgb_profile(P3_PRIMARIES, srgb_curve())


def adobe_rgb() -> bytes:
    """Adobe RGB (1998)."""
    return rgb_profile(ADOBE_RGB_PRIMARIES, 563 / 256)


def gray_profile(tone: float | Floats) -> bytes:
    """A profile of gray images."""
    return profile(b"GRAY", {b"kTRC": curve(tone)})


def lut16(channels: int, grid: int, color: Callable[[Floats], Floats]) -> bytes:
    """A table of Lab colors: ``color`` takes [N, channels], 0 to 1, and gives Lab [N, 3]."""
    axes = np.meshgrid(*[np.linspace(0, 1, grid)] * channels, indexing="ij")
    lab = color(np.stack([axis.ravel() for axis in axes], axis=1))
    encoded = np.stack([lab[:, 0] * 652.8, (lab[:, 1] + 128) * 256, (lab[:, 2] + 128) * 256], axis=1)
    table = np.clip(np.rint(encoded), 0, 65535).astype(">u2").tobytes()
    linear = struct.pack(">HH", 0, 65535)
    head = b"mft2" + bytes(4) + struct.pack(">BBBx", channels, 3, grid) + _fixed(np.eye(3)) + struct.pack(">HH", 2, 2)
    return head + linear * channels + table + linear * 3


def _ink(cmyk: Floats) -> Floats:
    """Lab of inks on paper that are duller than those of a screen."""
    cyan, magenta, yellow, black = (1 - 0.95 * cmyk**0.8).T
    lightness = 8 + 88 * black * (0.45 + 0.55 * cyan) * (0.4 + 0.6 * magenta) * (0.9 + 0.1 * yellow)
    green_red = 60 * (cyan - magenta) * black + 5 * (1 - yellow) * black
    blue_yellow = (45 * (cyan - 1) - 10 * (magenta - 1) * -1 + 75 * (1 - yellow)) * black
    return np.stack([lightness, green_red, blue_yellow], axis=1)


def cmyk_profile() -> bytes:
    """A profile of a printing press, by a table."""
    return profile(b"CMYK", {b"A2B0": lut16(4, 7, _ink)}, kind=b"prtr", pcs=b"Lab ")


def rgb_table_profile() -> bytes:
    """A profile of an RGB scanner, by a table."""

    def color(rgb: Floats) -> Floats:
        red, green, blue = rgb.T
        return np.stack([100 * rgb.mean(axis=1), 90 * (red - green), 80 * (green - blue)], axis=1)

    return profile(b"RGB ", {b"A2B0": lut16(3, 9, color)}, kind=b"scnr", pcs=b"Lab ")


def lab_profile(kind: bytes) -> bytes:
    """A profile of LAB images that turns every color a little; of class ``abst`` it is an abstract profile."""
    return profile(
        b"Lab ",
        {
            b"A2B0": lut16(
                3,
                9,
                lambda value: np.stack(
                    [90 * value[:, 0], 255 * value[:, 1] - 128, 200 * value[:, 2] - 100],
                    axis=1,
                ),
            )
        },
        kind=kind,
        pcs=b"Lab ",
    )


def by_littlecms(image: Image.Image, icc: bytes) -> NDArray[np.uint8]:
    """The conversion of an image to sRGB that littlecms makes by itself, uint8 [H, W, 3]."""
    converted = ImageCms.profileToProfile(image, io.BytesIO(icc), ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None
    return np.asarray(converted)
