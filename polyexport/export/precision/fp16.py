"""Precision fp16: the whole network in float16, for GPUs."""

from polyexport.export.precision.precision import (
    Conversion,
    ImageGate,
    LayerSensitivity,
    NodeTolerance,
    Precision,
    QualityGate,
    Reduced,
    Tolerance,
)

__all__ = ["PRECISION"]


_LAYERS = frozenset(("Conv", "ConvTranspose", "Gemm", "MatMul"))


def _convert(conversion: Conversion) -> Reduced:
    from polyexport.export.graph.half import half_graph

    model = half_graph(conversion.fp32)
    layers = tuple(
        LayerSensitivity(name=node.name, reduced=True) for node in model.graph.node if node.op_type in _LAYERS
    )
    return Reduced(model=model, layers=layers)


PRECISION = Precision(
    name="fp16",
    description="16-bit floats, for GPUs",
    provider="cuda",  # ONNX Runtime's CPU provider computes float16 in float32
    # 11 bits of mantissa: a value near 1 is a sixteenth of a level off in every tensor on the way.
    tolerance=Tolerance(max_abs_diff=0.2, uint8_max_diff=32, uint8_equal=0.7, psnr_db=50),
    # One step of float16 is 2^-11 of a value; errors add up over twenty layers.
    node_tolerance=NodeTolerance(relative_error=0.2, mean_levels=0.5),
    gate=QualityGate(psnr_to_fp32_db=55, psnr_loss_db=0.25, within_8_loss=5e-4),
    # One level of 255 is 48 dB: nothing that is seen may change, and of masks and labels hardly a pixel.
    image_gate=ImageGate(psnr_db=50, ssim=0.995, agreement=0.995),
    convert=_convert,
)
