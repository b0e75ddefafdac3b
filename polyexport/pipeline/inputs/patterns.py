"""Glob patterns: matching of relative paths part by part, and the selection that ``include`` and ``exclude`` make."""

import fnmatch
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["GlobPattern", "Selection", "has_wildcard"]

_WILDCARD = re.compile(r"[*?\[]")


def has_wildcard(text: str) -> bool:
    """Return whether a path, or a part of one, has a wildcard (``*``, ``?`` or ``[``)."""
    return _WILDCARD.search(text) is not None


class GlobPattern:
    """A glob pattern, matched one part of a path at a time.

    A matching state is the number of the pattern's parts that are matched already; ``**`` makes several states possible
    at once.
    """

    def __init__(self, parts: Sequence[str]) -> None:
        """Compile a pattern.

        Args:
            parts: the pattern, split at its slashes.
        """
        self._parts = [None if part == "**" else re.compile(fnmatch.translate(part)) for part in parts]
        self._hidden = [part.startswith(".") for part in parts]

    def start(self) -> set[int]:
        """Return the states before the first part of a path."""
        return self._with_empty_folders({0})

    def step(self, states: set[int], name: str) -> set[int]:
        """Return the states after one more part of a path; wildcards do not match a leading dot."""
        hidden = name.startswith(".")
        after = set()
        for state in states:
            if state == len(self._parts) or (hidden and not self._hidden[state]):
                continue
            part = self._parts[state]
            if part is None:
                after.add(state)
            elif part.match(name):
                after.add(state + 1)
        return self._with_empty_folders(after)

    def matches(self, states: set[int]) -> bool:
        """Return whether the path matches the whole pattern."""
        return len(self._parts) in states

    def may_match_below(self, states: set[int]) -> bool:
        """Return whether a path below this one might match."""
        return any(state < len(self._parts) for state in states)

    def _with_empty_folders(self, states: set[int]) -> set[int]:
        """Add the states in which a ``**`` matches no folder at all."""
        extended = set(states)
        for state in states:
            here = state
            while here < len(self._parts) and self._parts[here] is None:
                here += 1
                extended.add(here)
        return extended


_Filter = Callable[[str, bool], bool]
"""Takes a relative path and whether it is a folder; returns whether a pattern matches it or a folder above it."""


def _filter(text: str) -> _Filter:
    text = text.replace(os.sep, "/")
    if "/" not in text:
        name = re.compile(fnmatch.translate(text))
        return lambda relative, folder: not folder and bool(name.match(relative.rpartition("/")[2]))
    parts = [part for part in text.split("/") if part]
    only_folders = text.endswith("/")
    if only_folders and "/" not in text[:-1]:
        parts = ["**", *parts]
    pattern = GlobPattern(parts)

    def matches(relative: str, folder: bool) -> bool:
        states = pattern.start()
        above, _, last = relative.rpartition("/")
        for part in above.split("/") if above else ():
            states = pattern.step(states, part)
            if pattern.matches(states):
                return True
        return (folder or not only_folders) and pattern.matches(pattern.step(states, last))

    return matches


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Paths that ``include`` and ``exclude`` patterns leave."""

    include: tuple[_Filter, ...] = ()
    exclude: tuple[_Filter, ...] = ()

    @classmethod
    def of(cls, *, include: Sequence[str], exclude: Sequence[str]) -> "Selection":
        """Compile patterns.

        Args:
            include: if there are any, a file must match one of them. A pattern without ``/`` is compared with the
                file's name, one with ``/`` with its path in the input folder and with the folders of that path:
                ``old/`` and ``a/old/*`` stand for everything below.
            exclude: patterns of the same kind; a file or folder that matches one of them is left out.
        """
        return cls(
            include=tuple(_filter(pattern) for pattern in include),
            exclude=tuple(_filter(pattern) for pattern in exclude),
        )

    def keeps(self, relative: str) -> bool:
        """Return whether a file of this relative path is selected."""
        included = not self.include or any(matches(relative, False) for matches in self.include)
        return included and not any(matches(relative, False) for matches in self.exclude)

    def enters(self, relative: str) -> bool:
        """Return whether a folder of this relative path may hold selected files."""
        return not any(matches(relative, True) for matches in self.exclude)
