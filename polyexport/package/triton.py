"""The ``config.pbtxt`` of a Triton model repository, from the contract of a model.

The fields are those of ``ModelConfig`` in Triton's ``model_config.proto``
(https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/model_configuration.html).
"""

import re
from dataclasses import dataclass

from polyexport.model.contract import COLORED, IMAGE_INPUT, Contract

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


def triton_config(contract: Contract, options: TritonOptions) -> str:
    """Return the text of ``config.pbtxt``; equal contracts and options give equal text."""
    side = contract.training_size if contract.fixed_size else -1
    many = (-1,) if contract.many_colors else ()
    condition = contract.condition
    name, kind = condition.name, _TRITON_TYPES[condition.dtype.name]
    axes = tuple(-1 if isinstance(extent, str) else extent for extent in condition.axes)
    image = (side, side, 3)
    # Triton allows no empty shape: one index per image has the shape [1] in requests, and only the batch axis in the
    # graph.
    color = axes or (1,)
    reshape = "" if axes else ", reshape: { shape: [ ] }"
    known = (contract.training_size, contract.training_size, 3)
    sizes = sorted({1, options.preferred_batch_sizes[-1]})
    warm_ups = [_warm_up(size, known, name, kind, tuple(abs(extent) for extent in color)) for size in sizes]
    batching = (
        f"preferred_batch_size: {_listed(options.preferred_batch_sizes)}, "
        f"max_queue_delay_microseconds: {options.max_queue_delay_us}"
    )
    return "\n".join(
        (
            f'name: "{options.name}"',
            'platform: "onnxruntime_onnx"',
            "# The shapes below leave out the batch axis.",
            f"max_batch_size: {options.max_batch_size}",
            "input [",
            f'  {{ name: "{IMAGE_INPUT}", data_type: TYPE_UINT8, dims: {_listed(image)} }},',
            f'  {{ name: "{name}", data_type: {kind}, dims: {_listed(color)}{reshape} }}',
            "]",
            "output [",
            f'  {{ name: "{COLORED}", data_type: TYPE_UINT8, dims: {_listed((*many, *image))} }}',
            "]",
            *(() if contract.fixed_size and not many else ("# Only requests of equal shapes share a batch.",)),
            f"dynamic_batching {{ {batching} }}",
            "# The instance runs on a GPU if there is one, else on the CPU.",
            "instance_group [ { count: 1, kind: KIND_AUTO } ]",
            "version_policy: { latest { num_versions: 1 } }",
            "model_warmup [",
            ",\n".join(warm_ups),
            "]",
            "",
        )
    )


def _warm_up(batch_size: int, image: tuple[int, ...], name: str, kind: str, color: tuple[int, ...]) -> str:
    """Return one request that Triton runs before it serves the model."""
    # The color is zero, an index that every palette has; a random number may be none.
    image_data = f"{{ data_type: TYPE_UINT8, dims: {_listed(image)}, random_data: true }}"
    color_data = f"{{ data_type: {kind}, dims: {_listed(color)}, zero_data: true }}"
    return f"""\
  {{
    name: "batch {batch_size}", batch_size: {batch_size}
    inputs {{ key: "{IMAGE_INPUT}", value: {image_data} }}
    inputs {{ key: "{name}", value: {color_data} }}
  }}"""


def _listed(numbers: tuple[int, ...]) -> str:
    return f"[ {', '.join(map(str, numbers))} ]"
