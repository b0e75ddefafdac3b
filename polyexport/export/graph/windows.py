"""Masks of tensors: what a window, a resize or a reduction reads of a masked tensor."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

__all__ = ["Mask", "any_along", "everything", "is_everything", "merged", "resized_mask", "windowed"]

Mask = NDArray[np.bool_]
"""True for each element of a tensor that could change, in the shape of the tensor. It may be a view that repeats one
value along an axis, and is never written to."""

_REACH = {"nearest": 1.0, "linear": 1.0, "cubic": 2.0}
"""Distance within which an output of a Resize reads its inputs, input values."""


def everything(shape: Sequence[int]) -> Mask:
    """Return the mask of a tensor in which everything could change."""
    return np.broadcast_to(np.True_, tuple(shape))


def is_everything(mask: Mask) -> bool:
    """Return whether everything could change."""
    return bool(_small(mask).all())


def any_along(mask: Mask, axes: Iterable[int]) -> Mask:
    """Return whether anything along some axes could change; the axes stay, with one element."""
    shape = mask.shape
    kept = tuple(sorted({axis % mask.ndim for axis in axes}))
    small = _small(mask).any(axis=kept, keepdims=True)
    return np.broadcast_to(small, tuple(1 if axis in kept else extent for axis, extent in enumerate(shape)))


def merged(shape: Sequence[int], masks: Sequence[Mask]) -> Mask:
    """Return the mask of what each element of some tensors decides, broadcast to a shape."""
    result: Mask = np.zeros((1,) * len(shape), np.bool_)
    for mask in masks:
        result = result | _small(mask)
    return np.broadcast_to(result, tuple(shape))


def _small(mask: Mask) -> Mask:
    """Return a mask without what repeats along an axis."""
    return mask[tuple(slice(0, 1) if stride == 0 else slice(None) for stride in mask.strides)]


def windowed(node: onnx.NodeProto, mask: Mask, weight: NDArray[Any] | None) -> Mask:
    """Return the mask of a convolution or a pooling, whose every output reads a window of the input.

    Args:
        node: a Conv, ConvTranspose, or a pooling.
        mask: the input, [N, C, ...].
        weight: the weights of a convolution, which only their shape is needed of; None for a pooling.

    Returns:
        The output. Of a convolution every channel counts as reading every channel.
    """
    spatial = mask.ndim - 2
    attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    transposed = node.op_type == "ConvTranspose"
    pooled = node.op_type.endswith("Pool")
    if not pooled and weight is None:
        raise ValueError("weights that are computed")
    kernel = list(attributes["kernel_shape"] if weight is None else weight.shape[2:])
    strides = list(attributes.get("strides", [1] * spatial))
    dilations = list(attributes.get("dilations", [1] * spatial))
    pads = list(attributes.get("pads", [0] * 2 * spatial))
    auto = attributes.get("auto_pad", b"NOTSET").decode()
    extra = list(attributes.get("output_padding", [0] * spatial))
    channels = mask.shape[1]
    if weight is not None:
        channels = weight.shape[1] * attributes.get("group", 1) if transposed else weight.shape[0]
    small = _small(mask) if pooled else any_along(mask, [1])
    small = np.broadcast_to(small, (*small.shape[:2], *mask.shape[2:]))
    for axis in range(spatial):
        reach = (kernel[axis] - 1) * dilations[axis] + 1
        length, stride = small.shape[2 + axis], strides[axis]
        before, after = pads[axis], pads[spatial + axis]
        if transposed:
            if auto not in ("NOTSET", "VALID") or "output_shape" in attributes:
                raise ValueError("padding that is chosen by the output")
            size = (length - 1) * stride + reach + extra[axis] - before - after
            small = _scattered(small, 2 + axis, kernel[axis], stride, dilations[axis], before, size)
            continue
        if auto.startswith("SAME"):
            total = max(0, (math.ceil(length / stride) - 1) * stride + reach - length)
            before, after = (
                (total // 2, total - total // 2) if auto == "SAME_UPPER" else (total - total // 2, total // 2)
            )
        steps = (length + before + after - reach) / stride
        size = (math.ceil(steps) if attributes.get("ceil_mode", 0) else math.floor(steps)) + 1
        if attributes.get("ceil_mode", 0) and (size - 1) * stride >= length + before:
            size -= 1  # a window must begin inside of the image or of the padding before it
        small = _gathered(small, 2 + axis, kernel[axis], stride, dilations[axis], before, size)
    return np.broadcast_to(small, (mask.shape[0], channels, *small.shape[2:]))


def _gathered(mask: Mask, axis: int, kernel: int, stride: int, dilation: int, before: int, size: int) -> Mask:
    """Return for every output along an axis whether one of the inputs of its window is marked."""
    lines = np.moveaxis(mask, axis, -1)
    need = (size - 1) * stride + (kernel - 1) * dilation + 1
    padded = np.zeros((*lines.shape[:-1], max(need, before + lines.shape[-1])), np.bool_)
    padded[..., before : before + lines.shape[-1]] = lines
    result = np.zeros((*lines.shape[:-1], size), np.bool_)
    for tap in range(kernel):
        start = tap * dilation
        result |= padded[..., start : start + (size - 1) * stride + 1 : stride]
    return np.moveaxis(result, -1, axis)


def _scattered(mask: Mask, axis: int, kernel: int, stride: int, dilation: int, before: int, size: int) -> Mask:
    """Return for every output along an axis whether a marked input adds to it."""
    lines = np.moveaxis(mask, axis, -1)
    length = lines.shape[-1]
    whole = np.zeros(
        (*lines.shape[:-1], max(before + size, (length - 1) * stride + (kernel - 1) * dilation + 1)), np.bool_
    )
    for tap in range(kernel):
        start = tap * dilation
        whole[..., start : start + (length - 1) * stride + 1 : stride] |= lines
    return np.moveaxis(whole[..., before : before + size], -1, axis)


def resized_mask(node: onnx.NodeProto, mask: Mask, known: Sequence[NDArray[Any] | None]) -> Mask:
    """Return the mask of a Resize.

    Args:
        node: a Resize.
        mask: the input.
        known: the region, the scales and the sizes, as far as the node has them.

    Returns:
        The output. Everything, where the size of the whole image decides which input an output lies at.
    """
    attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    mode = attributes.get("mode", b"nearest").decode()
    transform = attributes.get("coordinate_transformation_mode", b"half_pixel").decode()
    shape, scales = list(mask.shape), [1.0] * mask.ndim
    given = [None if value is None or not value.size else value.ravel() for value in (*known, None, None, None)]
    for number, axis in enumerate(attributes.get("axes", range(mask.ndim))):
        length = mask.shape[axis]
        if given[2] is not None:
            shape[axis] = int(given[2][number])
            scales[axis] = shape[axis] / length
        elif given[1] is not None:
            scales[axis] = float(given[1][number])
            shape[axis] = math.floor(length * scales[axis])
        else:
            raise ValueError("a size that is computed")
    small = _small(mask)
    for axis, scale in enumerate(scales):
        if scale == 1.0 or (small.shape[axis] == 1 and mask.shape[axis] > 1):
            continue  # as it was, or the same along the whole axis
        if transform in ("align_corners", "tf_crop_and_resize"):
            return everything(shape)
        reach = _REACH[mode] * (max(1.0, 1 / scale) if attributes.get("antialias", 0) else 1.0)
        small = _resampled(small, axis, shape[axis], scale, reach, shifted=transform != "asymmetric")
    return np.broadcast_to(small, tuple(shape))


def _resampled(mask: Mask, axis: int, size: int, scale: float, reach: float, *, shifted: bool) -> Mask:
    """Return for every output along an axis whether an input is marked that lies less than ``reach`` from its place."""
    lines = np.moveaxis(mask, axis, -1)
    places = np.arange(size, dtype=np.float64)
    places = (places + 0.5) / scale - 0.5 if shifted else places / scale
    last = lines.shape[-1] - 1
    first_read = np.clip(np.floor(places - reach).astype(int) + 1, 0, last)
    last_read = np.clip(np.ceil(places + reach).astype(int) - 1, 0, last)
    marked = np.concatenate([np.zeros((*lines.shape[:-1], 1), int), np.cumsum(lines, axis=-1)], axis=-1)
    result: Mask = marked[..., last_read + 1] > marked[..., first_read]
    return np.moveaxis(result, -1, axis)
