"""Untrusted JSON values -> typed dataclasses, without converting, skipping or guessing anything."""

import math
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

__all__ = ["build"]

T = TypeVar("T")


def build(kind: type[T], value: object) -> T:
    """Build a dataclass from a JSON object that has exactly the fields of the dataclass.

    Fields may be dataclasses, ``str``, ``int``, ``float``, ``bool``, ``None``, literals, unions, tuples (JSON lists)
    and ``dict[str, ...]``. An ``int`` is accepted for a ``float``; a ``bool`` is accepted for neither. A ``float`` must
    be finite.

    Args:
        kind: The dataclass.
        value: A value as ``json.loads`` returns it.

    Raises:
        ValueError: A field is missing or unknown, or has a value of another type; the message names the field. An error
            of the dataclass itself is passed on.
    """
    built: T = _dataclass(kind, value, "")
    return built


def _dataclass(kind: type[Any], value: object, where: str) -> Any:
    named = where or "the object"
    if not isinstance(value, dict):
        raise ValueError(f"{named} is {_name(value)}, expected an object")  # noqa: TRY004 - callers catch one exception
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
    kinds = _of_same_kind(kinds, value, where)
    faults = []
    for kind in kinds:
        try:
            return _value(kind, value, where)
        except ValueError as error:
            faults.append(str(error))
    # Report an alternative other than None: a value was given, so None was not meant.
    raise ValueError(faults[0] if kinds[-1] is types.NoneType else faults[-1])


def _of_same_kind(kinds: tuple[Any, ...], value: object, where: str) -> tuple[Any, ...]:
    """Return the dataclass whose literal ``kind`` is that of an object, where the alternatives are told apart by it."""
    literals = {get_args(_hints(kind)["kind"])[0]: kind for kind in kinds if "kind" in _hints(kind)}
    if len(literals) < len(kinds) or not isinstance(value, dict):
        return kinds
    if "kind" not in value:
        raise ValueError(f"{where} lacks kind")
    kind = value["kind"]
    if not isinstance(kind, str) or kind not in literals:
        raise ValueError(f"{where}.kind is {_name(kind)}, expected {' or '.join(map(repr, literals))}")
    return (literals[kind],)


def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind) if is_dataclass(kind) else {}


def _finite(value: float, where: str) -> float:
    """Return a number as a finite float; Python's JSON reader accepts NaN, Infinity and integers of any size."""
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
