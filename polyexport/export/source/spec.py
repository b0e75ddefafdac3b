"""What is to be said of a network beyond its weights: on the command line, or in a small TOML file."""

import contextlib
import difflib
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from polyexport.errors import ColorError, UsageError, reason_of
from polyexport.export.source.trainer_checkpoint import SIGNED, ValueRange
from polyexport.imaging.color import COLOR_NAME, parse_color
from polyexport.imaging.pixels import MAX_SIDE
from polyexport.model.conditions import CONDITION_MODULES
from polyexport.model.conditions.fields import MAX_EMBEDDING_DIM, Palette
from polyexport.storage.files import read_limited

__all__ = [
    "NetworkSpec",
    "color_name",
    "expect",
    "parse_argument",
    "parse_colors",
    "parse_range",
    "read_spec",
    "unique",
]

_MAX_SPEC_BYTES = 1 << 20
_MAX_LEVEL = 1e6
_NUMBER = r"[-+]?[0-9]{1,30}(?:\.[0-9]{1,30})?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})")
_PYTHON_WORDS = {"True": "true", "False": "false", "None": 'nothing, or "None" for the text'}


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkSpec:
    """What the weights alone do not say.

    Raises:
        UsageError: a name, range, size or combination that cannot be.
    """

    network: str
    """``package.module:Class``; the class is an ``nn.Module`` with forward(image, condition)."""

    weights: Path
    """``.safetensors``, ``.pth`` or ``.pt``."""

    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the constructor."""

    value_range: ValueRange = SIGNED
    """Of the image, and of the colour with ``rgb`` conditioning."""

    output_range: ValueRange | None = None
    """None: as ``value_range``."""

    conditioning: str | None = None
    """None: ``vocabulary`` if there are colours, here or beside the weights, and ``rgb`` if there are none."""

    colors: Palette = ()
    """Empty: those that the file of weights names."""

    embedding: str = ""
    """Dotted name of the submodule that makes the embedding of a colour."""

    embedding_dim: int = 0
    """Of ``embedding`` conditioning; 0: that of the table."""

    embedding_table: str = ""
    """Key in the file of weights, for ``embedding`` conditioning: float [colors, D]."""

    size: int = 128
    """Height and width of the training images, pixels."""

    size_multiple: int | None = None
    """The network takes every height and width that is a multiple of this. None: ``size`` alone."""

    def __post_init__(self) -> None:
        module, colon, name = self.network.partition(":")
        expect(
            bool(colon) and all(part.isidentifier() for part in (*module.split("."), *name.split("."))),
            f"{self.network!r} names no network",
            "give package.module:Class, such as models.unet:UNet for class UNet in models/unet.py",
        )
        expect(
            all(isinstance(name, str) and name.isidentifier() for name in self.arguments),
            f"{repr(list(self.arguments))[:60]} are not all names of arguments",
            "give names as the constructor has them",
        )
        for bounds in (self.value_range, self.output_range or SIGNED):
            _checked_range(*bounds)
        expect(
            self.conditioning in (None, *CONDITION_MODULES),
            f"conditioning is {self.conditioning!r}",
            f"give {' or '.join(CONDITION_MODULES)}",
        )
        expect(
            0 < self.size <= MAX_SIDE, f"the size is {self.size} pixels, expected 1 to {MAX_SIDE}", "give another size"
        )
        expect(
            self.size_multiple is None or (self.size_multiple > 0 and self.size % self.size_multiple == 0),
            f"the size {self.size} is no multiple of {self.size_multiple}",
            "give a size that is, or leave size-multiple out to export for one size alone",
        )
        expect(
            self.conditioning != "rgb" or not self.colors,
            "a network with rgb conditioning has no list of colors",
            "leave the colors out, or give conditioning vocabulary",
        )
        expect(
            0 <= self.embedding_dim <= MAX_EMBEDDING_DIM, f"embedding-dim is {self.embedding_dim}", "give its width D"
        )
        vectors = bool(self.embedding_dim or self.embedding_table)
        if self.conditioning == "embedding":
            expect(
                vectors,
                "the width of the embedding is unknown",
                "give embedding-dim, or the key of the table with embedding-table",
            )
            expect(
                not self.embedding,
                "a network that was trained on vectors has no submodule that makes them",
                "leave embedding out, or give another conditioning",
            )
            expect(
                bool(self.embedding_table) or not self.colors,
                "colors without a table of their embeddings",
                "give its key in the weights with embedding-table, or leave the colors out",
            )
        else:
            expect(
                not vectors,
                "embedding-dim and embedding-table belong to conditioning embedding",
                "give that conditioning, or leave them out",
            )


def parse_range(text: str) -> ValueRange:
    """``0..1`` or ``-1..1``: what 0 and 255 are for the network.

    Raises:
        UsageError: not two growing numbers of at most a million.
    """
    match = _RANGE.fullmatch(text.strip())
    expect(match is not None, f"{text[:60]!r} is no range of values", "give two numbers such as 0..1 or -1..1")
    assert match is not None
    return _checked_range(float(match[1]), float(match[2]))


def parse_argument(text: str) -> tuple[str, Any]:
    """``NAME=VALUE``, one keyword argument: VALUE as TOML has it, and as text if it is no TOML.

    Raises:
        UsageError: no name, or a value that is meant as Python or as a list and is neither.
    """
    name, equals, value = (part.strip() for part in text.partition("="))
    expect(
        bool(equals) and name.isidentifier(), f"{text[:60]!r} is no argument", "give NAME=VALUE such as num_colors=20"
    )
    expect(
        value not in _PYTHON_WORDS,
        f"{value} is Python, expected TOML in {text[:60]!r}",
        f"give {_PYTHON_WORDS.get(value, '')}",
    )
    try:
        # In an inline table a value cannot end early: what follows it is a fault or one more key.
        parsed = tomllib.loads(f"_ = {{ _ = {value} }}")
    except (ValueError, RecursionError):
        parsed = {}
    if parsed.keys() == {"_"} and parsed["_"].keys() == {"_"}:
        return name, parsed["_"]["_"]
    expect(
        not value.startswith(("[", "{", "(", '"', "'")),
        f"the value of {text[:60]!r} is no TOML",
        "quote it for the shell, such as 'channels=[8, 16]' or 'act=\"relu\"'",
    )
    return name, value


def parse_colors(texts: Sequence[str]) -> Palette:
    """CSS names and values, or ``brand=#123456`` for a name of one's own: the vocabulary, in index order.

    Raises:
        UsageError: a name twice, or one that cannot name a folder.
        ColorError: a value nobody can read.
    """
    pairs = [text.rpartition("=") if "=" in text else (text, "=", text) for text in texts]
    values = [parse_color(value).rgb for _, _, value in pairs]
    return tuple(zip(unique(color_name(name) for name, _, _ in pairs), values, strict=True))


def read_spec(path: Path) -> NetworkSpec:
    """A TOML file whose keys are spelled like the options, with tables ``[arguments]`` and ``[colors]``. Paths are
    relative to the file.

        network = "models.unet:UNet"
        weights = "unet.pth"
        value-range = "0..1"
        size = 256

        [arguments]
        num_colors = 20

    Raises:
        UsageError: unreadable, not TOML, or a key that is missing, unknown or of another type.
    """
    try:
        raw = tomllib.loads(read_limited(path, _MAX_SPEC_BYTES).decode("utf-8-sig"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror})", remedy="give a TOML file") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no TOML ({reason_of(error)})", remedy="see the documentation of export") from error
    for key in raw:
        near = difflib.get_close_matches(key, _KINDS, n=3)
        expect(
            key in _KINDS,
            f"{path} has an unknown key {key[:60]!r}",
            f"did you mean {', '.join(near)}?" if near else f"the keys are {', '.join(_KINDS)}",
        )
    for key in ("network", "weights"):
        expect(key in raw, f"{path} lacks {key}", f'give {key} = "..."')
    try:
        values = {key.replace("-", "_"): _typed(key, value) for key, value in raw.items()}
        return NetworkSpec(**{**values, "weights": path.parent / values["weights"]})
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", remedy=error.remedy) from error
    except ValueError as error:  # Python reads a longer hexadecimal number than it writes
        raise UsageError(f"{path}: {reason_of(error)}", remedy="give smaller numbers") from error


def expect(holds: bool, fault: str, remedy: str) -> None:
    """Refuse what the user said unless it holds."""
    if not holds:
        raise UsageError(fault, remedy=remedy)


def unique(names: Iterable[str]) -> tuple[str, ...]:
    """Names of colours, each of which may stand once.

    Raises:
        UsageError: one stands twice.
    """
    counts = Counter(names)
    twice = [name for name, count in counts.items() if count > 1]
    expect(not twice, f"the colors name {', '.join(twice[:3])} twice", "give each name once")
    return tuple(counts)


def color_name(text: str) -> str:
    """The name of a colour as ``parse_color`` gives it, so that both find each other, or as somebody invented it.

    Raises:
        UsageError: it cannot name a folder.
    """
    with contextlib.suppress(ColorError):
        return parse_color(text).name
    name = text.strip().lower()
    expect(
        COLOR_NAME.fullmatch(name) is not None,
        f"{text[:60]!r} cannot name a color",
        "give letters, digits, spaces, dots and hyphens, up to 64",
    )
    return name


def _checked_range(low: float, high: float) -> ValueRange:
    # In float32, where the network sees them.
    growing = all(abs(value) <= _MAX_LEVEL for value in (low, high)) and np.float32(low) < np.float32(high)
    expect(bool(growing), f"the range {low}..{high} does not grow", f"give two numbers of at most {_MAX_LEVEL:,.0f}")
    return float(low), float(high)


def _read_colors(value: Any) -> Palette:
    if isinstance(value, dict):
        value = [f"{name}={color}" if isinstance(color, str) else color for name, color in value.items()]
    expect(all(isinstance(text, str) for text in value), "a color is no text", 'give name = "#rrggbb" or a CSS value')
    return parse_colors(value)


def _read_range(value: Any) -> ValueRange:
    if isinstance(value, str):
        return parse_range(value)
    expect(
        len(value) == 2 and all(type(one) in (int, float) for one in value),
        f"{repr(value)[:60]} is no range of values",
        'give "0..1" or [0, 1]',
    )
    return _checked_range(*value)


_KINDS: dict[str, tuple[tuple[type, ...], str, Callable[[Any], Any] | None]] = {
    "network": ((str,), "text", None),
    "weights": ((str,), "text", None),
    "arguments": ((dict,), "a table", None),
    "value-range": ((str, list), "a range", _read_range),
    "output-range": ((str, list), "a range", _read_range),
    "conditioning": ((str,), "text", None),
    "colors": ((dict, list), "a table", _read_colors),
    "embedding": ((str,), "text", None),
    "embedding-dim": ((int,), "an integer", None),
    "embedding-table": ((str,), "text", None),
    "size": ((int,), "an integer", None),
    "size-multiple": ((int,), "an integer", None),
}
"""Of the keys of a file: their types, what to call them, and what reads them."""


def _typed(key: str, value: Any) -> Any:
    kinds, expected, read = _KINDS[key]
    expect(type(value) in kinds, f"{key} is {repr(value)[:60]}, expected {expected}", f"give {key} as {expected}")
    return read(value) if read else value
