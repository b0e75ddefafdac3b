"""Reading of untrusted files of weights, from ``torch.save`` or safetensors, into plain values.

Unpickling is restricted to ``weights_only=True`` and the stand-ins for harmless containers, and a refused file is not
tried again in any other way.
"""

import collections
import hashlib
import io
import pickle
import pickletools
import re
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from polyexport.errors import CheckpointError, reason_of
from polyexport.export.source.containers import STAND_INS
from polyexport.storage.files import read_limited
from polyexport.storage.strict_json import read_json

__all__ = ["COLOR_MAPPINGS", "REMEDY", "LoadedFile", "read_file"]

COLOR_MAPPINGS = ("color_mappings", "color_to_idx", "color_map")
"""Keys under which a file may hold the names of the colors that its network knows."""

REMEDY = "save the state dict alone, as safetensors or with torch.save(module.state_dict(), ...)"
"""Advice for a file that is refused."""

_MAX_BYTES = 1 << 33
_MAX_PICKLE_BYTES = 1 << 23
"""Largest part of a file that is unpickled: its names and shapes, some 200 bytes for each tensor. A pickle can make
objects of up to 80 times its size."""

_LEGACY_START = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
"""First pickle of the format of torch.save before zip archives: a magic number."""

_LEGACY_PICKLES = 4  # the magic number, the version, facts about the machine, and the contents

_MAX_HEADER_BYTES = 1 << 24
"""Largest header of a safetensors file. 100,000 tensors need less."""

_FORBIDDEN = re.compile(r"GLOBAL ([\w.]+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedFile:
    """Contents of one file of weights."""

    values: dict[Any, Any]
    """The dictionary in the file: tensors by name, or whatever a training saved."""

    size_bytes: int
    sha256: str
    """SHA-256 of the bytes that were loaded, lowercase hex."""


def read_file(path: Path) -> LoadedFile:
    """Read a file of ``torch.save`` or safetensors of at most 8 GiB. The bytes that are hashed are those loaded.

    Which of the two it is, its first bytes tell; so suffixes such as ``.ckpt``, ``.bin`` and ``.pth.tar`` mean nothing.
    The JSON of ``COLOR_MAPPINGS`` among the metadata of a safetensors file stands in the dictionary beside the tensors.

    Raises:
        CheckpointError: The file is unreadable, damaged, of another kind, or holds anything but plain data and
            harmless containers.
    """
    if path.suffix.lower() == ".pt2":
        raise _is_program(path)
    try:
        data = read_limited(path, _MAX_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or reason_of(error)
        raise CheckpointError(f"{path} cannot be read ({reason})", remedy="give a file of weights") from error
    if data.startswith(b"PK"):
        _check_archive(data, path)
        loaded = _unpickle(data, path)
    elif data.startswith(_LEGACY_START):
        _check_legacy(data, path)
        loaded = _unpickle(data, path)
    elif path.suffix.lower() == ".safetensors" or data[8:9] == b"{":
        loaded = _read_safetensors(data, path)
    else:
        raise CheckpointError(
            f"{path} is not a zip archive or a pickle of protocol 2, as torch.save writes them, nor a safetensors file",
            remedy=REMEDY,
        )
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{path} holds a {type(loaded).__name__}, expected a dictionary", remedy=REMEDY)
    return LoadedFile(
        # A pickle can give an ordered dictionary attributes that hide its methods.
        values=dict(dict.items(loaded)),
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _read_safetensors(data: bytes, path: Path) -> dict[str, Any]:
    try:
        length = int.from_bytes(data[:8], "little")
        if length > _MAX_HEADER_BYTES:
            raise ValueError(f"a header of {length} bytes, more than {_MAX_HEADER_BYTES}")  # noqa: TRY301
        # safetensors checks what the header means; its Python interface does not hand the metadata out.
        header = read_json(data[8 : 8 + length])
        metadata = header.get("__metadata__", {}) if isinstance(header, dict) else None
        if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
            raise ValueError("a header or metadata of another kind")  # noqa: TRY301
        named = {key: read_json(metadata[key]) for key in COLOR_MAPPINGS if key in metadata}
        tensors: dict[str, Any] = safetensors.torch.load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{path} is not a safetensors file, or damaged ({reason_of(error)})", remedy=REMEDY
        ) from error
    return {**named, **dict(sorted(tensors.items()))}  # safetensors gives them in no order


def _unpickle(data: bytes, path: Path) -> object:
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(STAND_INS):
            warnings.simplefilter("ignore")  # about pickle protocols; unsafe files are refused
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's message advises loading without weights_only: not to be repeated here.
        forbidden = _FORBIDDEN.search(str(error))
        what = f"asks for {forbidden[1]}" if forbidden else "is not in pickle protocol 2"
        raise CheckpointError(f"{path} is not a file of plain tensors: it {what}", remedy=REMEDY) from error
    except Exception as error:  # a damaged file can raise any exception
        raise CheckpointError(
            f"{path} is not a file of weights, or damaged ({reason_of(error)})", remedy=REMEDY
        ) from error


def _check_archive(data: bytes, path: Path) -> None:
    """Refuse zip archives that torch.save did not write, from their directory alone."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
    except Exception as error:  # a damaged archive can raise any exception
        raise CheckpointError(f"{path} is a damaged zip archive ({reason_of(error)})", remedy=REMEDY) from error
    names = {entry.filename.partition("/")[2] for entry in entries} | {entry.filename for entry in entries}
    if "constants.pkl" in names or any(name.startswith("code/") for name in names):
        raise CheckpointError(f"{path} is a TorchScript archive: a program, not weights", remedy=REMEDY)
    if names & {"archive_format", "serialized_exported_program.json"} or any(n.startswith("models/") for n in names):
        raise _is_program(path)
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):  # a bomb; torch.save compresses nothing
        raise CheckpointError(f"{path} is a compressed archive, which torch.save does not write", remedy=REMEDY)
    # Entries that are stored once each cannot be larger than the file; entries that share their bytes can.
    total = sum(entry.file_size for entry in entries)
    if total > len(data):
        raise CheckpointError(f"{path} declares {total} bytes of contents in {len(data)} bytes", remedy=REMEDY)
    largest = max((entry.file_size for entry in entries if entry.filename.endswith(".pkl")), default=0)
    if largest > _MAX_PICKLE_BYTES:
        raise _too_long(path)


def _check_legacy(data: bytes, path: Path) -> None:
    """Refuse files of the format before zip archives whose pickles are too long, without making an object of them."""
    start = io.BytesIO(data[:_MAX_PICKLE_BYTES])
    try:
        for _ in range(_LEGACY_PICKLES):
            collections.deque(pickletools.genops(start), maxlen=0)
    except Exception as error:  # a damaged pickle can raise any exception
        if start.tell() >= _MAX_PICKLE_BYTES:
            raise _too_long(path) from error
        raise CheckpointError(
            f"{path} is not a file of weights, or damaged ({reason_of(error)})", remedy=REMEDY
        ) from error


def _too_long(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path} describes its tensors in more than {_MAX_PICKLE_BYTES} bytes of pickle", remedy=REMEDY
    )


def _is_program(path: Path) -> CheckpointError:
    return CheckpointError(f"{path} is a torch.export archive (.pt2): a program, not weights", remedy=REMEDY)
