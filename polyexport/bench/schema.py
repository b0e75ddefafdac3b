"""JSON Schema of the benchmark report, made from the types of ``polyexport.bench.document``.

``report.schema.json`` beside this module holds it, for programs that read reports; ``docs/report_schema.py`` writes it.
"""

import types
from dataclasses import fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from polyexport.bench.document import SCHEMA, BenchReport

__all__ = ["report_schema"]

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", types.NoneType: "null"}


def report_schema() -> dict[str, Any]:
    """Return the schema, JSON Schema draft 2020-12, of what ``BenchReport.to_json`` writes in this version."""
    definitions: dict[str, Any] = {}
    root = _of(BenchReport, definitions)
    definitions[BenchReport.__name__]["properties"]["schema"] = {"const": SCHEMA}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Report of `polyexport bench`, schema {SCHEMA}",
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


def _of(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a type that ``polyexport.storage.typed_json`` knows; dataclasses go to the definitions."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return {"anyOf": [_of(each, definitions) for each in arguments]}
    if origin is tuple and arguments[1:] == (...,):
        return {"type": "array", "items": _of(arguments[0], definitions)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _of(arguments[1], definitions)}
    if origin is Literal:
        return {"enum": list(arguments)}
    if is_dataclass(kind) and isinstance(kind, type):
        return _object(kind, definitions)
    if kind not in _PLAIN:
        raise TypeError(f"{kind} has no schema")
    return {"type": _PLAIN[kind]}


def _object(kind: type[Any], definitions: dict[str, Any]) -> dict[str, Any]:
    if kind.__name__ not in definitions:
        definitions[kind.__name__] = {}  # first, for a type that holds itself
        hints = get_type_hints(kind)
        names = [field.name for field in fields(kind)]
        definitions[kind.__name__] = {
            "description": (kind.__doc__ or "").strip().partition("\n")[0],
            "type": "object",
            "properties": {name: _of(hints[name], definitions) for name in names},
            "required": names,
            "additionalProperties": False,
        }
    return {"$ref": f"#/$defs/{kind.__name__}"}
