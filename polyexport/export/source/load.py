"""One function that loads a network from a source of any kind."""

import dataclasses
from pathlib import Path
from typing import Any

from polyexport.errors import UsageError
from polyexport.export.source.network import load_network
from polyexport.export.source.onnx_network import load_onnx_network
from polyexport.export.source.program import PROGRAM_SUFFIX, load_program
from polyexport.export.source.source import Source
from polyexport.export.source.spandrel_file import load_spandrel_file
from polyexport.export.source.spec import ONNX_SUFFIX, NetworkSpec
from polyexport.export.source.toml_file import read_spec
from polyexport.export.source.trainer_checkpoint import is_trainer_checkpoint, load_trainer_checkpoint

__all__ = ["is_import_path", "load_source"]


def is_import_path(source: str) -> bool:
    """Tell whether a source is ``package.module:Class`` rather than the path of a file."""
    return ":" in source and not Path(source).exists()


def load_source(source: str | Path, *, trust_program: bool = False, **given: Any) -> Source:
    """Load a network from any source.

    Args:
        source: Path of a checkpoint of ``trainer``, of a file of weights whose network spandrel knows, of a program of
            ``torch.export`` (``.pt2``), of a foreign ``.onnx`` file, or of a ``.toml`` file that describes a network;
            or the import path of a class, ``package.module:Class``.
        trust_program: Load a program, which can run any code while it is read.
        given: Fields of ``NetworkSpec``; they override those of a TOML file.

    Raises:
        UsageError: Fields are given for a source that holds them already, a field is missing or impossible, or a
            program is not trusted.
        ModelError: The network or its weights are refused.
    """
    text = str(source)
    if text.endswith(".toml"):
        spec = dataclasses.replace(read_spec(Path(source)), **given)
        return load_onnx_network(spec) if spec.network.lower().endswith(ONNX_SUFFIX) else load_network(spec)
    if is_import_path(text):
        if "weights" not in given:
            raise UsageError(f"{text} needs its weights", remedy="give --weights FILE.safetensors or FILE.pth")
        return load_network(NetworkSpec(network=text, **given))
    if text.lower().endswith(ONNX_SUFFIX):
        return load_onnx_network(NetworkSpec(network=Path(source).name, weights=Path(source), **given))
    path = Path(source)
    if path.suffix.lower() == PROGRAM_SUFFIX:
        _expect_only(given, ("size", "value_range", "output_range"), "a program")
        return load_program(path, trust=trust_program, **given)
    if is_trainer_checkpoint(path):
        _expect_only(given, (), "a checkpoint of `polyexport train`")
        return load_trainer_checkpoint(path)
    _expect_only(given, ("weights_key", "size"), "a file of weights alone")
    return load_spandrel_file(path, **given)


def _expect_only(given: dict[str, Any], fields: tuple[str, ...], kind: str) -> None:
    """Refuse fields that do not go with a kind of file."""
    for name in given:
        if name not in fields:
            raise UsageError(
                f"{name} does not go with {kind}",
                remedy="leave it out: the file holds the network already; for another give package.module:Class",
            )
