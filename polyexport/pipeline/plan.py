"""What a run will read and write, decided before a pixel is decoded."""

import errno
import functools
import os
import stat
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from polyexport.color import Color
from polyexport.errors import OutputError, UsageError, reason_of
from polyexport.files import check_writable
from polyexport.image import SUFFIXES

__all__ = ["Item", "Plan", "find_images", "make_plan"]


@dataclass(frozen=True, slots=True)
class Item:
    """One input image."""

    source: Path
    name: PurePath
    """Of its outputs, relative to the folder of each colour; ends in ``.png``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Every input and every output of a run."""

    items: tuple[Item, ...]
    """Sorted by name: the order of a run does not depend on the file system."""

    colors: tuple[Color, ...]
    output: Path

    def destination(self, item: Item, color: Color) -> Path:
        """``<output>/<color>/<path relative to the input folder>.png``."""
        return self.output / color.name / item.name


def make_plan(
    paths: Sequence[Path],
    colors: Sequence[Color],
    *,
    output: Path | None = None,
    recursive: bool = False,
    overwrite: bool = False,
) -> Plan:
    """Find the inputs and name the outputs.

    Folders give their image files by suffix, without hidden files; named files are taken whatever their suffix. Links
    are followed only if what they point to lies inside the folder.

    Args:
        paths: files and folders.
        colors: one output per colour; repeated colours count once.
        output: the default is ``<folder>-colored`` beside a single folder, else ``colored`` in the working folder.
        recursive: go into subfolders, whose tree the outputs keep.
        overwrite: outputs may replace files.

    Raises:
        UsageError: a missing or empty path, an output inside an input folder, two inputs with one output, or existing
            outputs without ``overwrite``.
        OutputError: the output folder cannot be written.
    """
    folders = [path for path in paths if _is_folder(path)]
    target = output if output is not None else _default_output(paths, folders)
    found: dict[Path, PurePath] = {}
    prefixes = _prefixes(folders) if len(paths) > 1 else {}
    for path in paths:
        if path in folders:
            prefix = prefixes.get(path, PurePath())
            found |= {file: prefix / file.relative_to(path) for file in find_images(path, recursive=recursive)}
        else:
            found[path] = PurePath(path.name)
    if not found:
        raise UsageError("no input", remedy="give image files or folders")
    plan = Plan(items=_named(list(found.items())), colors=tuple(dict.fromkeys(colors)), output=target)
    _refuse_overlap(plan, folders)
    _refuse_existing(plan, overwrite=overwrite)
    check_writable(target)
    return plan


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except FileNotFoundError as error:
        raise UsageError(f"{path} does not exist", remedy="give image files or folders") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read ({reason_of(error)})", remedy="give image files or folders") from error


def _prefixes(folders: Sequence[Path]) -> dict[Path, PurePath]:
    """Several folders may hold the same names: each keeps its own name above its files, or its path if names repeat."""
    real = {folder: folder.resolve() for folder in folders}
    names = {path.name for path in real.values()}
    if len(names) == len(set(real.values())):
        return {folder: PurePath(path.name) for folder, path in real.items()}
    common = os.path.commonpath([path.parent for path in real.values()])
    return {folder: path.relative_to(common) for folder, path in real.items()}


def find_images(folder: Path, *, recursive: bool = False) -> list[Path]:
    """Image files of a folder, by suffix, sorted, without hidden ones.

    Raises:
        UsageError: no folder, or one without images.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder", remedy="give a folder with images")
    files = _scan(folder, recursive=recursive)
    if not files:
        deeper = not recursive and bool(_scan(folder, recursive=True))
        raise UsageError(
            f"no image in {folder}",
            remedy="its subfolders hold some: add --recursive" if deeper else "give a folder with images",
        )
    return sorted(files)


def _default_output(paths: Sequence[Path], folders: Sequence[Path]) -> Path:
    if len(paths) == 1 and folders:
        folder = folders[0].resolve()
        if not folder.name:
            raise UsageError(f"{folder} has no sibling for the output", remedy="name a folder with -o")
        return folder.with_name(f"{folder.name}-colored")
    return Path("colored")


def _refuse_overlap(plan: Plan, folders: Sequence[Path]) -> None:
    """No output may land in an input folder, on an input, or behind a link that leads away from the output folder."""
    roots = {Path(os.path.realpath(folder)): folder for folder in folders}
    for place in (plan.output, *(plan.output / color.name for color in plan.colors)):
        target = Path(os.path.realpath(place))
        for root, folder in roots.items():
            if target == root or root in target.parents:
                raise UsageError(
                    f"the output {place} lies in the input folder {folder}", remedy="name a folder outside it with -o"
                )
    real = functools.cache(os.path.realpath)
    sources = {(real(item.source.parent), item.source.name) for item in plan.items} | {
        os.path.split(os.path.realpath(item.source)) for item in plan.items if item.source.is_symlink()
    }
    for color in plan.colors:
        for item in plan.items:
            destination = plan.destination(item, color)
            if (real(destination.parent), destination.name) in sources:
                raise UsageError(f"the output {destination} is an input", remedy="choose another -o")


def _scan(folder: Path, *, recursive: bool) -> list[Path]:
    """Image files below a folder; every real folder is visited once, since links to folders are not followed."""
    root = folder.resolve()

    def refuse(error: OSError) -> None:
        raise UsageError(f"{error.filename} cannot be listed ({error.strerror})", remedy="check its mode") from error

    files: list[Path] = []
    for current, subfolders, names in os.walk(folder, onerror=refuse):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith(".")) if recursive else []
        for name in names:
            path = Path(current, name)
            if name.startswith(".") or path.suffix.lower() not in SUFFIXES:
                continue
            # realpath, because it does not raise on a link to itself; such a file fails when it is read.
            if path.is_symlink() and root not in Path(os.path.realpath(path)).parents:
                continue
            files.append(path)
    return files


def _named(found: Sequence[tuple[Path, PurePath]]) -> tuple[Item, ...]:
    """Output names: the suffix becomes ``.png``; where that would merge two inputs, it is kept before ``.png``."""
    plain = [name.with_suffix(".png") for _, name in found]
    # File systems that ignore case would merge what differs in case alone.
    merged = {name for name, count in Counter(str(name).lower() for name in plain).items() if count > 1}
    items: list[Item] = []
    taken: dict[str, Path] = {}
    for (source, name), png in zip(found, plain, strict=True):
        clash = str(png).lower() in merged and name.suffix.lower() != ".png"
        final = name.with_name(name.name + ".png") if clash else png
        other = taken.setdefault(str(final).lower(), source)
        if other is not source:
            raise UsageError(f"{other} and {source} have the same output {final}", remedy="rename one of them")
        items.append(Item(source, final))
    return tuple(sorted(items, key=lambda item: str(item.name)))


def _refuse_existing(plan: Plan, *, overwrite: bool) -> None:
    existing = 0
    first: Path | None = None
    for color in plan.colors:
        for item in plan.items:
            destination = plan.destination(item, color)
            try:
                mode = destination.lstat().st_mode
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                if error.errno == errno.ENAMETOOLONG:
                    continue  # that item fails when it is written
                raise OutputError(
                    f"cannot look at {destination} ({error.strerror})", remedy="choose another -o"
                ) from error
            if stat.S_ISDIR(mode):
                raise UsageError(f"the output {destination} is a folder", remedy="choose another -o")
            existing += 1
            first = first or destination
    if existing and not overwrite:
        raise UsageError(
            f"{existing} of {len(plan.items) * len(plan.colors)} outputs exist already, such as {first}",
            remedy="add --overwrite or choose another -o",
        )
