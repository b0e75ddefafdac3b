"""The tensors in a file of weights, wherever they stand in it, under names that join the keys on their way by dots."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from polyexport.errors import CheckpointError, UsageError
from polyexport.export.source.weights_file import COLOR_MAPPINGS, REMEDY, read_file

__all__ = ["Weights", "count_tensors", "describe", "first_names", "not_dense", "read_weights"]

_MAX_DEPTH = 32
_MAX_VALUES = 2_000_000
_INDEX = re.compile(r"[0-9]{1,9}")
_PROGRESS = ("epoch", "global_step", "step", "iteration")


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """Contents of one file of weights."""

    path: Path
    tensors: Mapping[str, Tensor]
    """Every tensor by its full name: the keys of the dictionaries and the indices of the lists that it stands in."""

    homes: Mapping[str, str] = field(default_factory=dict)
    """First part of a full name, with its dot, that leads to the dictionary which the tensor stands in; empty for the
    dictionary that is the whole file."""

    foreign: Mapping[str, str] = field(default_factory=dict)
    """Names of types, by full name, of what stands beside tensors in a dictionary inside the file and is not one."""

    color_mappings: tuple[Mapping[Any, Any], ...] = ()
    """Mappings of color names to indices or of indices to names, as found; none if the file names no colors."""

    progress: str = ""
    """Epoch or step of the training, if the file says it, such as ``epoch 42``."""

    size_bytes: int = 0
    sha256: str

    def color_names(self) -> tuple[str, ...]:
        """Return the names of the colors in index order.

        Raises:
            CheckpointError: The names have no indices from 0 up without a gap, or two lists of colors differ.
        """
        found = [_color_names(mapping, self.path) for mapping in self.color_mappings]
        if any(names != found[0] for names in found):
            raise CheckpointError(
                f"{self.path} names its colors {len(found)} times, and differently ({', '.join(COLOR_MAPPINGS)})",
                remedy="give the colors yourself, in index order, with a weights file that names them once or never",
            )
        return found[0]

    def named(self, key: str) -> list[str]:
        """Return the full names of the tensors that a key may mean: the key itself, and names that end in it.

        Raises:
            UsageError: There is none.
        """
        found = [name for name in self.tensors if name == key or name.endswith(f".{key}")]
        if not found:
            near = difflib.get_close_matches(key, self.tensors, n=3) or list(self.tensors)[:3]
            raise UsageError(f"{self.path} holds no tensor {key!r}", remedy=f"did you mean {first_names(near)}?")
        return found

    def dense(self, name: str) -> Tensor:
        """Return one tensor by its full name.

        Raises:
            CheckpointError: It is sparse, quantized, without values, or a view that repeats what is stored.
        """
        tensor = self.tensors[name]
        if (
            tensor.layout != torch.strided
            or tensor.device.type != "cpu"
            or tensor.is_quantized
            # A view can repeat one stored value to any size; such a tensor is not a weight.
            or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()
            # A pickle can ask for memory that the file does not fill.
            or tensor.untyped_storage().nbytes() > max(self.size_bytes, 1)
        ):
            raise not_dense(self.path, name, type(tensor).__name__)
        return tensor


def read_weights(path: Path) -> Weights:
    """Read a file of ``torch.save`` or safetensors of at most 8 GiB.

    Color names stand in the file's dictionary under ``color_mappings``, ``color_to_idx`` or ``color_map``; in a
    safetensors file their JSON stands among the metadata.

    Raises:
        CheckpointError: The file is unreadable, damaged, of another kind, or holds anything but plain data.
    """
    loaded = read_file(path)
    tensors: dict[str, Tensor] = {}
    homes: dict[str, str] = {}
    foreign: dict[str, str] = {}
    for home, key, value in _walk(loaded.values, path):
        name = home + key
        if name in tensors:
            raise CheckpointError(f"{path} holds two tensors named {first_names([name])}", remedy=REMEDY)
        if isinstance(value, Tensor):
            tensors[name], homes[name] = value, home
        else:
            foreign[name] = type(value).__name__
    if not tensors:
        keys = f"the keys {first_names(map(_key, loaded.values))}" if loaded.values else "nothing"
        raise CheckpointError(f"{path} holds {keys}, expected a state dict of tensors", remedy=REMEDY)
    mappings = (loaded.values.get(key) for key in COLOR_MAPPINGS)
    told = ((key, loaded.values.get(key)) for key in _PROGRESS)
    return Weights(
        path=path,
        tensors=tensors,
        homes=homes,
        foreign=foreign,
        color_mappings=tuple(
            dict(dict.items(mapping)) for mapping in mappings if isinstance(mapping, dict) and mapping
        ),
        progress=", ".join(f"{key} {value}" for key, value in told if type(value) is int and 0 <= value < 10**12),
        size_bytes=loaded.size_bytes,
        sha256=loaded.sha256,
    )


def describe(tensor: Tensor) -> str:
    """Describe type and shape of a tensor, such as ``float32 [2, 3, 128, 128]``."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def first_names(names: Iterable[str], few: int = 3) -> str:
    """Join the first few names on one line, escaped, and say how many more there are."""
    every = [name if name.isprintable() else ascii(name) for name in names]
    return ", ".join(name[:100] for name in every[:few]) + (f" and {len(every) - few} more" if len(every) > few else "")


def count_tensors(names: Sized) -> str:
    """Say how many tensors there are."""
    return "1 tensor" if len(names) == 1 else f"{len(names)} tensors"


def not_dense(path: Path, name: str, kind: str) -> CheckpointError:
    """Return the error for a value that is not a tensor of weights."""
    return CheckpointError(f"{path} holds {first_names([name])} as {kind}, expected a dense tensor", remedy=REMEDY)


def _walk(values: dict[Any, Any], path: Path) -> Iterator[tuple[str, str, object]]:
    """Yield every tensor, and what stands beside tensors in a dictionary inside the file: its home, key and value."""
    waiting: list[tuple[str, str, int, bool, object]] = [("", "", 0, False, values)]
    seen = 0
    while waiting:
        place, key, depth, beside_tensors, holder = waiting.pop()
        assert isinstance(holder, dict | list | tuple)
        # Not holder.items(): a pickle can give an ordered dictionary attributes that hide its methods.
        items = list(dict.items(holder) if isinstance(holder, dict) else enumerate(holder))
        seen += len(items)
        if depth > _MAX_DEPTH or seen > _MAX_VALUES:
            raise CheckpointError(
                f"{path} holds dictionaries inside each other, more than {_MAX_DEPTH} deep or {_MAX_VALUES} values",
                remedy=REMEDY,
            )
        home = f"{place}{key}." if depth else ""
        state_dict = depth > 0 and isinstance(holder, dict) and any(isinstance(value, Tensor) for _, value in items)
        inner: list[tuple[str, str, int, bool, object]] = []
        leaf = True
        for each, value in items:
            name = _key(each)
            if isinstance(value, Tensor):
                leaf = False
                yield home, name, value
            elif isinstance(value, dict | list | tuple):
                leaf = False
                inner.append((home, name, depth + 1, state_dict, value))
            elif state_dict:
                yield home, name, value
        if leaf and beside_tensors:
            yield place, key, holder
        waiting.extend(reversed(inner))


def _key(key: object) -> str:
    if isinstance(key, str):
        return key
    return str(key) if type(key) is int and 0 <= key < 10**9 else f"<{type(key).__name__}>"


def _color_names(mapping: Mapping[Any, Any], path: Path) -> tuple[str, ...]:
    indexed: dict[int, str] = {}
    for key, value in mapping.items():
        if isinstance(key, str) and type(value) is int:
            indexed[value] = key
        elif isinstance(value, str) and (type(key) is int or (isinstance(key, str) and _INDEX.fullmatch(key))):
            indexed[int(key)] = value  # keys of JSON objects are text
    if len(indexed) != len(mapping) or indexed.keys() != set(range(len(mapping))):
        raise CheckpointError(
            f"the color names in {path} have no indices from 0 to {len(mapping) - 1} without gaps: "
            f"{' '.join(repr(dict(mapping)).split())[:120]}",
            remedy="give the colors yourself, in index order, with a weights file that names none",
        )
    return tuple(indexed[i] for i in range(len(indexed)))
