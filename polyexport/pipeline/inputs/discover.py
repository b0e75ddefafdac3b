"""Discovery of inputs: files, folders and glob patterns of a command line -> what to open, and what to call it.

A run may have a million inputs, so they are plain strings, and folders are read entry by entry.
"""
# A Path object for each file would take several times the memory of its string.
# ruff: noqa: PTH112, PTH116, PTH118, PTH119, PTH120

import os
import stat
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from polyexport.errors import UsageError, reason_of
from polyexport.pipeline.inputs.naming import Found, join_name, name_files, root_prefixes
from polyexport.pipeline.inputs.patterns import GlobPattern, Selection, has_wildcard
from polyexport.pipeline.inputs.walking import Folder, FolderId, folder_id, is_image, join_path, walk

__all__ = ["discover", "find_images", "input_folders"]

_REMEDY = "give image files or folders"


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
    the files that it matches, and the images of the folders that it matches. Links to folders are not followed, links
    to files only if their target lies inside the folder (for a pattern, the folder before its first wildcard).

    Args:
        paths: files, folders and patterns.
        recursive: whether subfolders are searched.
        include: patterns as in ``Selection.of``, for what folders and patterns give. Files that are named exactly
            always count.
        exclude: patterns of the same kind; a file that matches one is left out, and a folder that matches is not
            entered.
        skip: folders that are never entered, such as an output folder inside an input folder.

    Raises:
        UsageError: a path that does not exist or cannot be read, a folder that cannot be listed or has no image, a
            pattern that matches nothing, or nothing left by ``include`` and ``exclude``.
    """
    search = _Search(
        recursive=recursive,
        selection=Selection.of(include=include, exclude=exclude),
        skip={identity for folder in skip if (identity := folder_id(folder)) is not None},
    )
    given = _sort_out(paths, search)
    files = _distinct(given.files)
    prefixes = root_prefixes(given.roots, alone=not files)
    found = name_files(files)
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
        raise UsageError("no input", remedy=_REMEDY)
    # Sorted twice, because a key of two strings would cost a tuple for each input.
    found.sort(key=lambda one: one.source)
    found.sort(key=lambda one: one.name)
    return found


def input_folders(paths: Sequence[str | Path]) -> list[Path]:
    """Return the folders among the paths, with those that patterns match; each real folder once.

    Raises:
        UsageError: a path that does not exist or cannot be read, or a pattern that matches nothing.
    """
    given = _sort_out(paths, _Search())
    return [Path(folder.path) for folder in given.folders]


def find_images(folder: Path, *, recursive: bool = False) -> list[Path]:
    """Return the image files of a folder, by suffix, sorted, without hidden ones.

    Raises:
        UsageError: the folder does not exist, cannot be listed or has no image.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", remedy="give a folder with images")
    return [Path(found.source) for found in discover([folder], recursive=recursive)]


@dataclass(frozen=True, slots=True)
class _Matches:
    """Files that one pattern matches."""

    root: Folder
    relatives: list[str]


@dataclass(slots=True)
class _Given:
    """Paths of a command line, sorted by kind."""

    files: list[tuple[str, str]] = field(default_factory=list)
    """Each file's path, and the real path of its folder."""

    folders: list[Folder] = field(default_factory=list)
    matches: list[_Matches] = field(default_factory=list)

    @property
    def roots(self) -> list[str]:
        """The real folders to which names are relative, each once."""
        return list(dict.fromkeys(one.real for one in (*self.folders, *(match.root for match in self.matches))))


def _sort_out(paths: Sequence[str | Path], search: "_Search") -> _Given:
    given = _Given()
    real_folder: dict[str, str] = {}
    folders: dict[str, Folder] = {}
    for path in paths:
        text = str(Path(path))
        mode = _mode(text)
        if mode is None:
            matches, matched = search.expand(text)
            if matches.relatives:
                given.matches.append(matches)
            for folder in matched:
                folders.setdefault(folder.real, folder)
        elif stat.S_ISDIR(mode):
            real = os.path.realpath(text)
            folders[real] = Folder(folders[real].path if real in folders else text, real)
        else:
            parent = os.path.dirname(text)
            if parent not in real_folder:
                real_folder[parent] = os.path.realpath(parent)
            given.files.append((text, real_folder[parent]))
    given.folders = list(folders.values())
    return given


def _mode(path: str) -> int | None:
    """Return the mode of a file or folder, or None for a pattern."""
    try:
        return os.stat(path).st_mode
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and has_wildcard(path):
            return None
        if isinstance(error, FileNotFoundError):
            raise UsageError(f"{path} does not exist", remedy=_REMEDY) from error
        raise UsageError(f"{path} cannot be read ({reason_of(error)})", remedy=_REMEDY) from error


def _distinct(files: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    seen: dict[str, set[str]] = defaultdict(set)
    kept = []
    for source, real in files:
        name = os.path.basename(source)
        if name not in seen[real]:
            seen[real].add(name)
            kept.append((source, real))
    return kept


@dataclass(kw_only=True, slots=True)
class _Search:
    """State of one search for inputs."""

    recursive: bool = False
    selection: Selection = field(default_factory=Selection)
    skip: set[FolderId] = field(default_factory=set)
    taken: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Names of the inputs that files and patterns gave, by real folder; folders that were read are in ``visited``."""

    visited: set[FolderId] = field(default_factory=set)
    excluded: bool = False
    """Whether ``include`` or ``exclude`` left something out."""

    def expand(self, text: str) -> tuple[_Matches, list[Folder]]:
        """Find the files and folders that a pattern matches.

        Raises:
            UsageError: the pattern matches nothing, or a folder cannot be listed.
        """
        parts = PurePath(text).parts
        first = next(number for number, part in enumerate(parts) if has_wildcard(part))
        base = os.path.join(*parts[:first]) if first else os.curdir
        pattern = GlobPattern(parts[first:])
        only_folders = parts[-1] == "**"
        root = Folder(base, os.path.realpath(base))
        folders = [Folder(base, root.real, text)] if pattern.matches(pattern.start()) else []
        relatives = []
        states = {"": pattern.start()}

        def enter(relative: str) -> bool:
            above, _, name = relative.rpartition("/")
            reached = pattern.step(states[above], name)
            if pattern.matches(reached):
                folders.append(Folder(join_path(base, relative), os.path.join(root.real, relative), text))
            if pattern.may_match_below(reached):
                states[relative] = reached
                return True
            return False

        if os.path.isdir(base):
            for current, name in walk(root, enter, visited=set(), skip=self.skip):
                if not only_folders and pattern.matches(pattern.step(states[current], name)):
                    relatives.append(join_name(current, name))
        if not relatives and not folders:
            raise UsageError(f"nothing matches {text}", remedy=_REMEDY)
        return _Matches(root, sorted(relatives)), sorted(folders, key=lambda folder: folder.path)

    def collect_matches(self, match: _Matches, prefixes: dict[str, str], found: list[Found]) -> None:
        """Append the files that a pattern matches, unless they were found before or are not selected."""
        prefix = prefixes[match.root.real]
        for relative in match.relatives:
            above, _, name = relative.rpartition("/")
            if not self.selection.keeps(relative):
                self.excluded = True
                continue
            taken = self.taken[os.path.join(match.root.real, above) if above else match.root.real]
            if name not in taken:
                taken.add(name)
                found.append(Found(join_path(match.root.path, relative), join_name(prefix, relative)))

    def collect_folder(self, folder: Folder, prefixes: dict[str, str], found: list[Found]) -> None:
        """Append the images of a folder, unless they were found before or are not selected.

        Raises:
            UsageError: a folder that the user named has no image, or a folder cannot be listed.
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
            shared = shared or folder_id(join_path(folder.path, relative)) in self.visited
            return True

        if folder_id(folder.path) in self.visited:
            return
        for current, name in walk(folder, enter, visited=self.visited, skip=self.skip):
            if not is_image(name):
                continue
            candidates += 1
            relative = join_name(current, name)
            if not self.selection.keeps(relative):
                excluded = True
            elif name not in self.taken.get(os.path.join(folder.real, current) if current else folder.real, ()):
                found.append(Found(join_path(folder.path, relative), join_name(prefix, relative)))
        self.excluded = self.excluded or excluded
        # A folder that a pattern matched may hold something else than images.
        if not candidates and not shared and not excluded and not folder.pattern:
            raise self.no_image_in(folder)

    def no_image_in(self, folder: Folder) -> UsageError:
        """Return the error for a folder without images; its remedy depends on what the subfolders hold."""

        def enter(relative: str) -> bool:
            return not relative.rpartition("/")[2].startswith(".")

        below = walk(folder, enter, visited=set(), skip=self.skip)
        deeper = not self.recursive and any(is_image(name) for _, name in below)
        return UsageError(
            f"no image in {folder.path}",
            remedy="its subfolders hold some: add --recursive" if deeper else "give a folder with images",
        )
