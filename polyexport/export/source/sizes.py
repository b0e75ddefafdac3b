"""The sizes of images that a network takes: found out by running it on noise."""

import math
from dataclasses import dataclass

from polyexport.errors import UsageError
from polyexport.export.source.probe import Picked, Probe, ProbeError
from polyexport.export.source.spec import NetworkSpec
from polyexport.imaging.pixels import MAX_TRAINING_SIZE

__all__ = ["Sizes", "find_sizes"]

_MULTIPLES = (1, 2, 4, 8, 16, 32, 64)
_TRIED_SIDE = 65
"""Smallest height that a multiple is tried at, pixels."""

_FACTORS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Smallest heights that are tried, in multiples."""

_TRAINING_SIZE = 128


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """The sizes that a network takes, pixels, as ``Source`` has them."""

    multiple: int
    smallest: int
    training: int
    training_width: int = 0
    fixed: bool
    found: bool = False
    """They were found out, and not said by the user."""

    batch_one: bool
    remarks: tuple[str, ...]


def find_sizes(spec: NetworkSpec, probe: Probe, first: Picked, *, batch_one: bool) -> Sizes:
    """Find out which sizes a network takes, or check those that the user says.

    Args:
        spec: What the user says.
        probe: The network, as it will be exported.
        first: What it gave at a first size.
        batch_one: Whether it takes one image at a time.

    Raises:
        UsageError: It does not take what the user says.
    """
    remarks = ["it takes one image at a time, so the model runs so too"] if batch_one else []
    size = first.image.shape[2]
    if spec.size_multiple is not None:
        multiple = spec.size_multiple
        smallest = _smallest(probe, first, multiple)
        if not smallest:
            _expect_fit(probe, first, 2 * multiple, 3 * multiple)
            _expect_fit(probe, first, multiple, multiple)
        if smallest > multiple:
            remarks.append(f"takes no height and width below {smallest}, which was found out on noise")
        return Sizes(
            multiple=multiple,
            smallest=min(smallest, size) if smallest > multiple else 1,
            training=size,
            fixed=False,
            batch_one=batch_one,
            remarks=tuple(remarks),
        )
    if spec.size is None:
        for multiple in _MULTIPLES:
            # Odd multiples, because those of a larger one tell nothing about this one.
            count = -(-_TRIED_SIDE // multiple) | 1
            if multiple % first.scale.denominator or not _fits(probe, first, count * multiple, (count + 2) * multiple):
                continue
            smallest = _smallest(probe, first, multiple)
            if smallest:
                training = -(-max(_TRAINING_SIZE, smallest) // multiple) * multiple
                what = f"every size that is a multiple of {multiple}" if multiple > 1 else "every size"
                least = f" from {smallest}" if smallest > multiple else ""
                remarks.append(f"takes {what}{least} (else: --size-multiple N, or --size N for one size alone)")
                return Sizes(
                    multiple=multiple,
                    smallest=smallest if smallest > multiple else 1,
                    training=training,
                    fixed=False,
                    found=True,
                    batch_one=batch_one,
                    remarks=tuple(remarks),
                )
        remarks.append(f"takes {size}x{size} pixels and none of the other sizes that were tried (else: --size N)")
    return Sizes(
        multiple=math.gcd(size, spec.width or size),
        smallest=1,
        training=size,
        training_width=spec.width or 0,
        fixed=True,
        batch_one=batch_one,
        remarks=tuple(remarks),
    )


def _smallest(probe: Probe, first: Picked, multiple: int) -> int:
    """Return the smallest height and width, as far as they are tried; 0 if even the largest of these is refused."""
    for factor in _FACTORS:
        side = factor * multiple
        if side <= MAX_TRAINING_SIZE and _fits(probe, first, side, side) and _fits(probe, first, side, side + multiple):
            return side
    return 0


def _fits(probe: Probe, first: Picked, height: int, width: int) -> bool:
    try:
        _run(probe, first, height, width)
    except (ProbeError, UsageError):
        return False
    return True


def _run(probe: Probe, first: Picked, height: int, width: int) -> None:
    picked = probe.run(1, height, width)
    if (picked.key, picked.channels, picked.scale) != (first.key, first.channels, first.scale):
        shape = list(picked.tensor.shape)
        raise ProbeError(f"gave {shape}, run on an image {list(picked.image.shape)}, of another scale")


def _expect_fit(probe: Probe, first: Picked, height: int, width: int) -> None:
    try:
        _run(probe, first, height, width)
    except ProbeError as error:
        raise UsageError(
            f"{probe.network} {error}; expected an image",
            remedy=f"leave size-multiple out to export for {first.image.shape[2]}x{first.image.shape[3]} alone",
        ) from error
