"""Checkpoints: one safetensors file with the weights, and the configuration as JSON in its header.

Nothing is ever unpickled. The header is checked against the architecture that it declares before a weight is allocated.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from polyexport.errors import CheckpointError
from polyexport.imaging.pixels import MAX_SIDE
from polyexport.storage.files import read_limited, write_atomic
from trainer.network import ConditionalUNet, ModelConfig

__all__ = ["FORMAT_VERSION", "Checkpoint", "load_checkpoint", "save_checkpoint", "weights_sha256"]

FORMAT_VERSION = 1
_METADATA_KEY = "polyexport.checkpoint"  # one key alone: safetensors does not order several
_MAX_HEADER_BYTES = 1 << 20
_MAX_BYTES = 1 << 33
_REMEDY = "give a .safetensors file that `polyexport train` wrote"


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A trained model and how it came to be."""

    model: ConditionalUNet
    """In evaluation mode, float32."""

    training_size: int
    """Height and width of the largest training images, pixels."""

    training: dict[str, Any] = field(default_factory=dict)
    """JSON-able record of the training: data, steps, minutes, options, validation scores."""

    sha256: str = ""
    """Of the file it was loaded from; empty for one that was never written."""


def save_checkpoint(checkpoint: Checkpoint, path: Path, *, half: bool = False) -> None:
    """Write a checkpoint: whole or not at all.

    Args:
        half: write kernels and matrices in float16, for half the size; reading gives float32 again.

    Raises:
        OutputError: the file cannot be written; a file that stood there before is untouched.
    """
    header = {
        "format_version": FORMAT_VERSION,
        "model": asdict(checkpoint.model.config),
        "training_size": checkpoint.training_size,
        "training": checkpoint.training,
    }
    weights = {
        # Biases and statistics are few, and variances may be smaller than float16 holds.
        name: (tensor.half() if half and tensor.ndim >= 2 else tensor).detach().cpu().contiguous()
        for name, tensor in checkpoint.model.state_dict().items()
    }
    data = safetensors.torch.save(weights, metadata={_METADATA_KEY: json.dumps(header, sort_keys=True)})
    write_atomic(path, data)


def weights_sha256(path: Path) -> str:
    """One digest over the names and values of all weights of a checkpoint, whatever else the file says."""
    digest = hashlib.sha256()
    for name, tensor in sorted(safetensors.torch.load_file(path).items()):
        digest.update(name.encode() + b"\0" + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _read_header(data: bytes, path: Path) -> dict[str, Any]:
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > min(_MAX_HEADER_BYTES, len(data) - 8):
        raise CheckpointError(f"{path} is not a whole safetensors file ({len(data)} bytes)", remedy=_REMEDY)
    try:
        header = json.loads(json.loads(data[8 : 8 + size])["__metadata__"][_METADATA_KEY])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path} carries no {_METADATA_KEY} header", remedy=_REMEDY) from error
    version = header.get("format_version") if isinstance(header, dict) else None
    if version != FORMAT_VERSION:
        raise CheckpointError(f"{path} has checkpoint format {version!r}, expected {FORMAT_VERSION}", remedy=_REMEDY)
    assert isinstance(header, dict)
    return header


def _model_config(raw: dict[str, Any]) -> ModelConfig:
    palette = tuple((str(name), (int(r), int(g), int(b))) for name, (r, g, b) in raw["palette"])
    return ModelConfig(
        channels=tuple(int(width) for width in raw["channels"]),
        embedding_dim=int(raw["embedding_dim"]),
        conditioning=raw["conditioning"],
        palette=palette,
    )


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint, untrusted.

    Raises:
        CheckpointError: missing, truncated, not ours, or weights that do not fit the declared architecture.
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
            or not 0 < training_size <= MAX_SIDE
            or training_size % config.size_multiple
        ):
            raise ValueError(f"training_size {training_size!r}")  # noqa: TRY301
        training = dict(header["training"])
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise CheckpointError(f"{path} declares no usable architecture ({error})", remedy=_REMEDY) from error
    try:
        weights = safetensors.torch.load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} is damaged ({error})", remedy=_REMEDY) from error

    with torch.device("meta"):  # shapes alone, so a header that declares a giant costs nothing
        model = ConditionalUNet(config)
    weights = {name: w.float() if w.dtype == torch.float16 and w.ndim >= 2 else w for name, w in weights.items()}
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
        model=model, training_size=training_size, training=training, sha256=hashlib.sha256(data).hexdigest()
    )
