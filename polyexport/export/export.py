"""A network -> a model file: trace, simplify, rewrite, prove every stage, describe, and only then write."""

import base64
import hashlib
import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from polyexport import __version__
from polyexport.data.pairs import read_pairs
from polyexport.errors import ParityError
from polyexport.evaluate.predict import predict
from polyexport.export.graph.borders import bridged
from polyexport.export.graph.many_colors import many_colors_graph
from polyexport.export.graph.trace import OPSET, simplify
from polyexport.export.precision.fp16 import half_graph
from polyexport.export.precision.int8 import Int8Options, calibrate, quantizable, quantize, search
from polyexport.export.precision.speed import Speed, compare_speed
from polyexport.export.proof.fidelity import Gate, ImageGate, calibration_feeds, gate_of
from polyexport.export.proof.parity import CPU_OPTIONS, Candidate
from polyexport.export.proof.proof import Proof
from polyexport.export.source.trainer_checkpoint import Source, drawings
from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.pixels import Pixels
from polyexport.imaging.psnr import psnr_db
from polyexport.model.conditions.fields import ColorInput
from polyexport.model.contract import (
    COLORED,
    IMAGE_INPUT,
    METADATA_KEY,
    Contract,
    Fidelity,
    GoldenSample,
    Parity,
    Precision,
    Quality,
    StageParity,
)
from polyexport.model.model import Model
from polyexport.runtime.onnx_bytes import graph_sha256
from polyexport.runtime.open import open_session
from polyexport.runtime.probe import probe_provider
from polyexport.runtime.provider import all_providers
from polyexport.storage.files import check_writable, write_atomic

__all__ = ["ExportOptions", "ExportResult", "export_source"]

Report = Callable[[str], None]

_TOOLS = ("torch", "onnx", "onnxscript", "onnxsim", "numpy")
_AMX_CHANNELS = 256  # from which on ONNX Runtime's general kernel, with AMX, beats its symmetric one
_GOLDEN_SIZE = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportOptions:
    """What kind of graph is made."""

    precision: Precision = "fp32"
    color_input: ColorInput = "color"
    many_colors: bool = False
    """One image in several colours per run."""

    min_speedup: float = 1.0
    """Least speed of a reduced precision in units of the fp32 graph's, where its provider works; 0 to accept any."""

    max_loss_db: float | None = None
    """Largest loss of PSNR by a reduced precision on any kind of drawing; None for the usual one of ``GATES``."""

    amx: bool = False
    """int8 for CPUs with AMX alone: weights of 8 bits instead of 7, and the kernels that use it."""

    def __post_init__(self) -> None:
        if not self.min_speedup >= 0 or not (self.max_loss_db is None or 0 < self.max_loss_db <= 20):
            raise ValueError(f"min_speedup must not be negative, max_loss_db above 0 and up to 20, got {self}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportResult:
    """A written model file."""

    output: Path
    sha256: str
    size_bytes: int
    precision: Precision
    nodes_before: int
    """Before simplification."""

    nodes_after: int
    parity: Parity
    fidelity: tuple[Fidelity, ...]
    speed: Speed | None
    """Beside the fp32 graph; None for fp32 itself."""

    quality: Quality | None


def export_source(
    source: Source,
    output: Path,
    options: ExportOptions | None = None,
    *,
    images: Sequence[Pixels] = (),
    quality_data: Path | None = None,
    report: Report = lambda line: None,
) -> ExportResult:
    """Export a network. ``output`` gets its name only if every proof holds.

    Args:
        source: see ``load_source`` and ``load_network``.
        output: the model file.
        options: what kind of graph.
        images: for the parity check; generated drawings if empty.
        quality_data: a data set whose scores go into the contract.
        report: called with one line of text after each stage.

    Raises:
        ModelError: the graph cannot be exported.
        ParityError: a stage differs from the module, or a reduced precision costs too much or does not pay.
        DatasetError: ``quality_data`` cannot be read.
        OutputError: the file cannot be written.
    """
    options = options or ExportOptions()
    check_writable(output.parent)  # before minutes of work, not after
    proof = Proof.of(source, options.color_input, images=images)
    stages: list[StageParity] = []

    def prove(candidate: Candidate, precision: Precision = "fp32") -> Candidate:
        stage = proof.check(candidate, precision)
        stages.append(stage)
        report(_stage_line(stage))
        return candidate

    prove(proof.candidate("raw", proof.traced.model))
    final = prove(proof.candidate("simplified", simplify(proof.traced.model)))
    nodes_after = len(final.model.graph.node)
    if options.many_colors:
        final = prove(proof.candidate("palette", many_colors_graph(final.model), many_colors=True))
    fidelity: tuple[Fidelity, ...] = ()
    speed: Speed | None = None
    if options.precision != "fp32":
        judge = ImageGate(source, final, proof.encode)
        gate = gate_of(options.precision, options.max_loss_db)
        if options.precision == "fp16":
            model = half_graph(final.model)
        else:
            model = _int8(proof, final, lambda graph: judge.headroom_db(graph, gate), options, report)
        reduced = replace(final, name=options.precision, model=model)
        fidelity = judge.fidelity(model)
        _check_fidelity(gate, fidelity, options.precision, report)
        speed = _speed(final, reduced, judge, options, report)
        final = prove(reduced, options.precision)

    model = final.model
    parity = proof.parity(stages)
    contract = Contract(
        conditioning=source.conditioning,
        palette=source.palette,
        color_input=proof.condition.fields.color_input,
        embedding=proof.condition.fields.embedding,
        many_colors=options.many_colors,
        size_multiple=source.size_multiple,
        training_size=source.training_size,
        fixed_size=source.fixed_size,
        precision=options.precision,
        opset=OPSET,
        versions={
            "polyexport": __version__,
            "onnxruntime": ort.__version__,
            **{tool: importlib.metadata.version(tool) for tool in _TOOLS},
        },
        network=source.network,
        checkpoint_sha256=source.sha256,
        graph_sha256=graph_sha256(_packed(model, None)),
        parity=parity,
        fidelity=fidelity,
        golden=_golden(proof, final),
    )
    if quality_data is not None:
        contract = replace(contract, quality=_quality(_packed(model, contract), quality_data))
    data = _packed(model, contract)
    Model.from_bytes(data, CPU_OPTIONS)  # what is written is what users can load
    write_atomic(output, data)
    return ExportResult(
        output=output,
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        precision=options.precision,
        nodes_before=stages[0].nodes,
        nodes_after=nodes_after,
        parity=parity,
        fidelity=fidelity,
        speed=speed,
        quality=contract.quality,
    )


def _stage_line(stage: StageParity) -> str:
    return (
        f"{stage.name}: {stage.nodes} nodes, max abs diff {stage.max_abs_diff:.3g}, PSNR {stage.psnr_db:.1f} dB, "
        f"{stage.uint8_equal:.4%} of {stage.values} 8-bit values equal, largest difference {stage.uint8_max_diff}"
    )


def _int8(
    proof: Proof,
    fp32: Candidate,
    headroom_db: Callable[[onnx.ModelProto], float],
    options: ExportOptions,
    report: Report,
) -> onnx.ModelProto:
    calibration = calibrate(fp32.model, calibration_feeds(proof.source, fp32, proof.encode))
    names = quantizable(fp32.model)
    kind = Int8Options(weight_bits=8, general_kernel_channels=_AMX_CHANNELS) if options.amx else Int8Options()
    start = {names[0], names[-1]} if names else set()
    result = search(fp32.model, calibration, headroom_db, floor=0.0, start=start, options=kind)
    for line in result.log:
        report(f"int8 search: headroom {line}")
    kept = bridged(fp32.model, result.kept_float)
    report(f"int8: {len(names) - len(kept)} of {len(names)} Conv nodes; in float: {', '.join(kept)}")
    return quantize(fp32.model, calibration, keep_float=kept, options=kind)


def _check_fidelity(gate: Gate, fidelity: tuple[Fidelity, ...], precision: Precision, report: Report) -> None:
    faults = gate.faults(fidelity)
    for one in fidelity:
        report(
            f"{precision} on {one.data}: {one.psnr_to_fp32_mean_db:.1f} dB to fp32, {one.psnr_mean_db:.2f} dB to the "
            f"truth where fp32 has {one.fp32_psnr_mean_db:.2f}"
        )
    if faults:
        raise ParityError(
            f"{precision} costs too much: {', '.join(faults)}",
            remedy="nothing was written; export with another --precision",
        )


def _speed(fp32: Candidate, reduced: Candidate, judge: ImageGate, options: ExportOptions, report: Report) -> Speed:
    meant = next(each.name for each in all_providers() if options.precision in each.judged_precisions)
    judged = probe_provider(meant).works
    speed = compare_speed(fp32.model, reduced.model, judge.feeds(1), meant if judged else "cpu")
    line = (
        f"{options.precision}: {speed.ratio:.2f} times the speed of fp32 on {speed.execution_provider} at batch 1 "
        f"({speed.candidate_ms:.2f} ms, fp32 {speed.fp32_ms:.2f} ms)"
    )
    if not judged:
        report(f"{line}; it is made for {meant}, which does not work here, so this does not count")
    elif speed.ratio < options.min_speedup:
        raise ParityError(
            f"{line}, less than {options.min_speedup:g}",
            remedy="nothing was written; export with --precision fp32, or accept it with --min-speedup 0",
        )
    else:
        report(line)
    return speed


def _packed(model: onnx.ModelProto, contract: Contract | None) -> bytes:
    """The file's bytes. Only the metadata differ between two contracts."""
    del model.metadata_props[:]
    if contract is not None:
        entry = model.metadata_props.add()
        entry.key, entry.value = METADATA_KEY, contract.to_json()
    return bytes(model.SerializeToString(deterministic=True))


def _golden(proof: Proof, final: Candidate) -> GoldenSample:
    source = proof.source
    side = (
        source.training_size if source.fixed_size else -(-_GOLDEN_SIZE // source.size_multiple) * source.size_multiple
    )
    image = drawings(1, max(16, side))[0][:side, :side]
    color = proof.condition.golden_value()
    row = proof.condition.encode(color)[None]
    session = open_session(final.model.SerializeToString(), CPU_OPTIONS)
    feeds = {IMAGE_INPUT: image[None], final.color_name: row[:, None] if final.many_colors else row}
    colored = session.run(COLORED, feeds).reshape(image.shape)
    return GoldenSample(
        image_png=base64.b64encode(encode_png(image)).decode(),
        color=color,
        colored_png=base64.b64encode(encode_png(colored)).decode(),
    )


def _quality(data: bytes, folder: Path) -> Quality:
    model = Model.from_bytes(data, CPU_OPTIONS)
    psnr = [psnr_db(one.colored, one.pixels.colored) for one in predict(model, read_pairs(folder))]
    return Quality(
        data=folder.resolve().name,
        images=len(psnr),
        psnr_mean_db=round(float(np.mean(psnr)), 3),
        psnr_min_db=round(min(psnr), 3),
    )
