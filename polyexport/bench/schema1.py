"""Version 1 of the bench report: which entries of version 2 it lacks, or has in another form."""

from typing import Any

__all__ = ["SCHEMA", "renewed"]

SCHEMA = 1

_NEW_IN_ROWS = ("capacity", "outliers", "target_interval", "target_slower")


def renewed(value: dict[str, Any], schema: int) -> dict[str, Any]:
    """Return the entries of a report of version 1 as a later version has them.

    Args:
        value: JSON object of version 1, untrusted. Entries that are not what they should be are left to the reader.
        schema: the later version.

    Raises:
        ValueError: an entry is there that version 1 does not have.
    """
    rows, gate = value.get("rows"), value.get("gate")
    _refuse(value, ("machine",))
    changed: dict[str, Any] = {"schema": schema, "machine": None}
    if isinstance(rows, list):
        changed["rows"] = [_row(row) for row in rows]
    if isinstance(gate, dict) and type(gate.get("met")) is bool:
        _refuse(gate, ("verdict",))
        kept = {name: entry for name, entry in gate.items() if name != "met"}
        changed["gate"] = kept | {"verdict": "met" if gate["met"] else "missed"}
    return value | changed


def _row(row: Any) -> Any:
    if not isinstance(row, dict):
        return row
    _refuse(row, _NEW_IN_ROWS)
    return row | dict.fromkeys(_NEW_IN_ROWS)


def _refuse(entries: dict[str, Any], new: tuple[str, ...]) -> None:
    unknown = sorted(set(new) & set(entries))
    if unknown:
        raise ValueError(f"the object has an unknown {', '.join(unknown)}")
