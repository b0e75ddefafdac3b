"""Export of a network to a model file: trace, simplify, rewrite, prove every stage, describe, and only then write."""

import base64
import hashlib
import importlib.metadata
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from polyexport import __version__
from polyexport.data.pairs import read_pairs
from polyexport.errors import UsageError
from polyexport.evaluate.predict import predict
from polyexport.export.graph.inlining import opset_of
from polyexport.export.graph.many_colors import many_colors_graph
from polyexport.export.graph.trace import simplify
from polyexport.export.precision import PRECISIONS, REFERENCE
from polyexport.export.precision.precision import LayerSensitivity, Precision
from polyexport.export.proof.examples import example_images, picture_for, placed
from polyexport.export.proof.locality import find_locality
from polyexport.export.proof.narrowing import proven_trace
from polyexport.export.proof.own_images import OwnImages
from polyexport.export.proof.parity import CPU_OPTIONS, Candidate
from polyexport.export.proof.proof import Proof
from polyexport.export.proof.speed import Speed
from polyexport.export.reduction import Demands, Reduction, check_images, reduce_precision
from polyexport.export.source.source import Source
from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.pixels import Pixels, to_channels
from polyexport.imaging.psnr import psnr_db
from polyexport.model.certificate import Fidelity, ImageFidelity, Parity, Quality, StageParity
from polyexport.model.conditions.fields import ColorInput, ConditionValue
from polyexport.model.contract import COLORED, IMAGE_INPUT, METADATA_KEY, RESULT, Contract
from polyexport.model.golden import GoldenSample
from polyexport.model.loading.limits import DEFAULT_LIMITS
from polyexport.model.loading.verdicts import remember
from polyexport.model.locality import Locality
from polyexport.model.model import Model
from polyexport.model.result import ResultKind
from polyexport.model.samples import SAMPLES_KEY, fitting_samples, read_samples, samples_json
from polyexport.model.signature import SigningKey, signature_path
from polyexport.runtime.graph_limits import refuse_unbounded
from polyexport.runtime.onnx_bytes import graph_sha256
from polyexport.runtime.open import open_session
from polyexport.storage.files import check_output_file, write_together

__all__ = ["ExportOptions", "ExportResult", "export_source"]

_TOOLS = ("torch", "onnx", "onnxscript", "onnxsim", "numpy")
_GOLDEN_SIZE = 64
_GOLDEN_SAMPLES = 6
_LEAST_GOLDEN_SAMPLES = 3
_GOLDEN_PIXELS = _GOLDEN_SAMPLES * _GOLDEN_SIZE**2
"""Pixels of the samples of a network that takes larger images alone, from the least number of samples on: whoever
verifies the file waits for each of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportOptions:
    """Choices between the graphs that one network can be exported as, and what a reduced precision must reach."""

    precision: str = REFERENCE.name
    """Name of a precision in the registry."""

    color_input: ColorInput = "color"
    """Second input of the graph: the color, or its embedding."""

    many_colors: bool = False
    """The graph takes several colors of one image in a run."""

    result: ResultKind | None = None
    """Kind of the network's output: a picture, or a fill with one color on white; None for what the source says."""

    min_speedup: float = 1.0
    """Smallest accepted speed of a reduced precision relative to fp32, on the provider that the precision is meant for,
    if that provider works here; 0 accepts any speed."""

    max_loss_db: float | None = None
    """Largest accepted loss of PSNR by a reduced precision on any kind of drawing, dB; None for the default of the
    precision's quality gate."""

    min_psnr_db: float | None = None
    """Smallest accepted mean PSNR of a reduced precision against fp32 on the user's images, dB; None for the default of
    the precision's gate for images."""

    flags: frozenset[str] = frozenset()
    """Names of the given ``PrecisionFlag``s; a precision ignores those of others."""

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}")
        if not self.min_speedup >= 0 or not (self.max_loss_db is None or 0 < self.max_loss_db <= 20):
            raise ValueError(f"min_speedup must not be negative, max_loss_db above 0 and up to 20, got {self}")
        if not (self.min_psnr_db is None or 0 < self.min_psnr_db <= 100):
            raise ValueError(f"min_psnr_db must be above 0 and up to 100, got {self.min_psnr_db}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportResult:
    """A written model file, and the figures of its proof."""

    output: Path
    """Path of the model file."""

    sha256: str
    """SHA-256 of the model file, lowercase hex."""

    size_bytes: int
    precision: str
    """Name of the precision in the registry."""

    nodes_before: int
    """Number of nodes of the graph before it is simplified."""

    nodes_after: int
    """Number of nodes of the simplified fp32 graph."""

    parity: Parity
    """Comparison of every stage with the PyTorch model."""

    fidelity: tuple[Fidelity, ...]
    """Comparison of a reduced precision with fp32 on each kind of drawing; empty for fp32."""

    image_fidelity: ImageFidelity | None
    """Comparison of a reduced precision with fp32 on images; None for fp32, and if generated drawings were compared."""

    layers: tuple[LayerSensitivity, ...]
    """Layers that a reduced precision could reduce: which of them it did, and what each costs; empty for fp32."""

    speed: Speed | None
    """Speed of a reduced precision relative to fp32; None for fp32."""

    quality: Quality | None
    """Scores on the data set of ``quality_data``; None without one."""

    locality: Locality | None
    """Locality of the network; None if it takes images of one size alone."""

    signature: Path | None
    """Path of the file's signature; None if it was not signed."""

    weights_key: str
    """Name of the set of weights that was taken from the file of weights; ``.`` is the whole file."""

    remarks: tuple[str, ...]
    """Lines about the weights: which were taken, what was left out, what was converted."""


def export_source(
    source: Source,
    output: Path,
    options: ExportOptions | None = None,
    *,
    images: Sequence[Pixels] | OwnImages = (),
    quality_data: Path | None = None,
    signing_key: SigningKey | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> ExportResult:
    """Export a network. ``output`` gets its name only if every proof holds.

    Args:
        source: The network, from ``load_source``.
        output: Path of the model file.
        options: The kind of graph; the defaults of ``ExportOptions`` if None.
        images: Images, uint8 [H, W, C] each, for the parity check, the golden samples, and what a reduced precision is
            calibrated and judged on; ``OwnImages`` with their second pictures and settings. Generated drawings if
            empty.
        quality_data: Folder of a data set whose scores go into the contract.
        signing_key: Private key that signs the file; its signature is written beside it, see ``signature_path``.
        report: Called with one line of text after each stage.

    Returns:
        The written file and the figures of its proof.

    Raises:
        ModelError: The graph cannot be exported.
        ParityError: A stage differs from the module, or a reduced precision loses too much quality or is too slow.
        DatasetError: ``quality_data`` cannot be read.
        OutputError: The file cannot be written.
    """
    options = options or ExportOptions()
    own = images if isinstance(images, OwnImages) else OwnImages(images=tuple(images))
    check_images(source, PRECISIONS[options.precision], len(own.images))
    for file in (output, *((signature_path(output),) if signing_key is not None else ())):
        check_output_file(file)  # before minutes of work, not after
    for remark in source.remarks:
        report(remark)
    if (options.many_colors or options.color_input == "embedding") and source.output_name != COLORED:
        raise UsageError(
            "a palette graph or one that takes embeddings needs a network that makes an RGB picture of an RGB image "
            "and a color, at one size",
            remedy="leave out --palette and --color-input",
        )
    proof, raw = proven_trace(source, options.color_input, own, report)
    source = proof.source
    stages = [raw]
    report(_stage_line(raw))

    def prove(candidate: Candidate, precision: Precision = REFERENCE, *, least: bool = False) -> Candidate:
        stage = proof.check(candidate, precision, least=least)
        stages.append(stage)
        report(_stage_line(stage))
        return candidate

    simplified = simplify(proof.traced.model)
    refuse_unbounded(simplified.SerializeToString())  # what no load would accept; before minutes of work
    final = prove(proof.candidate("simplified", simplified), least=options.many_colors)
    nodes_after = len(final.model.graph.node)
    if options.many_colors:
        final = prove(proof.candidate("palette", many_colors_graph(final.model), many_colors=True))
    precision = PRECISIONS[options.precision]
    reduction: Reduction | None = None
    if precision.convert is not None:
        demands = Demands(
            result=options.result,
            min_speedup=options.min_speedup,
            max_loss_db=options.max_loss_db,
            min_psnr_db=options.min_psnr_db,
            flags=options.flags,
        )
        reduction = reduce_precision(proof, final, precision, own, demands, report)
        final = prove(reduction.candidate, precision)

    locality = None
    if source.output_name == RESULT:  # the others are run at one size
        locality = find_locality(source, final, own.images)
    if locality is not None:
        report(f"locality: {locality.describe()}")
    model = final.model
    golden = _golden(proof, final, own)
    parity = proof.parity(stages)
    contract = Contract(
        image_channels=source.image_channels,
        conditions=tuple(
            replace(condition.fields, many_colors=True) if options.many_colors else condition.fields
            for condition in proof.conditions
        ),
        result=replace(source.result, kind=options.result) if options.result else source.result,
        output_name=source.output_name,
        size_multiple=source.size_multiple,
        smallest_size=source.smallest_size,
        training_size=source.training_size,
        training_width=source.training_width,
        fixed_size=source.fixed_size,
        batch_one=source.batch_one,
        precision=options.precision,
        opset=opset_of(model),
        versions={
            "polyexport": __version__,
            "onnxruntime": ort.__version__,
            **{tool: importlib.metadata.version(tool) for tool in _TOOLS},
        },
        network=source.network,
        checkpoint_sha256=source.sha256,
        graph_sha256=graph_sha256(_packed(model, None)),
        parity=parity,
        fidelity=reduction.fidelity if reduction else (),
        image_fidelity=reduction.image_fidelity if reduction else None,
        golden=golden[0],
        locality=locality,
    )
    if quality_data is not None:
        contract = replace(contract, quality=_quality(_packed(model, contract), quality_data))
    data = _packed(model, contract, fitting_samples(golden[1:], contract.version))
    loaded = Model.from_bytes(data, CPU_OPTIONS)  # what is written is what users can load and verify
    for sample in read_samples(data):
        loaded.repeat_golden(sample)
    files = {output: data}
    if signing_key is not None:  # the signature gets its name first, so that a new model is never without it
        files = {signature_path(output): signing_key.sign(data, name=output.name), **files}
    write_together(files)
    sha256 = hashlib.sha256(data).hexdigest()
    remember(sha256, DEFAULT_LIMITS.granted(len(data)))  # nobody else made it, so it needs no check on this machine
    return ExportResult(
        output=output,
        sha256=sha256,
        size_bytes=len(data),
        precision=options.precision,
        nodes_before=stages[0].nodes,
        nodes_after=nodes_after,
        parity=parity,
        fidelity=contract.fidelity,
        image_fidelity=contract.image_fidelity,
        layers=reduction.layers if reduction else (),
        speed=reduction.speed if reduction else None,
        quality=contract.quality,
        locality=locality,
        signature=signature_path(output) if signing_key is not None else None,
        weights_key=source.weights_key,
        remarks=source.remarks,
    )


def _stage_line(stage: StageParity) -> str:
    return (
        f"{stage.name}: {stage.nodes} nodes, max abs diff {stage.max_abs_diff:.3g}, PSNR {stage.psnr_db:.1f} dB, "
        f"{stage.uint8_equal:.4%} of {stage.values} 8-bit values equal, largest difference {stage.uint8_max_diff}"
    )


def _packed(model: onnx.ModelProto, contract: Contract | None, samples: Sequence[GoldenSample] = ()) -> bytes:
    """Serialize a model file; two contracts of one graph differ in its metadata only."""
    entries = {} if contract is None else {METADATA_KEY: contract.to_json()}
    if samples and contract is not None:
        entries[SAMPLES_KEY] = samples_json(samples, contract.version)
    del model.metadata_props[:]
    for key, value in entries.items():
        model.metadata_props.add(key=key, value=value)
    return bytes(model.SerializeToString(deterministic=True))


def _golden(proof: Proof, final: Candidate, own: OwnImages) -> list[GoldenSample]:
    """Return golden samples on different images under different settings; every load repeats the first one."""
    source = proof.source
    least = max(_GOLDEN_SIZE, source.smallest_size)
    side = -(-least // source.size_multiple) * source.size_multiple
    height, width = source.fixed_shape or (side, side)
    count = min(_GOLDEN_SAMPLES, max(_LEAST_GOLDEN_SAMPLES, _GOLDEN_PIXELS // (height * width)))
    seen = example_images(source, own.images[:count], height, width, count)
    values = [
        itertools.cycle(condition.golden_values()) if condition.textual else None for condition in proof.conditions
    ]
    session = open_session(final.model.SerializeToString(), CPU_OPTIONS)
    samples: list[GoldenSample] = []
    for number, image in enumerate(seen):
        given: list[ConditionValue] = []
        feeds = {IMAGE_INPUT: image[None]}
        for condition, cycle in zip(proof.conditions, values, strict=True):
            if cycle is not None:
                given.append(next(cycle))
            else:
                given_pictures = own.pictures.get(condition.name)
                channels = condition.fields.channels
                picture = (
                    placed(source, to_channels(given_pictures[number], channels), height, width)
                    if given_pictures
                    else picture_for(image, number, channels)
                )
                given.append(base64.b64encode(encode_png(picture)).decode())
            row = condition.encode(given[-1])[None]
            feeds[condition.name] = row[:, None] if final.many_colors else row
        result = session.run(final.output, feeds)
        samples.append(
            GoldenSample(
                image_png=base64.b64encode(encode_png(image)).decode(),
                values=tuple(given),
                result_png=base64.b64encode(encode_png(result.reshape(result.shape[-3:]))).decode(),
            )
        )
    return samples


def _quality(data: bytes, folder: Path) -> Quality:
    model = Model.from_bytes(data, CPU_OPTIONS)
    psnr = [psnr_db(one.colored, one.pixels.colored) for one in predict(model, read_pairs(folder))]
    return Quality(
        data=folder.resolve().name,
        images=len(psnr),
        psnr_mean_db=round(float(np.mean(psnr)), 3),
        psnr_min_db=round(min(psnr), 3),
    )
