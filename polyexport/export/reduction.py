"""The step of an export that makes a graph of a reduced precision, and asks for its quality and its speed."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import onnx

from polyexport.errors import ParityError, UsageError
from polyexport.export.precision import REFERENCE
from polyexport.export.precision.precision import (
    Conversion,
    ImageGate,
    LayerSensitivity,
    Precision,
    QualityGate,
    Reduced,
)
from polyexport.export.proof.fidelity import DrawingTest
from polyexport.export.proof.image_test import ImageTest
from polyexport.export.proof.local_cause import layer_of
from polyexport.export.proof.own_images import OwnImages, drawn_images
from polyexport.export.proof.parity import Candidate
from polyexport.export.proof.proof import Proof
from polyexport.export.proof.speed import Speed, compare_speed
from polyexport.export.source.source import TRAINER, Source
from polyexport.model.certificate import Fidelity, ImageFidelity
from polyexport.model.contract import COLORED
from polyexport.model.result import ResultKind
from polyexport.runtime.probe import probe_provider

__all__ = ["Demands", "Reduction", "check_images", "needs_images", "reduce_precision"]

_DRAWN_IMAGES = 16
_LEAST_JUDGED = 16
"""Images from which on they take the place of drawings for a network that drawings can be generated for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Demands:
    """Demands on a reduced precision; see ``ExportOptions``."""

    result: ResultKind | None = None
    min_speedup: float = 1.0
    max_loss_db: float | None = None
    min_psnr_db: float | None = None
    flags: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Reduction:
    """A graph of a reduced precision, and its figures."""

    candidate: Candidate
    fidelity: tuple[Fidelity, ...]
    """Comparison with fp32 on generated drawings of each kind; empty if it was compared on images."""

    image_fidelity: ImageFidelity | None
    """Comparison with fp32 on images; None if it was compared on generated drawings."""

    speed: Speed
    layers: tuple[LayerSensitivity, ...]


def needs_images(source: Source) -> bool:
    """Tell whether no drawings can be generated on which a network could be judged."""
    return source.output_name != COLORED


def check_images(source: Source, precision: Precision, count: int) -> None:
    """Refuse a precision that has to be calibrated on images of the user's, if there are too few; before any work.

    Raises:
        UsageError: There are fewer than the precision needs.
    """
    if needs_images(source) and count < precision.least_images:
        raise UsageError(
            f"{precision.name} of such a network is calibrated and judged on {precision.least_images} or more of your "
            f"images, got {count}",
            remedy="give a folder of images as the network gets them with --images DIR",
        )


def reduce_precision(
    proof: Proof,
    fp32: Candidate,
    precision: Precision,
    own: OwnImages,
    demands: Demands,
    report: Callable[[str], None],
) -> Reduction:
    """Make a graph of a reduced precision, and compare its results and its speed with those of the fp32 graph.

    A network that takes a color and makes an RGB picture is compared on generated drawings, whose true pictures are
    known; one that is not the trainer's on the user's images, if there are enough. Every other network is compared on
    the user's images, or, where the precision can do without, on generated drawings as mere images.

    Raises:
        ModelError: The graph cannot be converted.
        ParityError: It loses too much quality, or is too slow.
    """
    judge = _judge(proof.source, fp32, precision, own, demands, report)
    conversion = Conversion(
        fp32=fp32.model,
        calibration_feeds=judge.test.calibration_feeds,
        headroom_db=judge.headroom_db,
        probe_feeds=judge.test.probe_feeds,
        output=fp32.output,
        flags=demands.flags,
        report=report,
    )
    assert precision.convert is not None  # it is not the reference
    reduced = _named(precision.convert(conversion), proof)
    candidate = replace(fp32, name=precision.name, model=reduced.model)
    verdict = judge.verdict(reduced)
    for line in verdict.lines:
        report(f"{precision.name} {line}")
    if verdict.faults:
        raise ParityError(
            f"{precision.name} loses too much quality: {', '.join(verdict.faults)}",
            remedy=f"nothing was written; export with another --precision, or accept the loss with {judge.option}",
        )
    speed = _speed(fp32, candidate, judge, precision, demands.min_speedup, report)
    return Reduction(
        candidate=candidate,
        fidelity=verdict.fidelity,
        image_fidelity=verdict.image_fidelity,
        speed=speed,
        layers=reduced.layers,
    )


def _named(reduced: Reduced, proof: Proof) -> Reduced:
    """Name the submodules that the layers of a graph belong to."""
    made = {node.name: node.output[0] for node in proof.traced.model.graph.node}
    layers = tuple(
        replace(layer, layer=layer_of(proof.traced.program, made[layer.name])) if layer.name in made else layer
        for layer in reduced.layers
    )
    return replace(reduced, layers=layers)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Verdict:
    lines: tuple[str, ...]
    faults: tuple[str, ...]
    fidelity: tuple[Fidelity, ...] = ()
    image_fidelity: ImageFidelity | None = None


@dataclass(frozen=True, slots=True)
class _ByDrawings:
    test: DrawingTest
    gate: QualityGate
    option: ClassVar[str] = "--max-loss"

    def headroom_db(self, model: onnx.ModelProto) -> float:
        return self.test.headroom_db(model, self.gate)

    def verdict(self, reduced: Reduced) -> _Verdict:
        found = self.test.fidelity(reduced.model)
        lines = tuple(
            f"on {one.data}: {one.psnr_to_fp32_mean_db:.1f} dB to fp32, {one.psnr_mean_db:.2f} dB to the truth where "
            f"fp32 has {one.fp32_psnr_mean_db:.2f}"
            for one in found
        )
        return _Verdict(lines=lines, faults=tuple(self.gate.faults(found)), fidelity=found)


@dataclass(frozen=True, slots=True)
class _ByImages:
    test: ImageTest
    gate: ImageGate
    option: ClassVar[str] = "--min-psnr"

    def headroom_db(self, model: onnx.ModelProto) -> float:
        return self.test.headroom_db(model, self.gate)

    def verdict(self, reduced: Reduced) -> _Verdict:
        in_float = tuple(layer.name for layer in reduced.layers if not layer.reduced)
        found = replace(
            self.test.fidelity(reduced.model),
            float_layers=in_float,
            reduced_layers=len(reduced.layers) - len(in_float),
        )
        line = (
            f"on {found.images} images: {found.psnr_mean_db:.1f} dB to fp32 (least {found.psnr_min_db:.1f}), "
            f"structural similarity {found.ssim_mean:.4f} (least {found.ssim_min:.4f})"
        )
        if found.agreement is not None:
            line += f", agreement of {self.test.kind} {found.agreement:.4f}"
        faults = tuple(self.gate.faults(found, self.test.kind))
        return _Verdict(lines=(line,), faults=faults, image_fidelity=found)


def _judge(
    source: Source,
    fp32: Candidate,
    precision: Precision,
    own: OwnImages,
    demands: Demands,
    report: Callable[[str], None],
) -> _ByDrawings | _ByImages:
    if not needs_images(source) and (source.network == TRAINER or len(own.images) < _LEAST_JUDGED):
        gate = precision.gate
        assert gate is not None  # it belongs to the conversion
        if demands.max_loss_db is not None:
            gate = replace(gate, psnr_loss_db=demands.max_loss_db)
        return _ByDrawings(DrawingTest(source, fp32, result=demands.result), gate)
    if not own.images:
        own = drawn_images(source, _DRAWN_IMAGES)
        report(f"{precision.name} is judged on {_DRAWN_IMAGES} generated drawings; give your own images with --images")
    image_gate = precision.image_gate
    if demands.min_psnr_db is not None:
        image_gate = replace(image_gate, psnr_db=demands.min_psnr_db)
    test = ImageTest(source, fp32, own, calibrated=precision.least_images > 0, result=demands.result)
    return _ByImages(test, image_gate)


def _speed(
    fp32: Candidate,
    reduced: Candidate,
    judge: _ByDrawings | _ByImages,
    precision: Precision,
    min_speedup: float,
    report: Callable[[str], None],
) -> Speed:
    works = probe_provider(precision.provider).works
    provider = precision.provider if works else REFERENCE.provider
    speed = compare_speed(fp32.model, reduced.model, judge.test.feeds(1), provider)
    line = (
        f"{precision.name}: {speed.ratio:.2f} times the speed of fp32 on {speed.execution_provider} at batch 1 "
        f"({speed.candidate_ms:.2f} ms, fp32 {speed.fp32_ms:.2f} ms, median of {speed.rounds} calls each)"
    )
    if not works:
        report(f"{line}; it is made for {precision.provider}, which does not work here, so this does not count")
    elif speed.ratio < min_speedup:
        raise ParityError(
            f"{line}, less than {min_speedup:g}",
            remedy=f"nothing was written; export with --precision {REFERENCE.name}, or accept it with --min-speedup 0",
        )
    else:
        report(line)
    return speed
