"""Compiled models, kept from one process to the next in the user's cache folder.

What is kept is what the runtime itself writes for this purpose: the graph after its transformations, with its weights.
It is given back to the runtime only from a folder that nobody else may enter (``storage.cache_folder``), for the same
model, runtime, options and processor.
"""

import functools
import hashlib
import os
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from polyexport.runtime.machine import cpu_identity
from polyexport.storage.cache_folder import EntryFolder, cache_folder

__all__ = ["MAX_BYTES", "compiled_key", "compiled_models"]

MAX_BYTES = 512 << 20
"""Largest size of all compiled models together; the least recently used ones make room for others."""

_FORMAT = 1
_VARIABLES = ("DNNL_", "ONEDNN_", "OV_")  # beginnings of names of environment variables that change what is compiled


def compiled_models() -> EntryFolder:
    """Return the folder of compiled models, which need not exist or be usable."""
    folder = cache_folder()
    return EntryFolder(None if folder is None else folder / "compiled-models", max_bytes=MAX_BYTES)


def compiled_key(model: bytes, runtime: str, options: Mapping[str, Any]) -> str:
    """Return the key of a compiled model: everything that decides what a runtime makes of a graph.

    Args:
        model: bytes of the ONNX file, as it is given to the runtime.
        runtime: name of the package of the runtime, which need not be imported.
        options: the runtime's options.
    """
    variables = {name: value for name, value in os.environ.items() if name.startswith(_VARIABLES)}
    parts = [
        f"format {_FORMAT}",
        f"model {hashlib.sha256(model).hexdigest()}",
        f"runtime {runtime} {_version(runtime)}",
        f"options {sorted(options.items())}",
        f"variables {sorted(variables.items())}",
        f"processor {cpu_identity()}",
    ]
    return "\n".join(parts)


@functools.cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
