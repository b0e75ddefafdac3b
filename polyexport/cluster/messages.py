"""What travels between the process that holds the plan and the actors that do the work: JSON, never pickles of ours."""

import json
import os
from dataclasses import asdict, dataclass
from typing import Any, Literal

from polyexport.imaging.color import Color
from polyexport.pipeline.outputs.disk import Pending
from polyexport.pipeline.outputs.journal import Record
from polyexport.pipeline.plan import Item, output_name
from polyexport.pipeline.run import ItemResult, Timings
from polyexport.storage.stores import is_url

__all__ = ["Answer", "Task", "absolute"]


@dataclass(frozen=True, slots=True)
class Task:
    """One input, and what stands at the names of its outputs."""

    item: Item
    standing: tuple[int, ...]
    """``Standing`` for each colour."""

    records: tuple[Record | None, ...]
    """The journal's last word on each output."""

    def to_json(self) -> str:
        """Write it."""
        colors = [[color.name, color.rgb] for color in self.item.colors]
        records = [record and asdict(record) for record in self.records]
        value = {
            "source": self.item.source,
            "name": self.item.name,
            "colors": colors,
            "standing": self.standing,
            "records": records,
        }
        return json.dumps(value)

    @classmethod
    def from_json(cls, text: str) -> "Task":
        """Read what ``to_json`` wrote."""
        value = json.loads(text)
        colors = tuple(Color(name, (red, green, blue)) for name, (red, green, blue) in value["colors"])
        records = tuple(record and Record(**record) for record in value["records"])
        return cls(Item(value["source"], value["name"], colors), tuple(value["standing"]), records)

    def recorded(self) -> dict[str, Record]:
        """The records by output."""
        pairs = zip(self.item.colors, self.records, strict=True)
        return {output_name(self.item, color): record for color, record in pairs if record is not None}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one input; its outputs are staged and still to be named."""

    status: Literal["ok", "failed", "skipped"]
    reason: str
    warnings: tuple[str, ...]
    timings: Timings
    pending: tuple[Pending, ...]

    @classmethod
    def of(cls, result: ItemResult, pending: tuple[Pending, ...]) -> "Answer":
        """From the result of a pipeline."""
        return cls(result.status, result.reason, result.warnings, result.timings, pending)

    def to_json(self) -> str:
        """Write it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Answer":
        """Read what ``to_json`` wrote."""
        value: dict[str, Any] = json.loads(text)
        pending = tuple(Pending(**{**one, "record": Record(**one["record"])}) for one in value["pending"])
        return cls(value["status"], value["reason"], tuple(value["warnings"]), Timings(**value["timings"]), pending)


def absolute(source: str) -> str:
    """A path as every process understands it, whatever its working folder."""
    return source if is_url(source) else os.path.abspath(source)  # noqa: PTH100 - text stays text
