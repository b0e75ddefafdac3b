"""Registry of the bench scenarios: one file and one row each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from polyexport.bench.scenarios.capacity import CapacitySearch
from polyexport.bench.scenarios.cold_start import ColdStart
from polyexport.bench.scenarios.end_to_end import EndToEnd
from polyexport.bench.scenarios.latency import Latency
from polyexport.bench.scenarios.palette import Palette
from polyexport.bench.scenarios.scenario import Scenario, ScenarioOption
from polyexport.bench.scenarios.throughput import Throughput

__all__ = [
    "SCENARIOS",
    "SharedOption",
    "build_scenario",
    "default_scenarios",
    "markdown_table",
    "scenario_options",
    "times_images",
]

_ROWS: tuple[type[Scenario], ...] = (
    Latency,
    Throughput,
    EndToEnd,
    Palette,
    ColdStart,
    CapacitySearch,
)

SCENARIOS: dict[str, type[Scenario]] = {scenario.name: scenario for scenario in _ROWS}
"""Scenario by its name on the command line, in the order of ``--help``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedOption:
    """Command line option and the names of the scenarios that take it."""

    declared: ScenarioOption
    scenarios: tuple[str, ...]


def default_scenarios() -> tuple[str, ...]:
    """Names of the scenarios that are measured if none is named."""
    return tuple(name for name, scenario in SCENARIOS.items() if scenario.by_default)


def build_scenario(name: str, values: Mapping[str, object] | None = None) -> Scenario:
    """Build a scenario from its name.

    Args:
        name: a key of ``SCENARIOS``.
        values: values of options by the names of their fields; those of other scenarios are left out.

    Raises:
        ValueError: unknown name, or a value that the scenario refuses.
    """
    if name not in SCENARIOS:
        raise ValueError(f"scenario must be one of {', '.join(SCENARIOS)}, got {name!r}")
    names = {field.name for field in fields(SCENARIOS[name])}
    return SCENARIOS[name](**{field: value for field, value in (values or {}).items() if field in names})


def scenario_options() -> Sequence[SharedOption]:
    """Options of all scenarios; one that several scenarios take appears once.

    Raises:
        ValueError: two scenarios declare different options for one field name.
    """
    found: dict[str, SharedOption] = {}
    for name, scenario in SCENARIOS.items():
        for declared in scenario.options():
            before = found.get(declared.field)
            if before and before.declared != declared:
                raise ValueError(f"{name} and {before.scenarios[0]} declare {declared.field} differently")
            names = (*before.scenarios, name) if before else (name,)
            found[declared.field] = SharedOption(declared=declared, scenarios=names)
    return tuple(found.values())


def times_images(name: str) -> bool:
    """Whether the rows of a scenario are times of images; True for a scenario that is not known here."""
    return name not in SCENARIOS or SCENARIOS[name].times_images


def markdown_table() -> str:
    """Table of the scenarios in docs/bench.md, without a line break at its end."""
    rows = [("scenario", "what is timed"), ("---", "---")]
    rows += [(f"`{name}`", scenario.rule) for name, scenario in SCENARIOS.items()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
