"""Watched folder: which of its files are inputs, and whether it is still there."""
# Paths are plain strings, as in the walk of input folders.
# ruff: noqa: PTH110, PTH112, PTH116, PTH118

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from polyexport.errors import PolyexportError, UsageError
from polyexport.model.conditions.condition import Condition
from polyexport.model.settings import Setting, parse_settings
from polyexport.pipeline.inputs.pairing import Pairing, parse_pairing
from polyexport.pipeline.inputs.patterns import Selection, has_wildcard
from polyexport.pipeline.inputs.walking import Folder, folder_id, is_image, join_path, walk
from polyexport.pipeline.plan import Plan, default_name, default_output
from polyexport.pipeline.request import Request
from polyexport.storage.stores import is_url, local_path

__all__ = ["FolderHandle", "WatchedFolder", "plan_watch"]


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchedFolder:
    """A folder whose files are inputs as they appear, and what is made of each."""

    path: str
    """Path of the folder as the user gave it."""

    real: str
    """Real path of the folder, without links."""

    output: Path
    """Output folder, which is not searched for inputs if it lies inside."""

    real_output: str
    """Real path of the output folder, without links."""

    settings: tuple[Setting, ...]
    """Values of the model's conditions for each output of an input, at least one."""

    pairing: Pairing
    """Second pictures, one file for all inputs."""

    real_pictures: frozenset[str]
    """Real paths of the second pictures, which are no inputs."""

    recursive: bool
    """Whether subfolders are searched."""

    selection: Selection

    def no_plan(self) -> Plan:
        """Return the plan of no input."""
        return Plan(items=(), output=self.output, pictures=self.pairing.names)

    def source(self, relative: str) -> str:
        """Return the path of an input to open."""
        return join_path(self.path, relative)

    def files(self, *, passes_over: bool) -> Iterator[str]:
        """Yield the relative path of every file that is an input, complete or not, and of links.

        Args:
            passes_over: whether subfolders that cannot be listed are passed over.

        Raises:
            UsageError: a folder that cannot be listed.
        """
        output = folder_id(self.output)
        skip = () if output is None else (output,)
        folder = Folder(self.path, self.real)
        for current, name in walk(folder, self._enters, visited=set(), skip=skip, passes_over=passes_over):
            relative = f"{current}/{name}" if current else name
            if self._keeps(relative):
                yield relative

    def relative(self, real_path: str) -> str | None:
        """Return the relative path of a file or folder below the watched folder, or None for any other path."""
        inside = os.path.join(self.real, "")
        if not real_path.startswith(inside) or _lies_in(real_path, self.real_output):
            return None
        return real_path[len(inside) :].replace(os.sep, "/")

    def is_folder(self, relative: str) -> bool:
        """Return whether a relative path is a subfolder that is searched."""
        return self._enters(relative) and os.path.isdir(self.source(relative))

    def takes(self, relative: str) -> bool:
        """Return whether a file of this relative path is an input."""
        above = relative.split("/")[:-1]
        return self._keeps(relative) and all(self._enters("/".join(above[: end + 1])) for end in range(len(above)))

    def _enters(self, relative: str) -> bool:
        hidden = relative.rpartition("/")[2].startswith(".")
        return self.recursive and not hidden and self.selection.enters(relative)

    def _keeps(self, relative: str) -> bool:
        if not is_image(relative.rpartition("/")[2]) or not self.selection.keeps(relative):
            return False
        return not self.real_pictures or os.path.join(self.real, relative) not in self.real_pictures


class FolderHandle:
    """An open folder, which tells whether its path still leads to it."""

    def __init__(self, path: str) -> None:
        """Open a folder.

        Raises:
            UsageError: it cannot be opened.
        """
        self._path = path
        try:
            # An open folder keeps its number, which another folder in its place could get otherwise.
            self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise UsageError(f"{path} cannot be opened ({error.strerror})", remedy="give a readable folder") from error

    def check(self) -> None:
        """Check that the folder is where it was.

        Raises:
            PolyexportError: it was removed, moved or replaced.
        """
        try:
            same = os.path.samestat(os.stat(self._path), os.fstat(self._descriptor))
        except OSError:
            same = False
        if not same:
            raise PolyexportError(
                f"the watched folder {self._path} was removed, moved or replaced",
                remedy="run the same command again with its present path and the same -o, which carries on",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def plan_watch(request: Request, conditions: Sequence[Condition[Any]]) -> WatchedFolder:
    """Find the folder of a watch, and what is to be made of its files.

    Args:
        request: what the user named: one folder.
        conditions: conditions of the model.

    Raises:
        UsageError: anything but one folder on this machine, an output folder that cannot be used with it, or conditions
            that are missing or that the model does not have.
        ColorError: a text that is not a color.
    """
    path = _folder(request)
    settings = tuple(
        parse_settings(conditions, colors=request.colors, assignments=request.assignments, values=request.values)
    )
    pairing = parse_pairing(conditions, request.pictures)
    for name, pictures in pairing.by_name:
        if pictures is not None and (pictures.is_folder or is_url(pictures.path)):
            raise UsageError(
                f"{pictures.path}, the pictures of {name}, is no file here, and a watch waits for no pictures",
                remedy=f"give one file for all images: --with {name}=FILE",
            )
    if request.output is None:
        output = default_output(1, [Path(path)], default_name(settings))
    else:
        output = Path(local_path(request.output))
    real, target = os.path.realpath(path), os.path.realpath(output)
    if _lies_in(real, target):
        raise UsageError(
            f"the watched folder {path} is the output {output}, or lies in it", remedy="name another folder with -o"
        )
    return WatchedFolder(
        path=path,
        real=real,
        output=output,
        real_output=target,
        settings=settings,
        pairing=pairing,
        real_pictures=frozenset(map(os.path.realpath, pairing.paths)),
        recursive=request.recursive,
        selection=Selection.of(include=request.include, exclude=request.exclude),
    )


def _lies_in(path: str, folder: str) -> bool:
    """Return whether a real path is a folder or lies in it."""
    return os.path.join(path, "").startswith(os.path.join(folder, ""))


def _folder(request: Request) -> str:
    for option, given in (("--manifest", request.manifest), ("--files-from", request.files_from)):
        if given is not None:
            raise UsageError(f"{option} does not go with --watch", remedy="give one folder to watch")
    if len(request.paths) != 1:
        raise UsageError(f"got {len(request.paths)} paths to watch", remedy="give one folder to watch")
    path = local_path(request.paths[0])
    if is_url(path) or (request.output is not None and is_url(local_path(request.output))):
        raise UsageError("URLs do not go with --watch", remedy="give folders of this machine")
    if not os.path.isdir(path):
        if os.path.exists(path):
            raise UsageError(f"{path} is not a folder", remedy="give one folder to watch")
        pattern = " and patterns do not go with --watch" if has_wildcard(path) else ""
        raise UsageError(f"{path} does not exist{pattern}", remedy="give one folder to watch")
    return str(Path(path))
