"""Checkpoint -> model file: trace, simplify, prove, describe, and only then write."""

import base64
import hashlib
import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from polyexport import __version__
from polyexport.contract import COLOR_INPUT, COLORED, IMAGE_INPUT, METADATA_KEY, Contract, GoldenSample, Parity, Quality
from polyexport.dataset import read_pairs
from polyexport.evaluate.metrics import psnr_db
from polyexport.evaluate.predict import predict
from polyexport.export.graph import OPSET, ExportedGraph, export_graph
from polyexport.export.parity import ParityOptions, check_parity
from polyexport.export.source import Source, drawings, load_source
from polyexport.files import check_writable, write_atomic
from polyexport.image import Pixels, encode_png
from polyexport.model import Model
from polyexport.session import SessionOptions, open_session

__all__ = ["ExportResult", "export_checkpoint"]

_TOOLS = ("torch", "onnx", "onnxscript", "onnxsim")
_GOLDEN_SIZE = 64
_GOLDEN_RGB = (255, 136, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportResult:
    """A written model file."""

    output: Path
    sha256: str
    size_bytes: int
    nodes_before: int
    nodes_after: int
    parity: Parity
    quality: Quality | None


def export_checkpoint(
    checkpoint: Path,
    output: Path,
    *,
    images: Sequence[Pixels] = (),
    quality_data: Path | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> ExportResult:
    """Export a checkpoint. ``output`` gets its name only if the proof holds.

    Args:
        checkpoint: what ``polyexport train`` wrote.
        output: the model file.
        images: for the parity check; generated drawings if empty.
        quality_data: a data set whose scores go into the contract.
        report: called with one line of text after each stage.

    Raises:
        CheckpointError: the checkpoint is refused.
        ModelError: the graph cannot be exported.
        ParityError: the graph differs from the module.
        DatasetError: ``quality_data`` cannot be read.
        OutputError: the file cannot be written.
    """
    source = load_source(checkpoint)
    check_writable(output.parent)  # before minutes of work, not after
    graph = export_graph(source)
    report(f"simplified: {graph.nodes_before} -> {graph.nodes_after} nodes, opset {OPSET}, checked")
    parity = check_parity(source, graph, ParityOptions(), images=images)
    report(
        f"parity: max abs diff {parity.max_abs_diff:.3g}, {parity.uint8_equal:.4%} of 8-bit values equal, "
        f"largest 8-bit difference {parity.uint8_max_diff} "
        f"({parity.values} values: {parity.images} images x {parity.colors} colors "
        f"x batches {_listed(parity.batches)} x sizes {_listed(parity.sizes)})"
    )
    contract = Contract(
        conditioning=source.conditioning,
        palette=source.palette,
        size_multiple=source.size_multiple,
        training_size=source.training_size,
        opset=OPSET,
        versions={"polyexport": __version__, **{tool: importlib.metadata.version(tool) for tool in _TOOLS}},
        checkpoint_sha256=source.sha256,
        parity=parity,
        golden=_golden(source, graph),
    )
    if quality_data is not None:
        contract = replace(contract, quality=_quality(_packed(graph, contract), quality_data))
    data = _packed(graph, contract)
    Model.from_bytes(data, SessionOptions(provider="cpu"))  # what is written is what users can load
    write_atomic(output, data)
    return ExportResult(
        output=output,
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        nodes_before=graph.nodes_before,
        nodes_after=graph.nodes_after,
        parity=parity,
        quality=contract.quality,
    )


def _packed(graph: ExportedGraph, contract: Contract) -> bytes:
    model = graph.model
    del model.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, contract.to_json()
    return bytes(model.SerializeToString(deterministic=True))


def _golden(source: Source, graph: ExportedGraph) -> GoldenSample:
    session = open_session(graph.model.SerializeToString(), SessionOptions(provider="cpu"))
    image = drawings(1, _GOLDEN_SIZE)[0]
    rgb = source.conditioning == "rgb"
    color = np.array([_GOLDEN_RGB], dtype=np.uint8) if rgb else np.zeros(1, dtype=np.int64)
    colored = session.run(COLORED, {IMAGE_INPUT: image[None], COLOR_INPUT: color})[0]
    return GoldenSample(
        image_png=base64.b64encode(encode_png(image)).decode(),
        color=_GOLDEN_RGB if rgb else 0,
        colored_png=base64.b64encode(encode_png(colored)).decode(),
    )


def _quality(data: bytes, folder: Path) -> Quality:
    model = Model.from_bytes(data, SessionOptions(provider="cpu"))
    psnr = [psnr_db(one.colored, one.pixels.colored) for one in predict(model, read_pairs(folder))]
    return Quality(
        data=folder.resolve().name,
        images=len(psnr),
        psnr_mean_db=round(float(np.mean(psnr)), 3),
        psnr_min_db=round(min(psnr), 3),
    )


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
