"""Verification of a model file against the network that it was exported from, on any execution provider."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import onnx

from polyexport import __version__
from polyexport.errors import ParityError
from polyexport.export.graph.many_colors import many_colors_graph
from polyexport.export.graph.trace import simplify
from polyexport.export.precision import REFERENCE, precision_named
from polyexport.export.precision.precision import ImageGate, Precision
from polyexport.export.proof.fidelity import DrawingTest
from polyexport.export.proof.image_test import ImageTest
from polyexport.export.proof.own_images import OwnImages
from polyexport.export.proof.parity import Candidate
from polyexport.export.proof.proof import Proof
from polyexport.export.source.source import Source
from polyexport.imaging.pixels import Pixels
from polyexport.model.certificate import Fidelity, ImageFidelity, StageParity
from polyexport.model.conditions.fields import ConditionFields
from polyexport.model.contract import Contract
from polyexport.model.model import Model
from polyexport.runtime.session import SessionOptions

__all__ = ["verify_against"]

# Another processor or provider rounds other values than the one that ran the export.
_PSNR_SLACK_DB = 0.1
_FP32_SLACK_DB = 1.0
_SSIM_SLACK = 0.002


def verify_against(
    data: bytes,
    source: Source,
    options: SessionOptions,
    *,
    images: Sequence[Pixels] | OwnImages = (),
    report: Callable[[str], None] = lambda line: None,
) -> tuple[StageParity, tuple[Fidelity, ...]]:
    """Compare a model file with a network in the same way as its export did.

    Args:
        data: Bytes of the model file.
        source: The network.
        options: Execution provider of the file; TensorFloat-32 is always off.
        images: Images, uint8 [H, W, C] each, or ``OwnImages``; generated drawings if empty.
        report: Called with one line of text after each step.

    Raises:
        ContractError: the file is refused.
        ModelError: its precision is not known, or the network cannot be traced.
        ParityError: it is of another kind of network, or differs from this one.
    """
    own = images if isinstance(images, OwnImages) else OwnImages(images=tuple(images))
    for remark in source.remarks:
        report(remark)
    options = replace(options, use_tf32=False)
    contract = Model.from_bytes(data, options).contract
    precision = precision_named(contract.precision)
    embedding = contract.color.embedding if contract.color is not None else None
    proof = Proof.of(source, "embedding" if embedding else "color", embedding=embedding, own=own, options=options)
    source = proof.source
    for name, found, expected in (
        ("conditions", tuple(map(_plain, contract.conditions)), tuple(map(_plain, source.condition_fields(embedding)))),
        *((name, getattr(contract, name), getattr(source, name)) for name in _COMPARED),
    ):
        if found != expected:
            raise ParityError(
                f"the model has {name} {str(found)[:60]}, the network {str(expected)[:60]}",
                remedy="give --against the network that it was exported from",
            )
    if contract.checkpoint_sha256 != source.sha256:
        report(f"the weights are of another file: {source.sha256[:12]}..., not {contract.checkpoint_sha256[:12]}...")
    model = onnx.load_model_from_string(data)
    candidate = proof.candidate(contract.precision, model, many_colors=contract.many_colors)
    stage = proof.check(candidate, precision)
    report(
        f"parity: max abs diff {stage.max_abs_diff:.3g}, PSNR {stage.psnr_db:.1f} dB, {stage.uint8_equal:.4%} of "
        f"{stage.values} 8-bit values equal, largest difference {stage.uint8_max_diff}"
    )
    if precision is REFERENCE:
        return stage, ()
    fp32 = simplify(proof.traced.model)
    if contract.many_colors:
        fp32 = many_colors_graph(fp32)
    reference = replace(candidate, name=REFERENCE.name, model=fp32)
    if contract.image_fidelity is not None:
        _check_images(contract, contract.image_fidelity, precision, source, reference, model, own, options, report)
        return stage, ()
    fidelity = DrawingTest(source, reference, options, result=contract.result.kind).fidelity(model)
    if faults := _faults(contract, precision, fidelity):
        raise ParityError(
            f"images are worse than the certificate says: {'; '.join(faults)}", remedy="export the network again"
        )
    worst = min(fidelity, key=lambda one: one.psnr_to_fp32_mean_db)
    report(f"fidelity: {worst.psnr_to_fp32_mean_db:.1f} dB to fp32 on {worst.data}, the least of {len(fidelity)} kinds")
    return stage, fidelity


def _check_images(
    contract: Contract,
    certified: ImageFidelity,
    precision: Precision,
    source: Source,
    fp32: Candidate,
    model: onnx.ModelProto,
    own: OwnImages,
    options: SessionOptions,
    report: Callable[[str], None],
) -> None:
    """Compare the results on images with the certificate, if these are its images, or else with the precision's gate.

    Raises:
        ParityError: they are worse.
    """
    if not own.images:
        report(f"fidelity: not compared; give --images with the {certified.images} images of the export, or others")
        return
    test = ImageTest(source, fp32, own, options, calibrated=precision.least_images > 0, result=contract.result.kind)
    found, same = test.fidelity(model), own.sha256 == certified.sha256
    gate = precision.image_gate
    if same:
        gate = ImageGate(
            psnr_db=certified.psnr_mean_db - _FP32_SLACK_DB,
            ssim=certified.ssim_mean - _SSIM_SLACK,
            agreement=(certified.agreement or 0.0) - _SSIM_SLACK,
        )
    whose = "the images of the certificate" if same else "images that are not those of the certificate"
    report(f"fidelity: {found.psnr_mean_db:.1f} dB to fp32, structural similarity {found.ssim_mean:.4f} on {whose}")
    if faults := gate.faults(found, test.kind):
        raise ParityError(f"results on {whose} are too bad: {'; '.join(faults)}", remedy="export the network again")


_COMPARED = ("image_channels", "size_multiple", "smallest_size", "training_size", "training_width", "fixed_size")


def _plain(fields: ConditionFields) -> ConditionFields:
    """Return a condition without what a rewrite of the graph adds to it."""
    return replace(fields, many_colors=False) if fields.kind == "color" else fields


def _faults(contract: Contract, precision: Precision, fidelity: Sequence[Fidelity]) -> list[str]:
    """Describe where images are worse than the certificate allows.

    Pictures of the same drawings have to be as good as they were. Fills have to pass the gate of their precision, or to
    lose no more than the certificate admits, because rounding may decide a doubtful region otherwise, and so does what
    was measured on drawings of another version.
    """
    recorded = {one.data: one for one in contract.fidelity}
    same_drawings = contract.versions.get("polyexport") == __version__ and [
        (one.data, one.images) for one in contract.fidelity
    ] == [(one.data, one.images) for one in fidelity]
    if same_drawings and contract.result.kind == "picture":
        return [
            f"{one.data}: {one.psnr_mean_db:.2f} dB, {one.psnr_to_fp32_mean_db:.1f} dB to fp32"
            for one in fidelity
            if not one.psnr_mean_db >= recorded[one.data].psnr_mean_db - _PSNR_SLACK_DB
            or not one.psnr_to_fp32_mean_db >= recorded[one.data].psnr_to_fp32_mean_db - _FP32_SLACK_DB
        ]
    gate = precision.gate
    assert gate is not None  # it belongs to a reduced precision
    admitted = [one.fp32_psnr_mean_db - one.psnr_mean_db for one in contract.fidelity]
    return replace(gate, psnr_loss_db=max([gate.psnr_loss_db, *admitted])).faults(fidelity)
