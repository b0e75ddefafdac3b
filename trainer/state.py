"""State of a training, for its resumption: weights, averaged weights, optimizer, schedule and counters.

The state is one safetensors file, written atomically; nothing is ever unpickled.
"""

import json
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from polyexport.errors import CheckpointError, UsageError
from polyexport.storage.files import read_limited, write_atomic
from polyexport.storage.strict_json import read_json
from trainer.network import ConditionalUNet

__all__ = ["Progress", "ResumedState", "load_state", "save_state"]

_METADATA_KEY = "polyexport.training"
_MAX_BYTES = 1 << 34
_REMEDY = "train from the start, without --resume"


@dataclass(slots=True)
class Progress:
    """Counters and best scores of a training in progress."""

    step: int = 0
    """Number of optimizer steps made."""

    images: int = 0
    """Number of training images seen, over all processes."""

    seconds: float = 0.0
    """Duration of the training up to the latest resumption, seconds; in a saved state, up to the save."""

    validated_step: int = 0
    """Step of the latest validation; 0 before the first one."""

    psnr_db: float = 0.0
    """Mean PSNR of the latest validation, dB."""

    best_step: int = 0
    """Step of the best validation; 0 before the first one."""

    best_psnr_db: float = -math.inf
    """Mean PSNR of the best validation, dB."""

    stale: int = 0
    """Number of validations since the best one."""

    scored_sha256: str = ""
    """SHA-256 of the drawings that the scores were measured on; empty in states of earlier versions."""

    def at(self, seconds: float) -> "Progress":
        """Return a copy with another duration."""
        return replace(self, seconds=seconds)


@dataclass(frozen=True, kw_only=True, slots=True)
class ResumedState:
    """The part of a saved state that is not tensors."""

    progress: Progress
    """Counters and best scores."""

    schedule: dict[str, Any] = field(default_factory=dict)
    """State of the plateau schedule; empty for the cosine schedule."""

    options: dict[str, Any] = field(default_factory=dict)
    """Options of the training that saved the state."""


def save_state(
    path: Path,
    *,
    model: ConditionalUNet,
    averaged: AveragedModel,
    optimizer: Optimizer,
    schedule: dict[str, Any],
    progress: Progress,
    options: dict[str, Any],
) -> None:
    """Write the state of a training atomically.

    Raises:
        OutputError: The file cannot be written; an earlier file at ``path`` is unchanged.
    """
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"averaged.{name}": tensor for name, tensor in averaged.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in values.items()}
    groups = [
        {key: value for key, value in group.items() if key != "params"}
        for group in optimizer.state_dict()["param_groups"]
    ]
    header = {
        "model": model.config.as_json(),
        "groups": groups,
        "schedule": _finite(schedule),
        "progress": _finite(asdict(progress)),
        "options": options,
    }
    data = safetensors.torch.save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
        metadata={_METADATA_KEY: json.dumps(header, sort_keys=True)},
    )
    write_atomic(path, data)


def load_state(path: Path, *, model: ConditionalUNet, averaged: AveragedModel, optimizer: Optimizer) -> ResumedState:
    """Read the state of a training and load its tensors into a model, its average and its optimizer.

    Returns:
        The part of the state that is not tensors.

    Raises:
        UsageError: There is no such file.
        CheckpointError: The file is damaged, or of another architecture.
    """
    try:
        data = read_limited(path, _MAX_BYTES)
    except FileNotFoundError as error:
        raise UsageError(f"there is no training to resume at {path}", remedy=_REMEDY) from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror})", remedy=_REMEDY) from error
    try:
        length = int.from_bytes(data[:8], "little")
        header = read_json(read_json(data[8 : 8 + length])["__metadata__"][_METADATA_KEY])
        tensors = safetensors.torch.load(data)
        declared = {"context": [], **header["model"]}  # absent in earlier versions
        progress = Progress(**header["progress"])
        state = ResumedState(progress=progress, schedule=dict(header["schedule"]), options=dict(header["options"]))
        groups = list(header["groups"])
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CheckpointError(f"{path} is not a complete state of a training", remedy=_REMEDY) from error
    ours = json.loads(json.dumps(model.config.as_json()))
    if declared != ours:
        differing = sorted(key for key in ours.keys() | declared.keys() if declared.get(key) != ours.get(key))
        was = ", ".join(f"{key} {declared.get(key)}" for key in differing)
        now = ", ".join(f"{key} {ours.get(key)}" for key in differing)
        raise CheckpointError(
            f"{path} is a training with {was}, this one has {now}", remedy="resume with the same options"
        )
    try:
        _restore(tensors, groups, model, averaged, optimizer)
    except (RuntimeError, KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path} does not fit its own architecture", remedy=_REMEDY) from error
    return state


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """Leave out infinite values, which JSON does not have; each of them is the value that its field begins with."""
    return {key: value for key, value in values.items() if not isinstance(value, float) or math.isfinite(value)}


def _restore(
    tensors: dict[str, Tensor],
    groups: list[dict[str, Any]],
    model: ConditionalUNet,
    averaged: AveragedModel,
    optimizer: Optimizer,
) -> None:
    """Load the tensors of a state file into a model, its average and its optimizer."""

    def under(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}

    model.load_state_dict(under("model."))
    averaged.load_state_dict(under("averaged."))
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    slots: dict[int, dict[str, Tensor]] = {}
    for name, tensor in under("optimizer.").items():
        index, _, slot = name.partition(".")
        # In the memory layout of the weight: another layout sums in another order, and rounds differently.
        like = parameters[int(index)]
        slots.setdefault(int(index), {})[slot] = (
            torch.empty_like(like).copy_(tensor) if tensor.shape == like.shape and tensor.ndim else tensor
        )
    current = optimizer.state_dict()["param_groups"]
    restored = [{**group, "params": now["params"]} for group, now in zip(groups, current, strict=True)]
    optimizer.load_state_dict({"state": slots, "param_groups": restored})
