"""Bench reports of earlier schemas, read exactly: what they did not record is filled in as not recorded."""

from collections.abc import Mapping
from typing import Any

__all__ = ["OLDEST", "upgraded"]

OLDEST = 1
"""Earliest version of a report that can be read."""

_VERDICTS = 2
"""Version in which a gate got a third answer beside met and missed."""

_ADDED: Mapping[int, Mapping[str, Mapping[str, Any]]] = {
    2: {
        "": {"measured_at": "", "machine": None, "baseline_differences": []},
        "rows": {"capacity": None, "outliers": None, "target_interval": None, "target_slower": None},
        "compared": {"work": "call", "images": 1, "cpu_ms": None, "block_ms": [], "failure": ""},
    },
}
"""Fields by the version that added them and by the member that holds them, with the values that stand for a report
without them. The name of the report itself is empty; fields of a list are those of its members."""


def upgraded(value: Mapping[str, Any], version: int) -> dict[str, Any]:
    """Return a report with the fields of a later version.

    Args:
        value: the report as JSON, with an integer as its ``schema`` from ``OLDEST`` to ``version``.
        version: the version that is wanted.

    Raises:
        ValueError: the report has a field that its version did not have, or something else in place of what holds one.
    """
    report = dict(value)
    for step in range(report["schema"] + 1, version + 1):
        for member, added in _ADDED[step].items():
            if not member:
                report = _with(report, added, step)
                continue
            if member not in report:
                continue  # whoever builds the report refuses it
            inner = report[member]
            report[member] = (
                [_with(one, added, step) for one in inner] if isinstance(inner, list) else _with(inner, added, step)
            )
        if step == _VERDICTS and isinstance(report.get("gate"), dict):
            report["gate"] = _with_verdict(report["gate"])
    return report | {"schema": version}


def _with_verdict(gate: Mapping[str, Any]) -> dict[str, Any]:
    """Say in a word what a gate of the version before ``_VERDICTS`` says by ``met``."""
    if not isinstance(gate.get("met"), bool):
        return dict(gate)  # whoever builds the report refuses it
    kept = {name: value for name, value in gate.items() if name != "met"}
    return _with(kept, {"verdict": "met" if gate["met"] else "missed"}, _VERDICTS)


def _with(value: Any, added: Mapping[str, Any], version: int) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{str(value)[:60]!r} stands in place of an object")  # noqa: TRY004 - callers catch one exception
    twice = sorted(value.keys() & added.keys())
    if twice:
        raise ValueError(f"it has {', '.join(twice)}, which schema {version} added")
    return {**value, **added}
