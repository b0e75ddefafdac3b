"""The tensors in what a network returns: a tensor, or tuples, lists, dictionaries and dataclasses of them."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

__all__ = ["leaves", "pick"]

_MAX_DEPTH = 8


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor in a value with its path, such as ``0`` or ``preds.1``; the path of a lone tensor is empty."""
    if isinstance(value, Tensor):
        yield path, value
    elif path.count(".") < _MAX_DEPTH:
        for key, inner in _items(value):
            yield from leaves(inner, f"{path}.{key}" if path else str(key))


def pick(value: Any, path: str) -> Tensor:
    """Return the tensor at a path.

    Raises:
        KeyError: there is none.
    """
    found = value
    for part in path.split(".") if path else ():
        found = {str(key): inner for key, inner in _items(found)}[part]
    if not isinstance(found, Tensor):
        raise KeyError(path)
    return found


def _items(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, tuple | list):
        return list(enumerate(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(each.name, getattr(value, each.name)) for each in dataclasses.fields(value)]
    return []
