"""The description of a network beyond its weights: ``NetworkSpec``, and readers of its values from text."""

import contextlib
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from polyexport.errors import ColorError, UsageError
from polyexport.export.source.source import SIGNED, ValueRange
from polyexport.imaging.color import COLOR_NAME, parse_color
from polyexport.imaging.pixels import MAX_TRAINING_SIZE
from polyexport.model.conditions import COLOR_MODULES
from polyexport.model.conditions.fields import MAX_EMBEDDING_DIM, Palette

__all__ = [
    "NetworkSpec",
    "checked_range",
    "color_name",
    "expect",
    "parse_argument",
    "parse_colors",
    "parse_range",
    "unique",
]

_MAX_VALUE = 1e6  # largest magnitude of an end of a value range
_NUMBER = r"[-+]?[0-9]{1,30}(?:\.[0-9]{1,30})?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})")
_PYTHON_WORDS = {"True": "true", "False": "false", "None": 'nothing, or "None" for the text'}


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkSpec:
    """A network by its import path, its weights, and everything that the weights alone do not tell.

    Raises:
        UsageError: A name, range, size or combination that is impossible.
    """

    network: str
    """``package.module:Class``; the class is an ``nn.Module`` with forward(image, condition)."""

    weights: Path
    """File of the weights, ``.safetensors``, ``.pth`` or ``.pt``."""

    weights_key: str = ""
    """Name of the set of weights in that file, such as ``ema``, for a file with several; ``.`` is the file's own
    dictionary. Empty if the file leaves no choice."""

    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the class's constructor."""

    value_range: ValueRange = SIGNED
    """Value range of the image, and of the color with ``rgb`` conditioning."""

    output_range: ValueRange | None = None
    """Value range of the network's output; None for that of ``value_range``."""

    conditioning: str | None = None
    """Kind of the network's condition; None for ``vocabulary`` if colors are given, here or beside the weights, and for
    ``rgb`` otherwise."""

    colors: Palette = ()
    """Names and sRGB values in index order; empty for those that the file of weights names."""

    embedding: str = ""
    """Dotted name of the submodule that makes the embedding of a color."""

    embedding_dim: int = 0
    """Width D of the condition with ``embedding`` conditioning; 0 for the width of the table."""

    embedding_table: str = ""
    """Key in the file of weights of the table float [colors, D], for ``embedding`` conditioning."""

    size: int = 128
    """Height and width of the training images, pixels."""

    size_multiple: int | None = None
    """The network takes every height and width that is a multiple of this; None if it takes ``size`` only."""

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
            checked_range(*bounds)
        expect(
            self.conditioning in (None, *COLOR_MODULES),
            f"conditioning is {self.conditioning!r}",
            f"give {' or '.join(COLOR_MODULES)}",
        )
        expect(
            0 < self.size <= MAX_TRAINING_SIZE,
            f"the size is {self.size} pixels, expected 1 to {MAX_TRAINING_SIZE}",
            "give another size",
        )
        expect(
            self.size_multiple is None or (self.size_multiple > 0 and self.size % self.size_multiple == 0),
            f"the size {self.size} is not a multiple of {self.size_multiple}",
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
    """Parse a value range such as ``0..1`` or ``-1..1``: the network's values for the pixel values 0 and 255.

    Raises:
        UsageError: The text is not two growing numbers of at most a million.
    """
    match = _RANGE.fullmatch(text.strip())
    expect(match is not None, f"{text[:60]!r} is not a range of values", "give two numbers such as 0..1 or -1..1")
    assert match is not None
    return checked_range(float(match[1]), float(match[2]))


def parse_argument(text: str) -> tuple[str, Any]:
    """Parse ``NAME=VALUE``, one keyword argument; VALUE is read as TOML, and taken as text if it is not TOML.

    Raises:
        UsageError: The name is missing, or the value looks like Python or like a list and is not TOML.
    """
    name, equals, value = (part.strip() for part in text.partition("="))
    expect(
        bool(equals) and name.isidentifier(),
        f"{text[:60]!r} is not an argument",
        "give NAME=VALUE such as num_colors=20",
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
        f"the value of {text[:60]!r} is not TOML",
        "quote it for the shell, such as 'channels=[8, 16]' or 'act=\"relu\"'",
    )
    return name, value


def parse_colors(texts: Sequence[str]) -> Palette:
    """Parse a vocabulary in index order: CSS colors, or ``brand=#123456`` for a name that CSS does not have.

    Raises:
        UsageError: A name stands twice, or cannot name a folder.
        ColorError: A value is not a color.
    """
    pairs = [text.rpartition("=") if "=" in text else (text, "=", text) for text in texts]
    values = [parse_color(value).rgb for _, _, value in pairs]
    return tuple(zip(unique(color_name(name) for name, _, _ in pairs), values, strict=True))


def expect(holds: bool, fault: str, remedy: str) -> None:
    """Raise a ``UsageError`` unless a condition on the user's input holds.

    Raises:
        UsageError: ``holds`` is false; ``fault`` is its message, ``remedy`` the advice.
    """
    if not holds:
        raise UsageError(fault, remedy=remedy)


def unique(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of colors as a tuple, and refuse duplicates.

    Raises:
        UsageError: A name stands twice.
    """
    counts = Counter(names)
    twice = [name for name, count in counts.items() if count > 1]
    expect(not twice, f"the colors name {', '.join(twice[:3])} twice", "give each name once")
    return tuple(counts)


def color_name(text: str) -> str:
    """Normalize the name of a color: the name that ``parse_color`` gives it, or else the text in lower case.

    Raises:
        UsageError: The text cannot name a folder.
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


def checked_range(low: float, high: float) -> ValueRange:
    """Return a value range after checking that it grows in float32, the network's own type.

    Raises:
        UsageError: The range does not grow, or an end is larger than a million.
    """
    growing = all(abs(value) <= _MAX_VALUE for value in (low, high)) and np.float32(low) < np.float32(high)
    expect(bool(growing), f"the range {low}..{high} does not grow", f"give two numbers of at most {_MAX_VALUE:,.0f}")
    return float(low), float(high)
