"""One function that loads a network from a source of any kind."""

import dataclasses
from pathlib import Path
from typing import Any

from polyexport.errors import UsageError
from polyexport.export.source.network import load_network
from polyexport.export.source.onnx_network import ONNX_SUFFIX, load_onnx_network
from polyexport.export.source.source import Source
from polyexport.export.source.spec import NetworkSpec
from polyexport.export.source.toml_file import read_spec
from polyexport.export.source.trainer_checkpoint import load_trainer_checkpoint

__all__ = ["is_import_path", "load_source"]


def is_import_path(source: str) -> bool:
    """Tell whether a source is ``package.module:Class`` rather than the path of a file."""
    return ":" in source and not Path(source).exists()


def load_source(source: str | Path, **given: Any) -> Source:
    """Load a network from a checkpoint of ``trainer``, a TOML file that describes it, or ``package.module:Class``.

    Args:
        source: Path of a checkpoint or of a ``.toml`` file, or the import path of a class.
        given: Fields of ``NetworkSpec``; they override those of a TOML file.

    Raises:
        UsageError: Fields are given for a checkpoint, or a field is missing or impossible.
        ModelError: The network or its weights are refused.
    """
    text = str(source)
    if text.endswith(".toml"):
        return load_network(dataclasses.replace(read_spec(Path(source)), **given))
    if is_import_path(text):
        if "weights" not in given:
            raise UsageError(f"{text} needs its weights", remedy="give --weights FILE.safetensors or FILE.pth")
        return load_network(NetworkSpec(network=text, **given))
    if text.lower().endswith(ONNX_SUFFIX):
        return load_onnx_network(NetworkSpec(network=Path(source).name, weights=Path(source), **given))
    if given:
        raise UsageError(
            f"{next(iter(given))} does not go with a checkpoint of `polyexport train`",
            remedy="leave it out: a checkpoint holds it already; for another network give package.module:Class",
        )
    return load_trainer_checkpoint(Path(source))
