"""Reading of untrusted weights of a foreign network, from files of ``torch.save`` or safetensors.

Unpickling is restricted to ``weights_only=True``, and a refused file is not tried again in any other way.
"""

import difflib
import hashlib
import io
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from polyexport.errors import CheckpointError, UsageError, reason_of
from polyexport.storage.files import read_limited
from polyexport.storage.strict_json import read_json

__all__ = ["Weights", "describe", "fit_weights", "read_weights"]

_MAX_BYTES = 1 << 33
_STATE_DICTS = ("model_state_dict", "state_dict", "model", "module")
_COLOR_MAPPINGS = ("color_mappings", "color_to_idx", "color_map")
_PREFIXES = ("module.", "_orig_mod.")  # of DataParallel and DistributedDataParallel, and of torch.compile
_PICKLED = (".pth", ".pt")
_INDEX = re.compile(r"[0-9]{1,9}")
_FORBIDDEN = re.compile(r"GLOBAL ([\w.]+)")
_REMEDY = "save the state dict alone, as safetensors or with torch.save(module.state_dict(), ...)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """Contents of one file of weights."""

    path: Path
    state_dict: dict[str, Tensor]
    """Dense tensors on the CPU, under the names that they have in the file."""

    beside: dict[str, Tensor] = field(default_factory=dict)
    """Dense tensors beside the state dict, where the file holds the state dict under a key."""

    color_mapping: Mapping[Any, Any] | None = None
    """Mapping of color names to indices or of indices to names, as found; None if the file names no colors."""

    sha256: str

    def color_names(self) -> tuple[str, ...]:
        """Return the names of ``color_mapping`` in index order.

        Raises:
            CheckpointError: not names and indices from 0 up without a gap.
        """
        mapping = self.color_mapping or {}
        indexed: dict[int, str] = {}
        for key, value in mapping.items():
            if isinstance(key, str) and type(value) is int:
                indexed[value] = key
            elif isinstance(value, str) and (type(key) is int or (isinstance(key, str) and _INDEX.fullmatch(key))):
                indexed[int(key)] = value  # keys of JSON objects are text
        if not mapping or len(indexed) != len(mapping) or indexed.keys() != set(range(len(mapping))):
            raise CheckpointError(
                f"the color names in {self.path} have no indices from 0 to {len(mapping) - 1} without gaps: "
                f"{' '.join(repr(dict(mapping)).split())[:120]}",
                remedy="give the colors yourself, in index order, with a weights file that names none",
            )
        return tuple(indexed[i] for i in range(len(indexed)))

    def tensor(self, key: str) -> Tensor:
        """Return one tensor by its name in the file.

        Raises:
            UsageError: there is none.
        """
        tensors = {**self.beside, **self.state_dict}
        if key not in tensors:
            near = difflib.get_close_matches(key, tensors, n=3) or list(tensors)[:3]
            raise UsageError(f"{self.path} holds no tensor {key!r}", remedy=f"did you mean {_named(near)}?")
        return tensors[key]


def read_weights(path: Path) -> Weights:
    """Read a ``.safetensors``, ``.pth`` or ``.pt`` file of at most 8 GiB. The bytes that are hashed are those loaded.

    Of a pickled file the state dict is the dictionary itself, or stands in it under ``model_state_dict``,
    ``state_dict``, ``model`` or ``module``. Color names stand beside it under ``color_mappings``, ``color_to_idx`` or
    ``color_map``; in a safetensors file so does their JSON among the metadata.

    Raises:
        CheckpointError: unreadable, damaged, of another kind, or holding anything but plain data.
    """
    suffix = path.suffix.lower()
    if suffix == ".pt2":
        raise _is_program(path)
    if suffix not in (".safetensors", *_PICKLED):
        raise CheckpointError(f"{path} is not a .safetensors, .pth or .pt file", remedy=_REMEDY)
    try:
        data = read_limited(path, _MAX_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or reason_of(error)
        raise CheckpointError(f"{path} cannot be read ({reason})", remedy="give a file of weights") from error
    loaded = _read_pickled(data, path) if suffix in _PICKLED else _read_safetensors(data, path)
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{path} holds a {type(loaded).__name__}, expected a dictionary", remedy=_REMEDY)
    state_dict, beside = _find_state_dict(loaded, path)
    mappings = (loaded.get(key) for key in _COLOR_MAPPINGS)
    return Weights(
        path=path,
        state_dict={name: _dense(name, tensor, path) for name, tensor in state_dict.items()},
        beside={name: _dense(name, tensor, path) for name, tensor in beside.items()},
        color_mapping=next((mapping for mapping in mappings if isinstance(mapping, dict) and mapping), None),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def fit_weights(module: nn.Module, weights: Weights, *, apart: str = "") -> None:
    """Load weights into a module of float32, which they must fit key by key; those of another precision are converted.

    Args:
        module: Module in float32; its weights are replaced.
        weights: Weights of a file.
        apart: Key of a tensor among the weights that the module may lack.

    Raises:
        CheckpointError: keys that are missing, unexpected or of another shape, and values that are not finite.
        UsageError: a module whose state is not known before it first runs, or that keeps more than tensors.
    """
    expected: dict[str, Tensor] = module.state_dict()
    for name, tensor in expected.items():
        if not isinstance(tensor, Tensor) or nn.parameter.is_lazy(tensor):
            raise UsageError(
                f"the network's {name} is {type(tensor).__name__}, expected a tensor of known shape",
                remedy="give a network without lazy modules and extra state",
            )
    found = {name: tensor for name, tensor in weights.state_dict.items() if name != apart or name in expected}
    found = _without_prefixes(found, expected)
    wrong = {
        f"{name} ({describe(tensor)}, expected {describe(expected[name])})": name
        for name, tensor in found.items()
        if name in expected and _kind(tensor) != _kind(expected[name])
    }
    fitting = {name: tensor for name, tensor in found.items() if name not in wrong.values()}
    try:
        # Not strict: the keys are judged here, after the module's own hooks have translated old names.
        outcome = module.load_state_dict(fitting, strict=False)
    except Exception as error:  # load hooks are foreign code
        raise CheckpointError(
            f"{weights.path} does not load into the network ({' '.join(str(error).split())[:200]})", remedy=_REMEDY
        ) from error
    missing = [name for name in outcome.missing_keys if name not in found]
    faults = [
        f"{len(names)} {what} ({_named(names)})"
        for what, names in (("missing", missing), ("unexpected", outcome.unexpected_keys), ("wrongly shaped", wrong))
        if names
    ]
    if faults:
        raise CheckpointError(
            f"{weights.path} does not fit the network: of its {len(expected)} keys, {', '.join(faults)}",
            remedy="give the constructor arguments that the weights were trained with",
        )
    infinite = [name for name, tensor in module.state_dict().items() if not tensor.isfinite().all()]
    if infinite:
        raise CheckpointError(
            f"{weights.path} holds NaN or infinite weights ({_named(infinite)})",
            remedy="give weights of a training that did not diverge",
        )


def describe(tensor: Tensor) -> str:
    """Describe type and shape of a tensor, such as ``float32 [2, 3, 128, 128]``."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _read_safetensors(data: bytes, path: Path) -> dict[str, Any]:
    try:
        tensors: dict[str, Any] = safetensors.torch.load(data)
        # safetensors has checked the header by now; its Python interface does not hand the metadata out.
        metadata = read_json(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__", {})
        named = {key: read_json(metadata[key]) for key in _COLOR_MAPPINGS if key in metadata}
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{path} is not a safetensors file, or damaged ({reason_of(error)})", remedy=_REMEDY
        ) from error
    return {"state_dict": tensors, **named}


def _read_pickled(data: bytes, path: Path) -> object:
    _check_archive(data, path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols; unsafe files are refused
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's message advises loading without weights_only: not to be repeated here.
        forbidden = _FORBIDDEN.search(str(error))
        what = f"asks for {forbidden[1]}" if forbidden else "is not in pickle protocol 2"
        raise CheckpointError(f"{path} is not a file of plain tensors: it {what}", remedy=_REMEDY) from error
    except Exception as error:  # a damaged file can raise any exception
        raise CheckpointError(
            f"{path} is not a file of weights, or damaged ({reason_of(error)})", remedy=_REMEDY
        ) from error


def _check_archive(data: bytes, path: Path) -> None:
    """Refuse zip archives that torch.save did not write; a bare pickle, its oldest format, passes."""
    if not data.startswith(b"PK"):
        return
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
    except Exception as error:  # a damaged archive can raise any exception
        raise CheckpointError(f"{path} is a damaged zip archive ({reason_of(error)})", remedy=_REMEDY) from error
    names = {entry.filename.partition("/")[2] for entry in entries} | {entry.filename for entry in entries}
    if "constants.pkl" in names or any(name.startswith("code/") for name in names):
        raise CheckpointError(f"{path} is a TorchScript archive: a program, not weights", remedy=_REMEDY)
    if names & {"archive_format", "serialized_exported_program.json"} or any(n.startswith("models/") for n in names):
        raise _is_program(path)
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):  # a bomb; torch.save compresses nothing
        raise CheckpointError(f"{path} is a compressed archive, which torch.save does not write", remedy=_REMEDY)


def _is_program(path: Path) -> CheckpointError:
    return CheckpointError(f"{path} is a torch.export archive (.pt2): a program, not weights", remedy=_REMEDY)


def _find_state_dict(loaded: dict[Any, Any], path: Path) -> tuple[dict[Any, Any], dict[str, Tensor]]:
    tensors = {key: value for key, value in loaded.items() if isinstance(key, str) and isinstance(value, Tensor)}
    for key in _STATE_DICTS:
        inner = loaded.get(key)
        if isinstance(inner, dict) and any(isinstance(value, Tensor) for value in inner.values()):
            return inner, tensors
    if not tensors:
        keys = f"the keys {_named(map(str, loaded))}" if loaded else "nothing"
        raise CheckpointError(
            f"{path} holds {keys}, expected a state dict, bare or under {', '.join(_STATE_DICTS)}", remedy=_REMEDY
        )
    return tensors, {}


def _dense(name: object, tensor: object, path: Path) -> Tensor:
    if (
        not isinstance(name, str)
        or not isinstance(tensor, Tensor)
        or tensor.layout != torch.strided
        or tensor.device.type != "cpu"
        or tensor.is_quantized
        # A view can repeat one stored value to any size; such a tensor is not a weight.
        or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()
    ):
        raise CheckpointError(
            f"{path} holds {_named([str(name)])} as {type(tensor).__name__}, expected a dense tensor", remedy=_REMEDY
        )
    return tensor


def _without_prefixes(found: dict[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    while found and not found.keys() & expected.keys():
        prefix = next((prefix for prefix in _PREFIXES if all(name.startswith(prefix) for name in found)), None)
        if prefix is None:
            break
        found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return found


def _kind(tensor: Tensor) -> tuple[object, ...]:
    """Return what two tensors must share to be copied into each other without a loss of meaning."""
    floating = tensor.is_floating_point() and tensor.element_size() > 1  # 8-bit floats mean nothing without a scale
    return tuple(tensor.shape), floating, tensor.is_complex()


def _named(names: Iterable[str]) -> str:
    """Join the first three names on one line, escaped, and say how many more there are."""
    every = [name if name.isprintable() else ascii(name) for name in names]
    return ", ".join(name[:100] for name in every[:3]) + (f" and {len(every) - 3} more" if len(every) > 3 else "")
