"""Messages between the process that holds the plan and the actors that do the work: JSON, never pickles of ours."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from polyexport.imaging.color import Color
from polyexport.model.settings import Setting
from polyexport.pipeline.outputs.disk import UnpublishedOutput
from polyexport.pipeline.outputs.journal import Record
from polyexport.pipeline.plan import Item, output_name
from polyexport.pipeline.results import ItemResult, Status, Timings
from polyexport.storage.stores import is_url

__all__ = ["Answer", "BlockAnswer", "Task", "absolute"]


@dataclass(frozen=True, slots=True)
class Task:
    """One input, and what earlier runs left of its outputs."""

    item: Item
    prior_results: tuple[int, ...]
    """``PriorResult`` of each setting's output."""

    records: tuple[Record | None, ...]
    """Latest journal record of each setting's output."""

    def to_json(self) -> str:
        """Return the task as JSON text."""
        settings = [[one.folder, [_value_to_json(value) for value in one.values]] for one in self.item.settings]
        records = [record and asdict(record) for record in self.records]
        value = {
            "source": self.item.source,
            "name": self.item.name,
            "settings": settings,
            "clash": self.item.clash,
            "pictures": self.item.pictures,
            "prior_results": self.prior_results,
            "records": records,
        }
        return json.dumps(value)

    @classmethod
    def from_json(cls, text: str) -> "Task":
        """Read the text that ``to_json`` returned."""
        value = json.loads(text)
        settings = tuple(
            Setting(folder, tuple(_value_from_json(one) for one in values)) for folder, values in value["settings"]
        )
        records = tuple(record and Record(**record) for record in value["records"])
        item = Item(value["source"], value["name"], settings, value["clash"], tuple(value["pictures"]))
        return cls(item, tuple(value["prior_results"]), records)

    def recorded(self) -> dict[str, Record]:
        """Return the records by output name, without outputs that have none."""
        pairs = zip(self.item.settings, self.records, strict=True)
        return {output_name(self.item, setting): record for setting, record in pairs if record is not None}


def _value_to_json(value: Any) -> Any:
    """Return the value of a condition as JSON: a color becomes an object, a vector a list, all else stays."""
    return {"name": value.name, "rgb": value.rgb} if isinstance(value, Color) else value


def _value_from_json(value: Any) -> Any:
    if isinstance(value, dict):
        red, green, blue = value["rgb"]
        return Color(value["name"], (red, green, blue))
    return tuple(value) if isinstance(value, list) else value


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

    @classmethod
    def from_value(cls, value: Mapping[str, Any]) -> "Answer":
        """Make the answer from what ``dataclasses.asdict`` made of it, after a way through JSON."""
        outputs = tuple(UnpublishedOutput(**{**one, "record": Record(**one["record"])}) for one in value["outputs"])
        return cls(value["status"], value["reason"], tuple(value["warnings"]), Timings(**value["timings"]), outputs)


@dataclass(frozen=True, slots=True)
class BlockAnswer:
    """Answer of an actor to a block of inputs: their results, or an error that ends the run."""

    answers: tuple[Answer, ...] = ()
    """Result of each input, in the order of the block; none if there is an error."""

    provider: str = ""
    """Execution provider of the actor."""

    fallback_reason: str = ""
    """Why it took no better provider."""

    error: str = ""
    """Message of an error that ends the run, or an empty string."""

    remedy: str = ""
    exit_code: int = 0

    def to_json(self) -> str:
        """Return the answer as JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "BlockAnswer":
        """Read the text that ``to_json`` returned."""
        value: dict[str, Any] = json.loads(text)
        return cls(**{**value, "answers": tuple(map(Answer.from_value, value["answers"]))})


def absolute(source: str) -> str:
    """Return an input's path or URL in a form that does not depend on the working folder of a process."""
    return source if is_url(source) else os.path.abspath(source)  # noqa: PTH100 - text stays text
