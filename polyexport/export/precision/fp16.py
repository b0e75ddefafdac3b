"""Precision fp16: the whole network in float16, for GPUs."""

from typing import TYPE_CHECKING

from polyexport.export.precision.precision import Conversion, NodeTolerance, Precision, QualityGate, Tolerance

if TYPE_CHECKING:
    import onnx

__all__ = ["PRECISION"]


def _convert(conversion: Conversion) -> "onnx.ModelProto":
    from polyexport.export.graph.half import half_graph

    return half_graph(conversion.fp32)


PRECISION = Precision(
    name="fp16",
    description="16-bit floats, for GPUs",
    provider="cuda",  # ONNX Runtime's CPU provider computes float16 in float32
    # 11 bits of mantissa: a value near 1 is a sixteenth of a level off in every tensor on the way.
    tolerance=Tolerance(max_abs_diff=0.2, uint8_max_diff=32, uint8_equal=0.7, psnr_db=50),
    # One step of float16 is 2^-11 of a value; errors add up over twenty layers.
    node_tolerance=NodeTolerance(relative_error=0.2, mean_levels=0.5),
    gate=QualityGate(psnr_to_fp32_db=55, psnr_loss_db=0.25, within_8_loss=5e-4),
    convert=_convert,
)
