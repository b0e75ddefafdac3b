"""Version 2 of the contract: what it can say, and which of its entries are another form of those of version 3."""

from collections.abc import Sequence
from typing import Any, Protocol

from polyexport.model.conditions.fields import ConditionFields
from polyexport.model.golden import GoldenSample
from polyexport.model.result import ResultFields

__all__ = ["aged", "fits", "renewed"]

_OLD_COLOR = ("conditioning", "palette", "color_input", "embedding", "many_colors")
"""Entries of version 2 that describe its one condition, a color."""

_NEW_ENTRIES = (
    "batch_one",
    "conditions",
    "image_channels",
    "image_fidelity",
    "locality",
    "output_name",
    "result",
    "smallest_size",
    "training_width",
)
"""Entries that version 2 does not have, or has in another form."""


class _Described(Protocol):
    """A network as its contract describes it; see ``polyexport.model.contract.Contract``."""

    @property
    def image_channels(self) -> int: ...
    @property
    def conditions(self) -> Sequence[ConditionFields]: ...
    @property
    def result(self) -> ResultFields: ...
    @property
    def smallest_size(self) -> int: ...
    @property
    def training_width(self) -> int: ...
    @property
    def batch_one(self) -> bool: ...


def fits(network: _Described) -> bool:
    """Tell whether version 2 can describe a network: a color and nothing else, an RGB picture of its own size."""
    if [fields.kind for fields in network.conditions] != ["color"] or network.conditions[0].name:
        return False
    return (
        (network.image_channels, network.result.channels, network.result.scale) == (3, 3, "1")
        and network.result.kind in ("picture", "fill")
        and (network.smallest_size, network.training_width, network.batch_one) == (1, 0, False)
    )


def aged(entries: dict[str, Any]) -> dict[str, Any]:
    """Return the entries of a contract of version 3 that has one condition, a color, as version 2 has them."""
    (color,) = entries["conditions"]
    kind = entries["result"]["kind"]
    kept = {key: value for key, value in entries.items() if key not in _NEW_ENTRIES}
    # Without an entry the result is a picture: version 0.1.0 refuses the entry.
    return kept | {key: color[key] for key in _OLD_COLOR} | ({"result": kind} if kind != "picture" else {})


def renewed(entries: dict[str, Any], *, output_name: str) -> dict[str, Any]:
    """Return the entries of version 2 as version 3 has them.

    Args:
        entries: The JSON object of version 2, untrusted.
        output_name: Name of the graph's output in files of version 2.

    Raises:
        ValueError: An entry of the color is missing, or one is there that version 2 does not have.
    """
    unknown = sorted((set(_NEW_ENTRIES) - {"result"}) & set(entries))
    if unknown:
        raise ValueError(f"the object has an unknown {', '.join(unknown)}")
    missing = sorted(set(_OLD_COLOR) - set(entries))
    if missing:
        raise ValueError(f"the object lacks {', '.join(missing)}")
    kind = entries.get("result", "picture")
    if kind not in ("picture", "fill"):
        raise ValueError(f"result is {repr(kind)[:60]}, expected 'picture' or 'fill'")
    return {
        **{key: value for key, value in entries.items() if key not in _OLD_COLOR},
        "batch_one": False,
        "conditions": [{"kind": "color", "name": "", **{key: entries[key] for key in _OLD_COLOR}}],
        **({"golden": GoldenSample.entries_of(entries["golden"])} if "golden" in entries else {}),
        "image_channels": 3,
        "image_fidelity": None,
        "locality": None,
        "output_name": output_name,
        "result": {"kind": kind, "scale": "1", "channels": 3},
        "smallest_size": 1,
        "training_width": 0,
    }
