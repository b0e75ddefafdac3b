"""A source of the kind "checkpoint": the file that `polyexport train` writes.

The only module of ``polyexport.export`` that imports ``trainer``.
"""

from pathlib import Path

from polyexport.export.source.source import Source
from trainer.checkpoint import load_checkpoint

__all__ = ["load_trainer_checkpoint"]


def load_trainer_checkpoint(path: Path) -> Source:
    """Load a checkpoint of ``trainer`` as a source.

    Raises:
        CheckpointError: The file is not a whole checkpoint of ``trainer``.
    """
    loaded = load_checkpoint(path)
    config = loaded.model.config
    return Source(
        module=loaded.model,
        conditioning=config.conditioning,
        palette=config.palette,
        embedding="color_embedding",
        size_multiple=config.size_multiple,
        training_size=loaded.training_size,
        network="trainer",
        sha256=loaded.sha256,
    )
