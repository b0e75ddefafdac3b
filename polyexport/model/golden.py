"""The golden sample of a model file: an input and the output it had, which every load repeats."""

from dataclasses import asdict, dataclass
from typing import Any

from polyexport.model.conditions.fields import ConditionValue

__all__ = ["GoldenSample"]

_OLD_SAMPLE = frozenset(("color", "colored_png"))


@dataclass(frozen=True, kw_only=True, slots=True)
class GoldenSample:
    """One input and the output it had when the model was exported."""

    image_png: str
    """Base64 of the input, a PNG file."""

    values: tuple[ConditionValue, ...] = ()
    """Value of each condition; ``Condition.encode`` turns it into a row of the input."""

    result_png: str
    """Base64 of the output, a PNG file."""

    def __post_init__(self) -> None:
        for value in self.values:
            if isinstance(value, tuple) and any(not 0 <= channel <= 255 for channel in value):
                raise ValueError(f"golden.color must be from 0 to 255, got {value}")

    def to_entries(self, version: int) -> dict[str, Any]:
        """Return the JSON object of a sample in a version of the contract."""
        if version == 2:
            return {"image_png": self.image_png, "color": self.values[0], "colored_png": self.result_png}
        return asdict(self)

    @classmethod
    def entries_of(cls, value: Any) -> Any:
        """Return the JSON object of a sample of any version in the newest form; anything else as it is."""
        if not isinstance(value, dict) or not _OLD_SAMPLE & value.keys():
            return value
        renamed = {("result_png" if key == "colored_png" else key): one for key, one in value.items() if key != "color"}
        return renamed | ({"values": [value["color"]]} if "color" in value else {})
