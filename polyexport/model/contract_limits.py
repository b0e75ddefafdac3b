"""Limits of what a contract may hold, checked before anything large is made of it."""

import base64
import struct

__all__ = [
    "MAX_COLORS",
    "MAX_CONTRACT_VALUES",
    "MAX_SAMPLE_SIDE",
    "MAX_TEXT",
    "check_sizes",
]

MAX_CONTRACT_VALUES = 65_536
"""Largest number of members of all lists and objects of a contract: ten times those of the most colors."""

MAX_COLORS = 4096
"""Largest number of members of one list, such as the colors that a model knows."""

MAX_TEXT = 1024
"""Longest text but for those in base64, characters."""

_MAX_KEYS = 64

MAX_SAMPLE_SIDE = 1024
"""Largest height and width of a golden sample, pixels: the largest training size, which a network of one size has."""

_MAX_RESULT_SIDE = 4 * MAX_SAMPLE_SIDE  # an upscaler of one size enlarges the largest sample

_MAX_PNG_TEXT = 6 << 20  # base64 of 1024x1024 pixels that do not compress has 4.2 million characters
_MAX_RESULT_TEXT = 24 << 20  # of 2048x2048 pixels, 17 million; the size of the metadata limits both together
_MAX_VECTOR_TEXT = 1 << 19  # base64 of the longest embedding has 350 thousand
_PICTURES = ("image_png", "colored_png", "result_png", "values")
_MAX_TEXTS = {**dict.fromkeys(_PICTURES, _MAX_PNG_TEXT), "result_png": _MAX_RESULT_TEXT, "color": _MAX_VECTOR_TEXT}
_UNLIMITED = frozenset(("table", "encoder"))  # the size of the metadata limits these

_PNG_HEADER = struct.Struct(">8sI4sII")
_PNG_HEADER_TEXT = 4 * -(-_PNG_HEADER.size // 3)  # characters of base64


def check_sizes(value: object, where: str = "the contract") -> None:
    """Check the size of every text, list and object of a JSON value.

    Args:
        value: a JSON value that is not deep.
        where: name of the value.

    Raises:
        ValueError: one of them is too large; the message names it.
    """
    key = where.rpartition(".")[2]
    if isinstance(value, str) and key not in _UNLIMITED:
        most = _MAX_TEXTS.get(key, MAX_TEXT)
        if len(value) > most:
            raise ValueError(f"{where[:100]} has {len(value)} characters, more than {most}")
        if key in _PICTURES:
            _check_png(value, where, _MAX_RESULT_SIDE if key == "result_png" else MAX_SAMPLE_SIDE)
    elif isinstance(value, list):
        if len(value) > MAX_COLORS:
            raise ValueError(f"{where[:100]} has {len(value)} values, more than {MAX_COLORS}")
        for one in value:
            check_sizes(one, where)
    elif isinstance(value, dict):
        if len(value) > _MAX_KEYS:
            raise ValueError(f"{where[:100]} has {len(value)} keys, more than {_MAX_KEYS}")
        for name, one in value.items():
            if len(name) > MAX_TEXT:
                raise ValueError(f"{where[:100]} has a key of {len(name)} characters, more than {MAX_TEXT}")
            check_sizes(one, name if where == "the contract" else f"{where}.{name}")


def _check_png(text: str, where: str, most: int) -> None:
    """Check the size that the header of a PNG in base64 states; what is not a PNG has none, and decoding refuses it."""
    try:
        signature, _, kind, width, height = _PNG_HEADER.unpack_from(base64.b64decode(text[:_PNG_HEADER_TEXT]))
    except (struct.error, ValueError):
        return
    if (signature, kind) == (b"\x89PNG\r\n\x1a\n", b"IHDR") and max(width, height) > most:
        raise ValueError(f"{where} is {width}x{height} pixels, more than {most}x{most}")
