"""A foreign ONNX file in a plain loop, as whoever has only that file writes it: ONNX Runtime, numpy before and after.

How the file takes an image and gives a result, its own model file no longer tells. So the usual ways are tried, and the
one is taken whose results are those of the model.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from polyexport.errors import ContractError, UsageError, check_memory, reason_of
from polyexport.runtime.onnx_bytes import refuse_external_data
from polyexport.storage.files import read_limited

__all__ = ["ForeignLoop", "foreign_loop"]

_MAX_BYTES = (1 << 31) - 1
_FATAL_SEVERITY = 4  # ONNX Runtime's log level that leaves out errors, which become messages here
_MOST_LEVELS_OFF = 8.0
"""Largest mean difference of two results that count as those of one network, one of them in a reduced precision."""

_IMAGENET = (np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32))

_RANGES: Mapping[str, tuple[float, float]] = {"0..1": (0.0, 1.0), "-1..1": (-1.0, 1.0), "0..255": (0.0, 255.0)}

_DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8,
           "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(double)": np.float64}  # fmt: skip

Pixels4 = NDArray[np.uint8]
_Feeds = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class ForeignLoop:
    """A file in its plain loop."""

    how: str
    """Description of how the image is given and the result is read."""

    call: Callable[[], Pixels4]
    """Run the work: uint8 [N, H, W, C]."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Way:
    """One way of using a file."""

    image: str
    channels_first: bool
    values: str
    """A key of ``_RANGES``, or ``ImageNet``."""

    output: str
    output_first: bool
    output_values: str

    def __str__(self) -> str:
        layout, given = "NCHW" if self.channels_first else "NHWC", "mean and std of ImageNet"
        return f"{layout} of {given if self.values == 'ImageNet' else self.values}, result {self.output_values}"


def foreign_loop(path: Path, inputs: Mapping[str, NDArray[Any]], image: str, expected: Pixels4) -> ForeignLoop:
    """Find out how a file does the work of a model.

    Args:
        path: The file.
        inputs: Inputs of the model by name: the image, uint8 [N, H, W, C], and the rows of its conditions.
        image: Name of the image among them.
        expected: The model's result, uint8 [N, H, W, C].

    Raises:
        UsageError: The file cannot be read or loaded, takes something else, or gives something else in each of the
            usual ways.
    """
    file = _File(path, inputs, image)
    best, least = None, np.inf
    refusal = "it has no input for an image"
    for way in file.ways():
        try:
            results = list(file.results(way))
        except Exception as error:  # noqa: BLE001 - ONNX Runtime raises unrelated types
            check_memory(error, f"running {path}")
            refusal = reason_of(error)
            continue
        for found, result in results:
            if result.shape == expected[:1].shape:
                off = float(np.mean(np.abs(result.astype(np.int16) - expected[:1].astype(np.int16))))
                best, least = (found, off) if off < least else (best, least)
            else:
                refusal = f"it makes {list(result.shape)}, the model {list(expected[:1].shape)}"
    if best is None or least > _MOST_LEVELS_OFF:
        reason = refusal if best is None else f"the nearest is {best}, {least:.1f} levels off in the mean"
        raise UsageError(
            f"{path} does not do what the model does in any of the usual ways: {reason}",
            remedy="give the ONNX file that the model was exported from, or leave it out of --compare",
        )
    chosen = best
    return ForeignLoop(
        how=f"the original file, InferenceSession with its defaults, CPU provider, numpy before and after: {chosen}",
        call=lambda: file.run(chosen),
    )


class _File:
    def __init__(self, path: Path, inputs: Mapping[str, NDArray[Any]], image: str) -> None:
        try:
            data = read_limited(path, _MAX_BYTES)
            refuse_external_data(data)
            options = ort.SessionOptions()
            options.log_severity_level = _FATAL_SEVERITY
            self._session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises unrelated types
            check_memory(error, f"loading {path}")
            reason = error.message if isinstance(error, ContractError) else reason_of(error)
            raise UsageError(f"{path} cannot be compared with ({reason})", remedy="give an ONNX file") from error
        self._path = path
        self._image = inputs[image]
        self._rows = {name: row for name, row in inputs.items() if name != image}
        self._arguments = {each.name: each for each in self._session.get_inputs()}
        self._outputs = [each.name for each in self._session.get_outputs()]

    def ways(self) -> Iterator[_Way]:
        """Yield the ways that the shapes of the inputs allow."""
        channels = self._image.shape[3]
        for name, argument in self._arguments.items():
            shape = argument.shape
            if len(shape) != 4 or name in self._rows:
                continue
            for first in (True, False):
                extent = shape[1 if first else 3]
                if isinstance(extent, int) and extent != channels:
                    continue
                values = ["0..255"] if argument.type == "tensor(uint8)" else list(_RANGES)
                values += ["ImageNet"] if channels == 3 and len(values) > 1 else []
                for each in values:
                    yield _Way(
                        image=name, channels_first=first, values=each, output="", output_first=True, output_values=""
                    )

    def results(self, way: _Way) -> Iterator[tuple[_Way, Pixels4]]:
        """Run the file on the first image, and yield every reading of every output that can be an image."""
        found = self._session.run(self._outputs, self._feeds(way, self._image[:1]))
        ranges = _RANGES if way.values == "ImageNet" else {way.values: _RANGES[way.values]} | dict(_RANGES)
        for name, value in zip(self._outputs, found, strict=True):
            if np.ndim(value) != 4:
                continue
            for first in (True, False):
                for values in ["0..255"] if value.dtype == np.uint8 else ranges:
                    read = _Way(
                        image=way.image, channels_first=way.channels_first, values=way.values,
                        output=name, output_first=first, output_values=values,
                    )  # fmt: skip
                    yield read, _levels(read, value)

    def run(self, way: _Way) -> Pixels4:
        """Do the work in one way, image by image where the file takes one."""
        if self._arguments[way.image].shape[0] == 1:
            parts = [self._once(way, number, number + 1) for number in range(len(self._image))]
            return np.concatenate(parts)
        return self._once(way, 0, len(self._image))

    def _once(self, way: _Way, start: int, stop: int) -> Pixels4:
        (found,) = self._session.run([way.output], self._feeds(way, self._image[start:stop], start))
        return _levels(way, found)

    def _feeds(self, way: _Way, image: Pixels4, start: int = 0) -> _Feeds:
        feeds = {way.image: _scaled(way, image, _DTYPES[self._arguments[way.image].type])}
        for name, argument in self._arguments.items():
            if name == way.image:
                continue
            if name not in self._rows:
                raise ValueError(f"its input {name} has no counterpart in the model")
            row = self._rows[name][start : start + len(image)]
            if row.dtype == np.uint8 and row.ndim == 4:
                row = row.astype(np.float32) / 255
                row = row.transpose(0, 3, 1, 2) if way.channels_first else row
            feeds[name] = np.ascontiguousarray(row.astype(_DTYPES[argument.type]))
        return feeds


def _scaled(way: _Way, image: Pixels4, dtype: Any) -> NDArray[Any]:
    if dtype == np.uint8:
        values: NDArray[Any] = image
    elif way.values == "ImageNet":
        values = (image.astype(np.float32) / 255 - _IMAGENET[0]) / _IMAGENET[1]
    else:
        low, high = _RANGES[way.values]
        values = image.astype(np.float32) * np.float32((high - low) / 255) + np.float32(low)
    values = values.transpose(0, 3, 1, 2) if way.channels_first else values
    return np.ascontiguousarray(values.astype(dtype))


def _levels(way: _Way, value: NDArray[Any]) -> Pixels4:
    value = value.transpose(0, 2, 3, 1) if way.output_first else value
    if value.dtype == np.uint8:
        return np.ascontiguousarray(value)
    low, high = _RANGES[way.output_values]
    levels = (value.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    return np.ascontiguousarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))
