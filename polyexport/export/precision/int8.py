"""Precision int8: convolutions with 8-bit weights and activations, for CPUs."""

from typing import TYPE_CHECKING

from polyexport.export.precision.precision import (
    Conversion,
    NodeTolerance,
    Precision,
    PrecisionFlag,
    QualityGate,
    Tolerance,
)

if TYPE_CHECKING:
    import onnx

__all__ = ["PRECISION"]

_AMX = PrecisionFlag(
    name="amx",
    help="Make an int8 graph for CPUs with AMX only: weights of 8 bits instead of 7, and the kernels that use AMX.",
)

_AMX_CHANNELS = 256
"""Input channels from which on ONNX Runtime's general kernel, with AMX, is faster than its symmetric one."""


def _convert(conversion: Conversion) -> "onnx.ModelProto":
    """Quantize every Conv but those that cost the most quality and the narrow ones between them."""
    from polyexport.export.graph.borders import bridged
    from polyexport.export.graph.quantization import QuantizationOptions, calibrate, quantizable, quantize, search

    fp32, report = conversion.fp32, conversion.report
    calibration = calibrate(fp32, conversion.calibration_feeds())
    names = quantizable(fp32)
    amx = _AMX.name in conversion.flags
    options = QuantizationOptions(weight_bits=8, general_kernel_channels=_AMX_CHANNELS) if amx else None
    start = {names[0], names[-1]} if names else set()
    result = search(fp32, calibration, conversion.headroom_db, floor=0.0, start=start, options=options)
    for line in result.log:
        report(f"int8 search: headroom {line}")
    kept = bridged(fp32, result.kept_float)
    report(f"int8: {len(names) - len(kept)} of {len(names)} Conv nodes; in float: {', '.join(kept)}")
    return quantize(fp32, calibration, keep_float=kept, options=options)


PRECISION = Precision(
    name="int8",
    description="8-bit integers, for CPUs",
    provider="cpu",  # ONNX Runtime's CUDA provider does not accelerate convolutions of integers
    # Wide, because a doubtful pixel may flip: the quality gate judges what users see.
    tolerance=Tolerance(max_abs_diff=2.0, uint8_max_diff=255, uint8_equal=0.5, psnr_db=30),
    # Eight bits have steps of 2^-8 of a range that is ten times the root mean square; errors add up over twenty layers.
    node_tolerance=NodeTolerance(relative_error=4.0, mean_levels=4.0, scaled_channels=True),
    gate=QualityGate(psnr_to_fp32_db=45, psnr_loss_db=0.75, within_8_loss=2e-3),
    convert=_convert,
    flags=(_AMX,),
)
