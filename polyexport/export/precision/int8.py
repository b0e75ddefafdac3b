"""Precision int8: convolutions with 8-bit weights and activations, for CPUs."""

from polyexport.export.precision.precision import (
    Conversion,
    ImageGate,
    LayerSensitivity,
    NodeTolerance,
    Precision,
    PrecisionFlag,
    QualityGate,
    Reduced,
    Tolerance,
)

__all__ = ["PRECISION"]

_AMX = PrecisionFlag(
    name="amx",
    help="Make an int8 graph for CPUs with AMX only: weights of 8 bits instead of 7, and the kernels that use AMX.",
)

_SHOWN = 8  # layers in the report's line; its JSON has all

_AMX_CHANNELS = 256
"""Input channels from which on ONNX Runtime's general kernel, with AMX, is faster than its symmetric one."""


def _convert(conversion: Conversion) -> Reduced:
    """Quantize every Conv but those that cost the most quality and the narrow ones between them."""
    from polyexport.errors import ModelError
    from polyexport.export.graph.borders import bridged
    from polyexport.export.graph.layer_noise import layer_sensitivity
    from polyexport.export.graph.layer_search import search
    from polyexport.export.graph.quantization import (
        QuantizationOptions,
        calibrate,
        measured,
        quantizable,
        quantize,
        with_names,
    )
    from polyexport.imaging.psnr import psnr_db_of_mse

    fp32, report = with_names(conversion.fp32), conversion.report
    every = quantizable(fp32)
    calibration = calibrate(fp32, conversion.calibration_feeds()) if every else None
    names = measured(fp32, calibration) if calibration else ()
    if calibration is None or not names:
        raise ModelError(
            "the network has no convolution of the image with constant weights, and nothing else computes in 8 bits",
            remedy="nothing was written; export with another --precision",
        )
    amx = _AMX.name in conversion.flags
    options = QuantizationOptions(weight_bits=8, general_kernel_channels=_AMX_CHANNELS) if amx else None
    costs = layer_sensitivity(
        fp32, calibration, names, conversion.probe_feeds(), conversion.output, weight_bits=8 if amx else 7
    )
    alone = {name: round(psnr_db_of_mse(cost), 2) for name, cost in costs.items()}
    worst = sorted(names, key=lambda name: alone[name])[:_SHOWN]
    report(f"int8: most sensitive: {', '.join(f'{name} ({alone[name]:.1f} dB to fp32 alone)' for name in worst)}")
    start = set(every) - set(names) | ({names[0], names[-1]} if len(names) > 2 else set())
    result = search(fp32, calibration, conversion.headroom_db, costs, floor=0.0, start=start, options=options)
    for line in result.log:
        report(f"int8 search: headroom {line}")
    kept = bridged(fp32, result.kept_float)
    report(f"int8: {len(every) - len(kept)} of {len(every)} Conv nodes; in float: {', '.join(kept) or 'none'}")
    return Reduced(
        model=quantize(fp32, calibration, keep_float=kept, options=options),
        layers=tuple(
            LayerSensitivity(name=name, reduced=name not in kept, psnr_to_fp32_db=alone.get(name)) for name in every
        ),
    )


PRECISION = Precision(
    name="int8",
    description="8-bit integers, for CPUs",
    provider="cpu",  # ONNX Runtime's CUDA provider does not accelerate convolutions of integers
    # Wide, because a doubtful pixel may flip: the quality gate judges what users see.
    tolerance=Tolerance(max_abs_diff=2.0, uint8_max_diff=255, uint8_equal=0.5, psnr_db=30),
    # Eight bits have steps of 2^-8 of a range that is ten times the root mean square; errors add up over twenty layers.
    node_tolerance=NodeTolerance(relative_error=4.0, mean_levels=4.0, scaled_channels=True),
    gate=QualityGate(psnr_to_fp32_db=45, psnr_loss_db=0.75, within_8_loss=2e-3),
    # Two and a half levels in the mean, which nobody sees on a picture; see ImageGate for what it costs.
    image_gate=ImageGate(psnr_db=40, ssim=0.97, agreement=0.98),
    least_images=16,  # half of which calibrate
    convert=_convert,
    flags=(_AMX,),
)
