"""A source of the kind "TOML file": a small file that describes a network, its weights and its constructor."""

import difflib
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from polyexport.errors import UsageError, reason_of
from polyexport.export.source.source import ValueRange
from polyexport.export.source.spec import NetworkSpec
from polyexport.export.source.texts import checked_range, expect, parse_colors, parse_range
from polyexport.model.conditions.fields import Palette
from polyexport.storage.files import read_limited

__all__ = ["read_spec"]

_MAX_FILE_BYTES = 1 << 20
_MAX_INTEGER = 1 << 31
_LONG_KEY = re.compile(r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){32}""")


def read_spec(path: Path) -> NetworkSpec:
    """Read a TOML file whose keys are spelled like the options of `polyexport export`.

    Paths are relative to the file; ``[arguments]`` and ``[colors]`` are tables:

        network = "models.unet:UNet"
        weights = "unet.pth"
        value-range = "0..1"
        size = 256

        [arguments]
        num_colors = 20

    Raises:
        UsageError: The file is unreadable or not TOML, or a key is missing, unknown or of another type.
    """
    try:
        text = read_limited(path, _MAX_FILE_BYTES).decode("utf-8-sig")
        if _LONG_KEY.search(text):  # tomllib needs time in the square of the number of parts
            raise ValueError("a dotted key of more than 32 parts")  # noqa: TRY301
        raw = tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror})", remedy="give a TOML file") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{path} is not TOML ({reason_of(error)})", remedy="see the documentation of export"
        ) from error
    for key in raw:
        near = difflib.get_close_matches(key, _KEYS, n=3)
        expect(
            key in _KEYS,
            f"{path} has an unknown key {key[:60]!r}",
            f"did you mean {', '.join(near)}?" if near else f"the keys are {', '.join(_KEYS)}",
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


def _read_colors(value: Any) -> Palette:
    if isinstance(value, dict):
        value = [f"{name}={color}" if isinstance(color, str) else color for name, color in value.items()]
    expect(all(isinstance(text, str) for text in value), "a color is not text", 'give name = "#rrggbb" or a CSS value')
    return parse_colors(value)


def _read_range(value: Any) -> ValueRange:
    if isinstance(value, str):
        return parse_range(value)
    expect(
        len(value) == 2 and all(type(one) in (int, float) for one in value),
        f"{repr(value)[:60]} is not a range of values",
        'give "0..1" or [0, 1]',
    )
    return checked_range(*value)


_KEYS: dict[str, tuple[tuple[type, ...], str, Callable[[Any], Any] | None]] = {
    "network": ((str,), "text", None),
    "weights": ((str,), "text", None),
    "weights-key": ((str,), "text", None),
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
"""Key of a file -> the types of its value, the name of these types in messages, and the function that reads it."""


def _typed(key: str, value: Any) -> Any:
    kinds, expected, read = _KEYS[key]
    expect(type(value) in kinds, f"{key} is {repr(value)[:60]}, expected {expected}", f"give {key} as {expected}")
    expect(
        type(value) is not int or abs(value) <= _MAX_INTEGER,
        f"{key} is {repr(value)[:60]}, expected at most {_MAX_INTEGER}",
        "give a smaller number",
    )
    return read(value) if read else value
