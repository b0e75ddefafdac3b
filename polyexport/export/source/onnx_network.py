"""A source of the kind "ONNX file": a network that another exporter wrote, read as untrusted data.

What it was trained with is lost, so a proof compares with the file itself, run by ONNX Runtime on the CPU.
"""

import dataclasses
from dataclasses import replace
from typing import Any

import numpy as np
import onnxruntime as ort

from polyexport.errors import ModelError, UsageError
from polyexport.export.graph.foreign_bounds import takes_levels
from polyexport.export.source.discover import discover
from polyexport.export.source.forward import bind
from polyexport.export.source.onnx_file import OnnxFile, read_onnx_file
from polyexport.export.source.onnx_module import OnnxModule, argument_names
from polyexport.export.source.onnx_trial import Reading, noise, read_shapes
from polyexport.export.source.source import Source
from polyexport.export.source.spec import NetworkSpec
from polyexport.imaging.pixels import MAX_TRAINING_SIZE
from polyexport.model.conditions.fields import ColorFields

__all__ = ["load_onnx_network"]

_LEVELS = (0.0, 255.0)
_OF_PYTORCH = ("weights_key", "arguments", "embedding", "embedding_dim", "embedding_table")
"""Fields of ``NetworkSpec`` that say something about a module and its weights."""

_FLOAT16_TOLERANCE = 0.05
"""Largest difference between a float16 file and its graph in float32, relative to the largest value."""


def load_onnx_network(spec: NetworkSpec) -> Source:
    """Read an ONNX file, and find out by trial runs what nobody said about it.

    Args:
        spec: What the user says; its ``weights`` is the path of the file.

    Raises:
        ModelError: The file is refused: damaged, with data in other files, or with operators that are not ONNX's own.
        UsageError: It gives no image, or leaves a choice to the user; the message has the option.
    """
    for field in dataclasses.fields(spec):
        if field.name in _OF_PYTORCH and getattr(spec, field.name):
            raise UsageError(
                f"{field.name.replace('_', '-')} does not go with an ONNX file",
                remedy="leave it out: the file holds it",
            )
    file = read_onnx_file(spec.weights)
    reading = read_shapes(
        file,
        image=_file_name(file, spec.image_argument),
        layout=spec.layout,
        output=spec.output_key,
        size=spec.size,
        size_multiple=spec.size_multiple,
    )
    names = argument_names(file)
    levels = _takes_levels(file, reading, spec)
    spec = replace(
        spec,
        network=file.path.name,
        image_argument=names[reading.image.name],
        conditions=tuple(replace(each, argument=names.get(each.argument, each.argument)) for each in spec.conditions),
        output_key="",
        value_range=_LEVELS if levels else spec.value_range,
        **_sizes(file, reading, spec.size_multiple),
    )
    module = OnnxModule(file, reading).eval()
    call = bind(spec, module, names_colors=False)
    color = ColorFields(conditioning=spec.conditioning or ("vocabulary" if spec.colors else "rgb"), palette=spec.colors)
    fields = tuple(
        each.fields() or replace(color, name="" if each.name == "color" else each.name) for each in call.conditions
    )
    source = discover(spec, module, call, fields, sha256=file.sha256)
    return replace(
        source,
        reference=f"ONNX Runtime {ort.__version__}, CPU, {'float32, ' if file.float16_session else ''}{file.path.name}",
        remarks=(*_remarks(file, reading, levels=levels), *source.remarks),
    )


def _file_name(file: OnnxFile, argument: str) -> str:
    """Return the name of an input in the file; users may give the one that Python allows."""
    return {name: own for own, name in argument_names(file).items()}.get(argument, argument)


def _takes_levels(file: OnnxFile, reading: Reading, spec: NetworkSpec) -> bool:
    """Tell whether a file shows that its image is in 0..255, and nobody said otherwise."""
    if spec.value_range or spec.mean or spec.std or spec.input_space in ("lab", "l"):
        return False
    return reading.image.dtype == "uint8" or takes_levels(file.model, reading.image.name)


def _sizes(file: OnnxFile, reading: Reading, multiple: int | None) -> dict[str, Any]:
    """Return the fields of the spec for a file that takes one size."""
    if reading.fixed_shape is None:
        return {}
    if multiple is not None:
        raise UsageError(
            f"{file.path} takes its image as {reading.image}, of one size, and not multiples of {multiple}",
            remedy="leave --size-multiple out",
        )
    height, width = reading.fixed_shape
    if max(height, width) > MAX_TRAINING_SIZE:
        raise ModelError(
            f"{file.path} takes images of {width}x{height} pixels alone, expected up to {MAX_TRAINING_SIZE}",
            remedy="export it again with dynamic height and width, or for a smaller size",
        )
    return {"size": height, "width": width if width != height else None}


def _remarks(file: OnnxFile, reading: Reading, *, levels: bool) -> tuple[str, ...]:
    remarks = [
        f"took its input {reading.image} for the image, {reading.layout} (else: --image-argument NAME, --layout AXES)"
    ]
    if levels:
        why = "it is uint8" if reading.image.dtype == "uint8" else "the file scales or shifts it by so much"
        remarks.append(f"took 0..255 for the values of its image, as {why} (else: --value-range LOW..HIGH)")
    if len(file.outputs) > 1:
        remarks.append(f"took its output {reading.output} (else: --output-key NAME)")
    if file.float16_session is not None:
        difference = _difference(file, reading)
        remarks.append(f"computes in float32; the float16 file itself differs from it by up to {difference:.2g}")
    return tuple(remarks)


def _difference(file: OnnxFile, reading: Reading) -> float:
    """Largest difference of the result of a float16 file from that of its graph in float32, on noise.

    Raises:
        ModelError: It is more than rounding.
    """
    assert file.float16_session is not None
    height, width = reading.tried
    extents = {"N": 1, "C": reading.channels, "H": height, "W": width}
    feeds = {each.name: noise(each, reading.layout, extents) for each in file.inputs}
    halves = {each.name for each in file.float16_session.get_inputs() if each.type == "tensor(float16)"}
    narrow = {name: values.astype(np.float16) if name in halves else values for name, values in feeds.items()}
    (true,) = file.session.run([reading.output.name], feeds)
    (found,) = file.float16_session.run([reading.output.name], narrow)
    difference = float(np.max(np.abs(true.astype(np.float64) - found.astype(np.float64))))
    if not difference <= _FLOAT16_TOLERANCE * max(1.0, float(np.max(np.abs(true)))):
        raise ModelError(
            f"{file.path} is float16, and differs from the same graph in float32 by {difference:.3g}",
            remedy="export it in float32, and then with --precision fp16",
        )
    return difference
