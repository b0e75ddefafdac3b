"""A foreign ONNX file as a module of PyTorch."""

import inspect
import keyword
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from polyexport.export.graph.foreign import ForeignGraph, call
from polyexport.export.source.onnx_file import OnnxFile, OnnxValue
from polyexport.export.source.onnx_trial import Reading

__all__ = ["OnnxModule", "argument_names"]

_AXES = "NCHW"


class OnnxModule(nn.Module):
    """forward(...): the inputs of a foreign ONNX file in their order -> its result, float32 [B, C', s H, s W].

    Pictures are float32 [B, C, H, W] in the values of the file, whatever its layout and types; other inputs have the
    shapes of the file, in any type that converts to the file's; a number stands for a tensor of that number. Run
    eagerly, the file itself is run by ONNX Runtime on the CPU.
    """

    def __init__(self, file: OnnxFile, reading: Reading) -> None:
        super().__init__()
        self.reading = reading
        self._inputs = (reading.image, *(each for each in file.inputs if each is not reading.image))
        self._graph = ForeignGraph(
            model=file.model,
            session=file.session,
            inputs=tuple(each.name for each in self._inputs),
            output=reading.output.name,
            dtype=getattr(torch, reading.output.dtype),
            shape=reading.shape,
        )
        self._names = argument_names(file)

    @property
    def forward(self) -> Callable[..., Tensor]:  # type: ignore[override]
        """The function that runs the file; its signature names the inputs."""
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        signature = inspect.Signature([inspect.Parameter(name, kind) for name in self._names.values()])

        def forward(*values: Any, **named: Any) -> Tensor:
            given = signature.bind(*values, **named).arguments
            image = given[self._names[self.reading.image.name]]
            batch = image.shape[0]
            inputs = [self._as_input(given[self._names[each.name]], each, batch) for each in self._inputs]
            return self._as_picture(call(self._graph, inputs))

        forward.__signature__ = signature  # type: ignore[attr-defined]
        return forward

    def _as_input(self, given: Any, wanted: OnnxValue, batch: Any) -> Tensor:
        dtype: torch.dtype = getattr(torch, wanted.dtype)
        if not isinstance(given, Tensor):
            shape = [batch if axis == 0 and extent is None else extent or 1 for axis, extent in enumerate(wanted.shape)]
            return torch.full(shape, given, dtype=dtype)
        value: Tensor = given
        layout = self.reading.layout
        if value.ndim == len(_AXES) and len(wanted.shape) == len(layout):
            axes = _AXES if "N" in layout else _AXES[1:]
            value = value if "N" in layout else value.squeeze(0)
            value = value.permute([axes.index(axis) for axis in layout])
        elif not wanted.shape:
            value = value.reshape(())
        if not dtype.is_floating_point and value.is_floating_point() and wanted is self.reading.image:
            value = value.round().clamp(0, 255)
        return value.to(dtype)

    def _as_picture(self, value: Tensor) -> Tensor:
        order = self.reading.output_layout
        for place, axis in enumerate(_AXES):
            if axis not in order:
                value = value.unsqueeze(place)
                order = f"{order[:place]}{axis}{order[place:]}"
        return value.permute([order.index(axis) for axis in _AXES]).to(torch.float32)


def argument_names(file: OnnxFile) -> dict[str, str]:
    """Return a name of Python for every input of a file: its own, as far as Python allows it."""
    names: dict[str, str] = {}
    for value in file.inputs:
        name = re.sub(r"\W+", "_", value.name.partition(":")[0], flags=re.ASCII).strip("_") or "input"
        name = f"input_{name}" if name[0].isdigit() or keyword.iskeyword(name) else name
        while name in names.values():
            name += "_"
        names[value.name] = name
    return names
