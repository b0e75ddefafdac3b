"""Messages between the process that holds the plan and the actors that do the work: JSON, never pickles of ours."""

import json
import os
from dataclasses import asdict, dataclass
from typing import Any

from polyexport.imaging.color import Color
from polyexport.pipeline.outputs.disk import UnpublishedOutput
from polyexport.pipeline.outputs.journal import Record
from polyexport.pipeline.plan import Item, output_name
from polyexport.pipeline.results import ItemResult, Status, Timings
from polyexport.storage.stores import is_url

__all__ = ["Answer", "Task", "absolute"]


@dataclass(frozen=True, slots=True)
class Task:
    """One input, and what earlier runs left of its outputs."""

    item: Item
    prior_results: tuple[int, ...]
    """``PriorResult`` of each color's output."""

    records: tuple[Record | None, ...]
    """Latest journal record of each color's output."""

    def to_json(self) -> str:
        """Return the task as JSON text."""
        colors = [[color.name, color.rgb] for color in self.item.colors]
        records = [record and asdict(record) for record in self.records]
        value = {
            "source": self.item.source,
            "name": self.item.name,
            "colors": colors,
            "clash": self.item.clash,
            "prior_results": self.prior_results,
            "records": records,
        }
        return json.dumps(value)

    @classmethod
    def from_json(cls, text: str) -> "Task":
        """Read the text that ``to_json`` returned."""
        value = json.loads(text)
        colors = tuple(Color(name, (red, green, blue)) for name, (red, green, blue) in value["colors"])
        records = tuple(record and Record(**record) for record in value["records"])
        return cls(Item(value["source"], value["name"], colors, value["clash"]), tuple(value["prior_results"]), records)

    def recorded(self) -> dict[str, Record]:
        """Return the records by output name, without outputs that have none."""
        pairs = zip(self.item.colors, self.records, strict=True)
        return {output_name(self.item, color): record for color, record in pairs if record is not None}


@dataclass(frozen=True, slots=True)
class Answer:
    """Result of one input, whose outputs are staged and still to be published."""

    status: Status
    reason: str
    warnings: tuple[str, ...]
    timings: Timings
    outputs: tuple[UnpublishedOutput, ...]

    @classmethod
    def of(cls, result: ItemResult, outputs: tuple[UnpublishedOutput, ...]) -> "Answer":
        """Make the answer from the result of a run and the outputs that the run staged."""
        return cls(result.status, result.reason, result.warnings, result.timings, outputs)

    def to_json(self) -> str:
        """Return the answer as JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Answer":
        """Read the text that ``to_json`` returned."""
        value: dict[str, Any] = json.loads(text)
        outputs = tuple(UnpublishedOutput(**{**one, "record": Record(**one["record"])}) for one in value["outputs"])
        return cls(value["status"], value["reason"], tuple(value["warnings"]), Timings(**value["timings"]), outputs)


def absolute(source: str) -> str:
    """Return an input's path or URL in a form that does not depend on the working folder of a process."""
    return source if is_url(source) else os.path.abspath(source)  # noqa: PTH100 - text stays text
