"""ONNX for the operators of PyTorch that its exporter does not write, or writes for some of their arguments alone."""

import functools
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["translations"]


@functools.cache
def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return what ``torch.onnx.export`` writes for these operators, as its ``custom_translation_table``."""
    aten = torch.ops.aten
    return {aten.sort.stable: _sort, aten.pow.Tensor_Scalar: _pow}


def _sort(values: Any, *, stable: bool | None = None, dim: int = -1, descending: bool = False) -> Any:  # noqa: ARG001
    """Sort with TopK, which keeps the order of equal values whether or not that was asked for."""
    import onnxscript

    op: Any = onnxscript.opset21  # its functions are annotated for tensors alone, and take numbers, too
    if not values.shape:
        return op.Identity(values), op.Constant(value_int=0)
    count = op.Reshape(op.Gather(op.Shape(values), dim, axis=0), [1])
    return op.TopK(values, count, axis=dim, largest=int(descending), sorted=1)


def _pow(base: Any, exponent: Any) -> Any:
    """Raise to a power that is a number, or a tensor's only value: the exporter takes numbers alone."""
    import onnx_ir as ir
    import onnxscript

    op: Any = onnxscript.opset21
    if isinstance(exponent, (int, float)):
        return op.Pow(base, ir.tensor(exponent, dtype=base.dtype))
    return op.Pow(base, op.CastLike(exponent, base))
