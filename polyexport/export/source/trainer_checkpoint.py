"""A source of the kind "checkpoint": the file that `polyexport train` writes.

The only module of ``polyexport.export`` that imports ``trainer``.
"""

from pathlib import Path
from typing import Any

from polyexport.export.source.source import Source
from polyexport.model.conditions.fields import ColorFields, ConditionFields, LabelFields
from polyexport.model.result import ResultFields
from trainer.checkpoint import Checkpoint, is_checkpoint, load_checkpoint
from trainer.network import ModelConfig

__all__ = ["is_trainer_checkpoint", "load_trainer_checkpoint"]


def is_trainer_checkpoint(path: Path) -> bool:
    """Tell whether a file says that it is a checkpoint of ``trainer``, which need not be whole."""
    return is_checkpoint(path)


def load_trainer_checkpoint(path: Path) -> Source:
    """Load a checkpoint of ``trainer`` as a source.

    Raises:
        CheckpointError: The file is not a whole checkpoint of ``trainer``.
    """
    loaded = load_checkpoint(path)
    config = loaded.model.config
    return Source(
        module=loaded.model,
        conditions=_conditions(config),
        embedding="color_embedding" if config.conditioning in ("rgb", "vocabulary") else "",
        size_multiple=config.size_multiple,
        training_size=loaded.training_size,
        result=_result(loaded.training),
        network="trainer",
        sha256=loaded.sha256,
        remarks=_remarks(loaded),
    )


def _conditions(config: ModelConfig) -> tuple[ConditionFields, ...]:
    if config.conditioning == "none":
        return ()
    if config.conditioning == "label":
        return (LabelFields(name="label", labels=config.labels),)
    return (ColorFields(conditioning=config.conditioning, palette=config.palette),)


def _result(training: dict[str, Any]) -> ResultFields:
    """Tell from the record of a training what the network was trained to make. The record is untrusted."""
    scored = training.get("scored_on")
    # Earlier records have no result; those of generated drawings, which are fills, are scored on such.
    scored_on = scored.get("drawings") if isinstance(scored, dict) else None
    found = training.get("result", "fill" if scored_on == "generated drawings" else "picture")
    return ResultFields(kind="fill" if found == "fill" else "picture")


def _remarks(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Say which weights of the training these are. Its record is untrusted: what is not a number is not repeated."""
    training, remarks = checkpoint.training, []
    step = training.get("steps")
    if type(step) is int and 0 <= step < 10**12:
        scores = {name: training.get(key) for name, key in _SCORES.items()}
        said = [f"{name} PSNR {score:.2f} dB" for name, score in scores.items() if type(score) is float]
        scored = ", ".join(said) if training.get("validated_step") == step and said else "not validated at this step"
        remarks.append(f"took the averaged weights (EMA) of training step {step}, {scored}")
    if checkpoint.float16_tensors:
        remarks.append(f"converted {checkpoint.float16_tensors} tensors of float16 to the network's own type")
    return tuple(remarks)


_SCORES = {"validation": "validation_psnr_db", "training pairs": "training_pairs_psnr_db"}
"""Name of a score -> its key in the record of a training."""
