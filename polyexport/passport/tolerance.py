"""Largest differences of two providers that the rounding of their number formats explains.

``u`` is the unit roundoff of the coarser of the two formats: half the distance from 1 to the next number. A provider
that multiplies in a short format rounds the inputs and the output of a node to it, and adds up in float32. So one node
alone, on equal inputs, is off by a few ``u`` of the range of its values. In a whole graph such errors add up as their
squares do, so that a hundred nodes in a row have about ten times the error of one. float32 itself has other errors of
the same size: sums in another order, transformed convolutions, approximated functions.
"""

from dataclasses import dataclass

__all__ = ["FLOAT32_BITS", "Tolerance", "tolerance_for"]

FLOAT32_BITS = 23
"""Bits behind the point of a float32."""

_FP16_BITS = 10
_ROUNDINGS = 4
"""Multiples of ``u`` that one node may be off. Layers of ``small`` whose inputs, weights and outputs were rounded to
bfloat16 or fp16 were off by up to 1.4 of them."""

_DEPTH = 8
"""Growth of the error of one node in a whole graph: the square root of 64 nodes in a row."""

_FLOAT32_ALONE = 5e-5
"""Share of the range that one node in float32 may be off: a thousand times ``u``, for approximated functions. ``small``
has up to 6e-5 in the whole graph between ONNX Runtime and OpenVINO, and 2.5e-4 behind a difference of nearly equal
numbers."""

_INT8_RELATIVE = 16 / 255
"""Share of the range that values in a graph of 8-bit tensors may be off beside that: rounding turns some values into
the next step, and those into others behind them. ``small`` int8 has up to 8 of 255 between ONNX Runtime and
OpenVINO."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tolerance:
    """Largest differences of tensors on two providers. Shares are of the range of a tensor's values, with 0 in it."""

    relative: float
    """Share of the range that a tensor of floats may be off in the whole graph."""

    relative_alone: float
    """Share of the range that a tensor of floats may be off when its node runs alone, on equal inputs."""

    levels: int
    """Steps that an 8-bit tensor may be off in the whole graph."""

    levels_alone: int = 1
    """Steps that an 8-bit tensor may be off when its node runs alone: a value half-way is rounded to either side."""

    unequal: float
    """Share of integers, truth values and labels that may be unequal in the whole graph: where two values are nearly
    equal, rounding decides. Alone, none may be."""

    mean_levels: float = 0.5
    """Mean difference of the 8-bit results of the model, in levels: the limit of its golden sample."""


def tolerance_for(precision: str, bits: int) -> Tolerance:
    """Return the tolerance for a model of a precision on two providers.

    Args:
        precision: Name of the precision of the model, such as ``fp32``, ``fp16`` or ``int8``.
        bits: Bits behind the point of the shorter of the formats in which the two providers multiply float32.
    """
    if precision == "fp16":
        bits = min(bits, _FP16_BITS)
    short = _ROUNDINGS * 2.0 ** -(bits + 1)
    alone = _FLOAT32_ALONE + (short if bits < FLOAT32_BITS else 0.0)
    relative = alone * _DEPTH
    if precision == "int8":
        relative += _INT8_RELATIVE
    return Tolerance(
        relative=relative,
        relative_alone=alone,
        levels=max(1, round(255 * relative)),
        unequal=min(1.0, 4 * relative),
    )
