"""The ``config.pbtxt`` of a Triton model repository, from the contract of a model.

The fields are those of ``ModelConfig`` in Triton's ``model_config.proto``
(https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/model_configuration.html).
"""

import math
import re
from dataclasses import dataclass

from polyexport.model.contract import IMAGE_INPUT, Contract

__all__ = ["TritonOptions", "triton_config", "triton_name"]

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_LARGEST_MAX_BATCH_SIZE = 1024
_TRITON_TYPES = {"uint8": "TYPE_UINT8", "int64": "TYPE_INT64", "float32": "TYPE_FP32"}


@dataclass(frozen=True, kw_only=True, slots=True)
class TritonOptions:
    """Settings of a model in Triton."""

    name: str
    """Name of the model and of its folder: up to 64 letters, digits, ``.``, ``_`` and ``-``."""

    max_batch_size: int = 16
    """Largest number of images in one call of the network."""

    preferred_batch_sizes: tuple[int, ...] = (8, 16)
    """Batch sizes that are executed without waiting for more requests, rising, up to ``max_batch_size``."""

    max_queue_delay_us: int = 1000
    """Longest time that a request waits for others to share its batch, microseconds."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"a Triton model name is up to 64 letters, digits, '.', '_' and '-', "
                f"with a letter or digit at both ends, got {self.name[:80]!r}"
            )
        if not 1 <= self.max_batch_size <= _LARGEST_MAX_BATCH_SIZE:
            raise ValueError(f"max_batch_size must be 1 to {_LARGEST_MAX_BATCH_SIZE}, got {self.max_batch_size}")
        sizes = self.preferred_batch_sizes
        if not sizes or list(sizes) != sorted(set(sizes)) or not 1 <= sizes[0] <= sizes[-1] <= self.max_batch_size:
            raise ValueError(f"preferred_batch_sizes must rise from 1 to {self.max_batch_size}, got {sizes}")
        if not 0 <= self.max_queue_delay_us <= 10_000_000:
            raise ValueError(f"max_queue_delay_us must be 0 to 10000000, got {self.max_queue_delay_us}")


def triton_name(stem: str) -> str:
    """Turn the stem of a file name into a name that ``TritonOptions`` accepts; ``model`` if nothing is left of it."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem)[:64].strip("._-") or "model"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Tensor:
    """One tensor of a request, without the batch axis."""

    name: str
    kind: str
    dims: tuple[int, ...]
    """Shape in requests; -1 where the extent is free."""

    known: tuple[int, ...]
    """Shape of the request that warms the model up."""

    scalar: bool = False
    """The graph has the batch axis alone, which Triton allows no shape for."""

    def entry(self, batch: tuple[int, ...]) -> str:
        """Return the tensor's entry among the inputs or outputs."""
        dims = self.dims if not (self.scalar and batch) else ()
        reshape = ", reshape: { shape: [ ] }" if self.scalar and not batch else ""
        return f'  {{ name: "{self.name}", data_type: {self.kind}, dims: {_listed((*batch, *dims))}{reshape} }}'

    def warm_up(self, batch: tuple[int, ...]) -> str:
        """Return the tensor's entry in a request that warms the model up."""
        # Conditions are zero, an index that every list has; a random number may be none.
        data = "random_data" if self.name == IMAGE_INPUT else "zero_data"
        known = self.known if not (self.scalar and batch) else ()
        value = f"{{ data_type: {self.kind}, dims: {_listed((*batch, *known))}, {data}: true }}"
        return f'    inputs {{ key: "{self.name}", value: {value} }}'


def triton_config(contract: Contract, options: TritonOptions) -> str:
    """Return the text of ``config.pbtxt``; equal contracts and options give equal text.

    A graph that takes one image at a time gets ``max_batch_size: 0``, with which Triton takes shapes that have the
    batch axis, and makes no batches.
    """
    inputs, result = _inputs(contract), _result(contract)
    alone = contract.batch_one
    batch = (1,) if alone else ()
    batching = (
        f"preferred_batch_size: {_listed(options.preferred_batch_sizes)}, "
        f"max_queue_delay_microseconds: {options.max_queue_delay_us}"
    )
    shared = (
        () if contract.fixed_size and not contract.many_colors else ("# Only requests of equal shapes share a batch.",)
    )
    sizes = [1] if alone else sorted({1, options.preferred_batch_sizes[-1]})
    return "\n".join(
        (
            f'name: "{options.name}"',
            'platform: "onnxruntime_onnx"',
            "# The graph takes one image at a time; the shapes below have the batch axis."
            if alone
            else "# The shapes below leave out the batch axis.",
            f"max_batch_size: {0 if alone else options.max_batch_size}",
            "input [",
            ",\n".join(tensor.entry(batch) for tensor in inputs),
            "]",
            "output [",
            result.entry(batch),
            "]",
            *(() if alone else (*shared, f"dynamic_batching {{ {batching} }}")),
            "# The instance runs on a GPU if there is one, else on the CPU.",
            "instance_group [ { count: 1, kind: KIND_AUTO } ]",
            "version_policy: { latest { num_versions: 1 } }",
            "model_warmup [",
            ",\n".join(_warm_up(size, inputs, batch) for size in sizes),
            "]",
            "",
        )
    )


def _inputs(contract: Contract) -> list[_Tensor]:
    sides = contract.fixed_shape or (-1, -1)
    known = contract.fixed_shape or (contract.training_size,) * 2
    channels = contract.image_channels
    found = [_Tensor(name=IMAGE_INPUT, kind="TYPE_UINT8", dims=(*sides, channels), known=(*known, channels))]
    for condition in contract.built_conditions():
        kind = _TRITON_TYPES[condition.dtype.name]
        if condition.textual:
            # Triton allows no empty shape: one number per image has the shape [1] in requests, and only the batch axis
            # in the graph.
            axes = tuple(-1 if isinstance(extent, str) else extent for extent in condition.axes) or (1,)
            first = tuple(abs(extent) for extent in axes)
        else:
            own = condition.fields.channels
            axes, first = (*sides, own), (*known, own)
        found.append(_Tensor(name=condition.name, kind=kind, dims=axes, known=first, scalar=not condition.axes))
    return found


def _result(contract: Contract) -> _Tensor:
    many = (-1,) if contract.many_colors else ()
    ratio, fixed = contract.result.ratio, contract.fixed_shape
    made = tuple(math.ceil(side * ratio) for side in fixed) if fixed else (-1, -1)
    dims = (*many, *made, contract.result.channels)
    return _Tensor(name=contract.output_name, kind="TYPE_UINT8", dims=dims, known=())


def _warm_up(batch_size: int, inputs: list[_Tensor], batch: tuple[int, ...]) -> str:
    """Return one request that Triton runs before it serves the model."""
    lines = "\n".join(tensor.warm_up(batch) for tensor in inputs)
    return f'  {{\n    name: "batch {batch_size}", batch_size: {batch_size}\n{lines}\n  }}'


def _listed(numbers: tuple[int, ...]) -> str:
    return f"[ {', '.join(map(str, numbers))} ]"
