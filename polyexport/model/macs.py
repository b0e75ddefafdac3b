"""Multiply-accumulates of one node of a graph, from the shapes of its tensors.

Products with padding count, as in equation 1 of Sze et al., "Efficient Processing of Deep Neural Networks", 2017
(arXiv:1703.09039); biases do not. With N the batch, C and M the channels in and out, G the groups, k the kernel:

    Conv           N M height_out width_out (C / G) k_height k_width
    ConvTranspose  N C height_in width_in (M / G) k_height k_width
    Gemm, MatMul   rows x columns x the extent that is summed over

Every other operator counts as none.
"""

import math
from collections.abc import Sequence

__all__ = ["DENSE_OPERATORS", "node_macs"]

DENSE_OPERATORS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""ONNX operators that are counted."""


def node_macs(
    operator: str, first: Sequence[int], second: Sequence[int], output: Sequence[int], *, transposed: bool = False
) -> int:
    """Count the multiply-accumulates of one run of a node.

    Args:
        operator: one of ``DENSE_OPERATORS``.
        first: shape of the first input.
        second: shape of the second input; weights are [M, C / G, k...] of Conv and [C, M / G, k...] of ConvTranspose.
        output: shape of the output.
        transposed: whether a Gemm transposes its first input (``transA``).
    """
    if operator == "Conv":
        return math.prod(output) * math.prod(second[1:])
    if operator == "ConvTranspose":
        return math.prod(first) * math.prod(second[1:])
    return math.prod(output) * (first[0] if transposed else first[-1])
