"""File names of output images."""

import os
from collections import Counter
from collections.abc import Sequence

from polyexport.errors import UsageError

__all__ = ["png_names"]


def png_names(names: Sequence[str], sources: Sequence[str]) -> list[str]:
    """Name the PNG file of each input.

    The suffix becomes ``.png``. Where that would give two inputs one name, the suffix is kept before ``.png``. Names
    that differ only in case count as one, because there are file systems that ignore case.

    Args:
        names: Name or relative path of each input.
        sources: What each input is called in error messages.

    Raises:
        UsageError: Two inputs have the same output.
    """
    plain = [_as_png(name) for name in names]
    shared = {name for name, count in Counter(name.lower() for name in plain).items() if count > 1}
    final: list[str] = []
    taken: dict[str, int] = {}
    for index, (name, png) in enumerate(zip(names, plain, strict=True)):
        final.append(f"{name}.png" if png.lower() in shared and not name.lower().endswith(".png") else png)
        other = taken.setdefault(final[-1].lower(), index)
        if other != index:
            raise UsageError(
                f"{sources[other]} and {sources[index]} have the same output {final[-1]}", remedy="rename one of them"
            )
    return final


def _as_png(name: str) -> str:
    root, suffix = os.path.splitext(name)  # noqa: PTH122 - text stays text
    return name if suffix == ".png" else f"{root}.png"
