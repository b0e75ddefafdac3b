"""Precision fp32: the network's own float32, with which every other precision is compared."""

from polyexport.export.precision.precision import Precision, Tolerance

__all__ = ["PRECISION"]

PRECISION = Precision(
    name="fp32",
    description="32-bit floats, for every processor",
    provider="cpu",
    tolerance=Tolerance(max_abs_diff=1e-4, uint8_max_diff=1, uint8_equal=0.999, psnr_db=70),
    node_tolerance=None,
)
