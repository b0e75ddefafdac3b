"""Checkpoints: a safetensors file with the weights, and the configuration as JSON in its header.

Nothing is ever unpickled. The tensors are checked against the architecture that the header declares before a network is
allocated.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from polyexport.errors import CheckpointError, reason_of
from polyexport.imaging.pixels import MAX_TRAINING_SIZE
from polyexport.storage.files import read_limited, write_atomic
from polyexport.storage.strict_json import read_json
from trainer.network import ConditionalUNet, ModelConfig

__all__ = ["FORMAT_VERSION", "Checkpoint", "is_checkpoint", "load_checkpoint", "save_checkpoint", "weights_sha256"]

FORMAT_VERSION = 1
"""Version of the header's format."""

_METADATA_KEY = "polyexport.checkpoint"  # a single key, because safetensors does not keep the order of several
_MAX_HEADER_BYTES = 1 << 20
_MAX_BYTES = 1 << 33
_REMEDY = "give a .safetensors file that `polyexport train` wrote"


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A trained network and the record of its training."""

    model: ConditionalUNet
    """The network, in evaluation mode and float32."""

    training_size: int
    """Height and width of the largest training images, pixels."""

    training: dict[str, Any] = field(default_factory=dict)
    """Record of the training, as JSON represents it: options, steps, images, validation scores."""

    float16_tensors: int = 0
    """Number of kernels and matrices that the file held in float16."""

    sha256: str = ""
    """SHA-256 of the file that the checkpoint was loaded from, lowercase hex; empty if it was not loaded."""


def save_checkpoint(checkpoint: Checkpoint, path: Path, *, float16: bool = False) -> None:
    """Write a checkpoint atomically.

    Args:
        checkpoint: What to write.
        path: The file.
        float16: Round kernels and matrices to float16, which halves the file. Reading converts them to float32 again.

    Raises:
        CheckpointError: float16 does not hold a weight; an earlier file at ``path`` is unchanged.
        OutputError: The file cannot be written; an earlier file at ``path`` is unchanged.
    """
    header = {
        "format_version": FORMAT_VERSION,
        "model": checkpoint.model.config.as_json(),
        "training_size": checkpoint.training_size,
        "training": checkpoint.training,
    }
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.model.state_dict().items()}
    if float16:
        weights |= {name: _half(tensor, name, path) for name, tensor in weights.items() if tensor.ndim >= 2}
    data = safetensors.torch.save(weights, metadata={_METADATA_KEY: json.dumps(header, sort_keys=True)})
    write_atomic(path, data)


def _half(tensor: Tensor, name: str, path: Path) -> Tensor:
    """Round a weight to float16, in which large values are infinite, and refuse them."""
    half = tensor.half()
    if not half.isfinite().all():
        raise CheckpointError(
            f"{path} cannot be written in float16, which holds values up to 65504: {name} has values up to "
            f"{tensor.abs().max().item():.6g}",
            remedy="keep it in float32, without --float16",
        )
    return half


def weights_sha256(path: Path) -> str:
    """Return the SHA-256 of the names and values of all weights in a checkpoint, lowercase hex.

    The rest of the file, such as the record of the training, has no part in it.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(safetensors.torch.load(read_limited(path, _MAX_BYTES)).items()):
        digest.update(name.encode() + b"\0" + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def is_checkpoint(path: Path) -> bool:
    """Tell whether a file is a safetensors file whose header says that it is a checkpoint, which need not be whole.

    A file that cannot be read is none.
    """
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            return size <= _MAX_HEADER_BYTES and _METADATA_KEY.encode() in file.read(size)
    except OSError:
        return False


def _read_header(data: bytes, path: Path) -> dict[str, Any]:
    """Read the JSON in a checkpoint's header and check its format version."""
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > min(_MAX_HEADER_BYTES, len(data) - 8):
        raise CheckpointError(f"{path} is not a complete safetensors file ({len(data)} bytes)", remedy=_REMEDY)
    try:
        header = read_json(read_json(data[8 : 8 + size])["__metadata__"][_METADATA_KEY])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} has no {_METADATA_KEY} header", remedy=_REMEDY) from error
    version = header.get("format_version") if isinstance(header, dict) else None
    if version != FORMAT_VERSION:
        raise CheckpointError(f"{path} has checkpoint format {version!r}, expected {FORMAT_VERSION}", remedy=_REMEDY)
    assert isinstance(header, dict)
    return header


def _model_config(raw: dict[str, Any]) -> ModelConfig:
    palette = tuple((str(name), (int(r), int(g), int(b))) for name, (r, g, b) in raw["palette"])
    return ModelConfig(
        channels=tuple(int(width) for width in raw["channels"]),
        context=tuple(int(width) for width in raw.get("context", ())),  # absent in earlier versions
        embedding_dim=int(raw["embedding_dim"]),
        conditioning=raw["conditioning"],
        palette=palette,
        labels=_labels(raw.get("labels", [])),  # absent without labels
        patch=int(raw.get("patch", 1)),  # absent without one
    )


def _labels(raw: Any) -> tuple[str, ...]:
    if not isinstance(raw, list) or not all(isinstance(label, str) for label in raw):
        raise ValueError("labels must be a list of names")
    return tuple(raw)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and check a checkpoint, which may come from an untrusted source.

    Raises:
        CheckpointError: The file is missing, truncated or of another kind, or its weights do not fit the architecture
            that it declares.
    """
    try:
        data = read_limited(path, _MAX_BYTES)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror})", remedy=_REMEDY) from error
    header = _read_header(data, path)
    try:
        config = _model_config(header["model"])
        training_size = header["training_size"]
        if (
            not isinstance(training_size, int)
            or not 0 < training_size <= MAX_TRAINING_SIZE
            or training_size % config.size_multiple
        ):
            raise ValueError(f"training_size {training_size!r}")  # noqa: TRY301
        training = dict(header["training"])
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise CheckpointError(f"{path} declares no usable architecture ({reason_of(error)})", remedy=_REMEDY) from error
    try:
        weights = safetensors.torch.load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} is damaged ({reason_of(error)})", remedy=_REMEDY) from error

    with torch.device("meta"):  # shapes without memory, whatever size the header declares
        model = ConditionalUNet(config)
    halves = [name for name, tensor in weights.items() if tensor.dtype == torch.float16 and tensor.ndim >= 2]
    weights |= {name: weights[name].float() for name in halves}
    expected = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in model.state_dict().items()}
    found = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in weights.items()}
    wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if wrong:
        named = ", ".join(wrong[:3]) + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else "")
        raise CheckpointError(f"{path}: weights do not fit its architecture ({named})", remedy=_REMEDY)
    if not all(tensor.isfinite().all() for tensor in weights.values() if tensor.is_floating_point()):
        raise CheckpointError(
            f"{path} holds NaN or infinite weights", remedy="train again with a lower --learning-rate"
        )
    model.load_state_dict(weights, assign=True)
    model.eval()
    return Checkpoint(
        model=model,
        training_size=training_size,
        training=training,
        float16_tensors=len(halves),
        sha256=hashlib.sha256(data).hexdigest(),
    )
