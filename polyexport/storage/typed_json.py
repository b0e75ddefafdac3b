"""JSON values -> typed, frozen dataclasses. The values are untrusted: nothing is converted, skipped or guessed."""

import math
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

__all__ = ["build"]

T = TypeVar("T")


def build(kind: type[T], value: object) -> T:
    """Read a dataclass from a JSON object with exactly its fields.

    Fields may be dataclasses, ``str``, ``int``, ``float``, ``bool``, ``None``, literals, unions, tuples (JSON lists)
    and ``dict[str, ...]``. An ``int`` is read for a ``float``, a ``bool`` for neither; a ``float`` is finite.

    Raises:
        ValueError: a missing or unknown field, or a value of another type; the message names the field. What the
            dataclass itself refuses is passed on.
    """
    built: T = _dataclass(kind, value, "")
    return built


def _dataclass(kind: type[Any], value: object, where: str) -> Any:
    named = where or "the object"
    if not isinstance(value, dict):
        raise ValueError(f"{named} is {_name(value)}, expected an object")  # noqa: TRY004 - one kind for every fault
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    for fault, faulty in (("lacks", set(names) - set(value)), ("has an unknown", set(value) - set(names))):
        if faulty:
            raise ValueError(f"{named} {fault} {', '.join(sorted(map(str, faulty)))[:100]}")
    return kind(**{name: _value(hints[name], value[name], f"{where}.{name}" if where else name) for name in names})


def _value(kind: Any, value: object, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _union(arguments, value, where)
    if origin is tuple and isinstance(value, list):
        kinds = [arguments[0]] * len(value) if arguments[1:] == (...,) else arguments
        if len(kinds) != len(value):
            raise ValueError(f"{where} has {len(value)} values, expected {len(kinds)}")
        return tuple(_value(each, one, f"{where}[{i}]") for i, (each, one) in enumerate(zip(kinds, value, strict=True)))
    if origin is dict and isinstance(value, Mapping):
        return {str(key): _value(arguments[1], one, f"{where}.{key}"[:100]) for key, one in value.items()}
    if origin is Literal and any(type(value) is type(one) and value == one for one in arguments):
        return value
    if is_dataclass(kind):
        return _dataclass(kind, value, where)  # type: ignore[arg-type]
    if kind is float and type(value) in (int, float):
        return _finite(value, where)  # type: ignore[arg-type]
    if isinstance(kind, type) and type(value) is kind:
        return value
    raise ValueError(f"{where} is {_name(value)}, expected {_expected(kind)}")


def _union(kinds: tuple[Any, ...], value: object, where: str) -> Any:
    faults = []
    for kind in kinds:
        try:
            return _value(kind, value, where)
        except ValueError as error:
            faults.append(str(error))
    # The last alternative says most: None comes first or is meant by nobody who gave a value.
    raise ValueError(faults[0] if kinds[-1] is types.NoneType else faults[-1])


def _finite(value: float, where: str) -> float:
    """Python reads NaN and Infinity, which JSON does not have, and integers that no float holds."""
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{where} is {_name(value)}, expected a finite number")
    return number


def _name(value: object) -> str:
    return repr(value)[:60]


def _expected(kind: Any) -> str:
    return (
        " or ".join(map(repr, get_args(kind))) if get_origin(kind) is Literal else getattr(kind, "__name__", str(kind))
    )
