"""The inputs that a command line names: files, folders and glob patterns -> what to open, and what to call it.

A run may have a million inputs, so they are plain strings, and folders are read entry by entry.
"""
# A Path object for each file would take several times the memory of its string.
# ruff: noqa: PTH112, PTH116, PTH118, PTH119, PTH120, PTH122

import fnmatch
import os
import re
import stat
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from polyexport.errors import UsageError, reason_of
from polyexport.imaging.codecs import SUFFIXES

__all__ = ["MAX_LIST_BYTES", "Found", "Selection", "discover", "find_images", "input_folders", "read_list"]

MAX_LIST_BYTES = 256 * 1024 * 1024
"""Of a list of paths: two million of them at 128 bytes."""

_MAGIC = re.compile(r"[*?\[]")
_GIVE = "give image files or folders"

_Identity = tuple[int, int]  # device and inode


@dataclass(frozen=True, slots=True)
class Found:
    """One input image."""

    source: str
    """The path to open."""

    name: str
    """Relative to its input folder, parts separated by ``/``, with its own suffix. Below the folder's own name where
    there are several inputs."""


def discover(
    paths: Sequence[str | Path],
    *,
    recursive: bool = False,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    skip: Sequence[Path] = (),
) -> list[Found]:
    """Find the inputs, sorted by name; a file that several paths give counts once.

    Files are taken whatever their suffix. Folders give their image files by suffix, without hidden ones. A path that
    does not exist and has one of ``*?[`` is a glob pattern, in which ``**`` stands for any number of folders: it gives
    the files that it matches, and what the folders that it matches hold. Links to folders are not followed, links to
    files only if what they point to lies inside the folder (for a pattern, the folder before its first wildcard).

    Args:
        paths: files, folders and patterns.
        recursive: go into subfolders.
        include: patterns; if there are any, what folders and patterns give must match one of them. One without ``/``
            is held against the file's name, one with ``/`` against its path in the input folder and the folders
            there: ``old/`` and ``a/old/*`` stand for all that lies below. Files that are named exactly always count.
        exclude: patterns of the same kind; what matches one is left out, and a folder that matches is not entered.
        skip: folders that are never entered, such as an output folder inside an input folder.

    Raises:
        UsageError: a path that does not exist or cannot be read, a folder that cannot be listed or has no image, a
            pattern that matches nothing, or nothing left by ``include`` and ``exclude``.
    """
    search = _Search(
        recursive=recursive,
        selection=Selection.of(include=include, exclude=exclude),
        skip={identity for folder in skip if (identity := _identity(folder)) is not None},
    )
    given = _sort_out(paths, search)
    files = _distinct(given.files)
    prefixes = _prefixes(given.roots, alone=not files)
    found = _named(files)
    for source, real in files:
        search.taken[real].add(os.path.basename(source))
    for match in given.matches:
        search.collect_matches(match, prefixes, found)
    for folder in given.folders:
        search.collect_folder(folder, prefixes, found)
    if not found:
        if search.excluded:
            raise UsageError("include and exclude leave no image", remedy="change their patterns")
        if given.folders:
            raise search.no_image_in(given.folders[0])
        raise UsageError("no input", remedy=_GIVE)
    # Twice, because a key of two strings would cost a tuple for each input.
    found.sort(key=lambda one: one.source)
    found.sort(key=lambda one: one.name)
    return found


def input_folders(paths: Sequence[str | Path]) -> list[Path]:
    """The folders among the paths, those that patterns match included; each real folder once.

    Raises:
        UsageError: a path that does not exist or cannot be read, or a pattern that matches nothing.
    """
    given = _sort_out(paths, _Search())
    return [Path(folder.path) for folder in given.folders]


def find_images(folder: Path, *, recursive: bool = False) -> list[Path]:
    """Image files of a folder, by suffix, sorted, without hidden ones.

    Raises:
        UsageError: no folder, one that cannot be listed, or one without images.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder", remedy="give a folder with images")
    return [Path(found.source) for found in discover([folder], recursive=recursive)]


def read_list(data: bytes) -> list[str]:
    """A list of paths, as ``find`` or ``find -print0`` writes it: separated by NUL if there is one, else by lines.

    Empty entries are left out. Bytes that are no UTF-8 are kept as the file system's own decoding keeps them.

    Raises:
        UsageError: no path, or more than ``MAX_LIST_BYTES``.
    """
    if len(data) > MAX_LIST_BYTES:
        raise UsageError(f"the list of inputs has more than {MAX_LIST_BYTES} bytes", remedy="split it")
    if b"\0" in data:
        entries = data.split(b"\0")
    else:
        entries = [line.removesuffix(b"\r") for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    try:
        paths = [os.fsdecode(entry) for entry in entries if entry]
    except UnicodeDecodeError as error:  # where the file system's names are Unicode
        raise UsageError("the list of inputs is not UTF-8", remedy="write it as UTF-8") from error
    if not paths:
        raise UsageError("the list of inputs is empty", remedy="give one path a line")
    return paths


@dataclass(frozen=True, slots=True)
class _Folder:
    path: str
    real: str
    pattern: str = ""
    """That matched it; empty for a folder that was named."""


@dataclass(frozen=True, slots=True)
class _Matches:
    """Files of one pattern."""

    root: _Folder
    relatives: list[str]


@dataclass(slots=True)
class _Given:
    """The arguments by kind."""

    files: list[tuple[str, str]] = field(default_factory=list)  # source, real folder
    folders: list[_Folder] = field(default_factory=list)
    matches: list[_Matches] = field(default_factory=list)

    @property
    def roots(self) -> list[str]:
        """The real folders to which names are relative, each once."""
        return list(dict.fromkeys(one.real for one in (*self.folders, *(match.root for match in self.matches))))


def _sort_out(paths: Sequence[str | Path], search: "_Search") -> _Given:
    given = _Given()
    real_folder: dict[str, str] = {}
    folders: dict[str, _Folder] = {}
    for path in paths:
        text = str(Path(path))
        kind = _mode(text)
        if kind is None:
            matches, matched = search.expand(text)
            if matches.relatives:
                given.matches.append(matches)
            for folder in matched:
                folders.setdefault(folder.real, folder)
        elif stat.S_ISDIR(kind):
            real = os.path.realpath(text)
            folders[real] = _Folder(folders[real].path if real in folders else text, real)
        else:
            parent = os.path.dirname(text)
            if parent not in real_folder:
                real_folder[parent] = os.path.realpath(parent)
            given.files.append((text, real_folder[parent]))
    given.folders = list(folders.values())
    return given


def _mode(path: str) -> int | None:
    """Of a file or folder; None for a pattern."""
    try:
        return os.stat(path).st_mode
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and _MAGIC.search(path):
            return None
        if isinstance(error, FileNotFoundError):
            raise UsageError(f"{path} does not exist", remedy=_GIVE) from error
        raise UsageError(f"{path} cannot be read ({reason_of(error)})", remedy=_GIVE) from error


def _identity(folder: str | Path) -> _Identity | None:
    try:
        status = Path(folder).stat()
    except (OSError, ValueError):
        return None  # what does not exist cannot be entered
    return status.st_dev, status.st_ino


def _distinct(files: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    seen: dict[str, set[str]] = defaultdict(set)
    kept = []
    for source, real in files:
        name = os.path.basename(source)
        if name not in seen[real]:
            seen[real].add(name)
            kept.append((source, real))
    return kept


def _named(files: Sequence[tuple[str, str]]) -> list[Found]:
    """Files that were named exactly go by their names; if names repeat, by their paths below their common folder."""
    names = {os.path.basename(source).lower() for source, _ in files}
    if len(names) == len(files):
        return [Found(source, os.path.basename(source)) for source, _ in files]
    common = _common({real for _, real in files})
    below = {real: _posix(os.path.relpath(real, common)) for real in {real for _, real in files}}
    return [Found(source, _under(below[real], os.path.basename(source))) for source, real in files]


def _prefixes(roots: Sequence[str], *, alone: bool) -> dict[str, str]:
    """What stands before the names from each root: several keep their own names, or their paths if names repeat."""
    if len(roots) == 1 and alone:
        return dict.fromkeys(roots, "")
    names = {os.path.basename(root).lower() for root in roots}
    if len(names) == len(roots):
        return {root: os.path.basename(root) for root in roots}
    common = _common({os.path.dirname(root) for root in roots})
    return {root: _posix(os.path.relpath(root, common)) for root in roots}


def _common(folders: Collection[str]) -> str:
    try:
        return os.path.commonpath(folders)
    except ValueError as error:  # two drives
        raise UsageError("inputs of one name lie on two drives", remedy="color them in two runs") from error


def _posix(relative: str) -> str:
    return "" if relative == os.curdir else PurePath(relative).as_posix()


def _under(prefix: str, relative: str) -> str:
    return f"{prefix}/{relative}" if prefix else relative


class _Pattern:
    """A glob pattern, matched part by part: a state is the number of parts that are behind it."""

    def __init__(self, parts: Sequence[str]) -> None:
        self._parts = [None if part == "**" else re.compile(fnmatch.translate(part)) for part in parts]
        self._hidden = [part.startswith(".") for part in parts]

    def start(self) -> set[int]:
        return self._closed({0})

    def step(self, states: set[int], name: str) -> set[int]:
        """The states after one more part of a path; wildcards do not stand for a leading dot."""
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
        return self._closed(after)

    def matches(self, states: set[int]) -> bool:
        return len(self._parts) in states

    def may_match_below(self, states: set[int]) -> bool:
        return any(state < len(self._parts) for state in states)

    def _closed(self, states: set[int]) -> set[int]:
        closed = set(states)
        for state in states:
            here = state
            while here < len(self._parts) and self._parts[here] is None:  # ``**`` stands for no folder, too
                here += 1
                closed.add(here)
        return closed


_Filter = Callable[[str, bool], bool]
"""Relative path, is it a folder -> does the pattern match it or a folder that it lies in."""


def _filter(text: str) -> _Filter:
    text = text.replace(os.sep, "/")
    if "/" not in text:
        name = re.compile(fnmatch.translate(text))
        return lambda relative, folder: not folder and bool(name.match(relative.rpartition("/")[2]))
    parts = [part for part in text.split("/") if part]
    only_folders = text.endswith("/")
    if only_folders and "/" not in text[:-1]:
        parts = ["**", *parts]
    pattern = _Pattern(parts)

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
    """What ``include`` and ``exclude`` leave."""

    include: tuple[_Filter, ...] = ()
    exclude: tuple[_Filter, ...] = ()

    @classmethod
    def of(cls, *, include: Sequence[str], exclude: Sequence[str]) -> "Selection":
        """From patterns; see ``discover``."""
        return cls(
            include=tuple(_filter(pattern) for pattern in include),
            exclude=tuple(_filter(pattern) for pattern in exclude),
        )

    def keeps(self, relative: str) -> bool:
        """Whether a file of this path counts."""
        included = not self.include or any(matches(relative, False) for matches in self.include)
        return included and not any(matches(relative, False) for matches in self.exclude)

    def enters(self, relative: str) -> bool:
        """Whether a folder of this path is gone through."""
        return not any(matches(relative, True) for matches in self.exclude)


@dataclass(kw_only=True, slots=True)
class _Search:
    """What is known while folders are read."""

    recursive: bool = False
    selection: Selection = field(default_factory=Selection)
    skip: set[_Identity] = field(default_factory=set)
    taken: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Names of inputs that are found already, by real folder; folders that were read are in ``visited``."""

    visited: set[_Identity] = field(default_factory=set)
    excluded: bool = False
    """``include`` or ``exclude`` left something out."""

    def expand(self, text: str) -> tuple[_Matches, list[_Folder]]:
        """The files and folders that a pattern matches.

        Raises:
            UsageError: nothing, or a folder that cannot be listed.
        """
        parts = PurePath(text).parts
        first = next(number for number, part in enumerate(parts) if _MAGIC.search(part))
        base = os.path.join(*parts[:first]) if first else os.curdir
        pattern = _Pattern(parts[first:])
        only_folders = parts[-1] == "**"
        root = _Folder(base, os.path.realpath(base))
        folders = [_Folder(base, root.real, text)] if pattern.matches(pattern.start()) else []
        relatives = []
        states = {"": pattern.start()}

        def enter(relative: str) -> bool:
            above, _, name = relative.rpartition("/")
            reached = pattern.step(states[above], name)
            if pattern.matches(reached):
                folders.append(_Folder(_source(base, relative), os.path.join(root.real, relative), text))
            if pattern.may_match_below(reached):
                states[relative] = reached
                return True
            return False

        if os.path.isdir(base):
            for current, name in self._walk(root, enter, set()):
                if not only_folders and pattern.matches(pattern.step(states[current], name)):
                    relatives.append(_under(current, name))
        if not relatives and not folders:
            raise UsageError(f"nothing matches {text}", remedy=_GIVE)
        return _Matches(root, sorted(relatives)), sorted(folders, key=lambda folder: folder.path)

    def collect_matches(self, match: _Matches, prefixes: dict[str, str], found: list[Found]) -> None:
        prefix = prefixes[match.root.real]
        for relative in match.relatives:
            above, _, name = relative.rpartition("/")
            if not self.selection.keeps(relative):
                self.excluded = True
                continue
            taken = self.taken[os.path.join(match.root.real, above) if above else match.root.real]
            if name not in taken:
                taken.add(name)
                found.append(Found(_source(match.root.path, relative), _under(prefix, relative)))

    def collect_folder(self, folder: _Folder, prefixes: dict[str, str], found: list[Found]) -> None:
        """Append what a folder holds.

        Raises:
            UsageError: no image, in a folder that was named.
        """
        prefix = prefixes[folder.real]
        candidates = 0
        shared = excluded = False

        def enter(relative: str) -> bool:
            nonlocal shared, excluded
            if not self.recursive or relative.rpartition("/")[2].startswith("."):
                return False
            if not self.selection.enters(relative):
                excluded = True
                return False
            shared = shared or _identity(_source(folder.path, relative)) in self.visited
            return True

        if _identity(folder.path) in self.visited:
            return
        for current, name in self._walk(folder, enter, self.visited):
            if not _is_image(name):
                continue
            candidates += 1
            relative = _under(current, name)
            if not self.selection.keeps(relative):
                excluded = True
            elif name not in self.taken.get(os.path.join(folder.real, current) if current else folder.real, ()):
                found.append(Found(_source(folder.path, relative), _under(prefix, relative)))
        self.excluded = self.excluded or excluded
        # A pattern may match folders that hold something else.
        if not candidates and not shared and not excluded and not folder.pattern:
            raise self.no_image_in(folder)

    def no_image_in(self, folder: _Folder) -> UsageError:
        """The error to raise, which looks below the folder for its remedy."""
        below = self._walk(folder, lambda relative: not relative.rpartition("/")[2].startswith("."), set())
        deeper = not self.recursive and any(_is_image(name) for _, name in below)
        return UsageError(
            f"no image in {folder.path}",
            remedy="its subfolders hold some: add --recursive" if deeper else "give a folder with images",
        )

    def _walk(self, root: _Folder, enter: Callable[[str], bool], visited: set[_Identity]) -> Iterator[tuple[str, str]]:
        """What is no folder below ``root``: the folder's relative path, and the name; each real folder once.

        Raises:
            UsageError: a folder that cannot be listed.
        """
        inside = os.path.join(root.real, "")
        pending = [""]
        while pending:
            current = pending.pop()
            path = _source(root.path, current) if current else root.path
            identity = _identity(path)
            if identity in self.skip or identity in visited:
                continue
            if identity is not None:
                visited.add(identity)
            try:
                with os.scandir(path) as entries:
                    for entry in entries:
                        if entry.is_symlink():
                            # realpath does not raise on a link to itself; such a file fails when it is read.
                            if not os.path.isdir(entry) and os.path.realpath(entry).startswith(inside):
                                yield current, entry.name
                        elif not entry.is_dir():
                            yield current, entry.name
                        elif enter(_under(current, entry.name)):
                            pending.append(_under(current, entry.name))
            except OSError as error:
                raise UsageError(f"{path} cannot be listed ({error.strerror})", remedy="check its mode") from error


def _is_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES


def _source(folder: str, relative: str) -> str:
    return relative if folder == os.curdir else os.path.join(folder, relative)
