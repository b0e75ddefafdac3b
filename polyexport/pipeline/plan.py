"""Plan of a run: every input and output, decided before any image is decoded."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from polyexport.errors import UsageError
from polyexport.imaging.color import Color
from polyexport.imaging.names import name_clashes, png_names
from polyexport.pipeline.inputs.discover import discover, input_folders
from polyexport.pipeline.inputs.discover_url import discover_urls
from polyexport.pipeline.inputs.manifest import Entry
from polyexport.pipeline.inputs.naming import Found
from polyexport.storage.spelling import Spelling
from polyexport.storage.stores import Url, is_url

__all__ = ["Item", "Plan", "make_plan", "mark_clashes", "output_name", "plan_entries"]


@dataclass(frozen=True, slots=True)
class Item:
    """One input image. Its fields are plain strings, because a folder may hold a million images."""

    source: str
    """Path or URL of the file to read."""

    name: str
    """Name of the outputs, relative to the folder of each color, ending in ``.png``."""

    colors: tuple[Color, ...]

    clash: str = ""
    """Why its outputs cannot have their names; empty if they can. See ``mark_clashes``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Every input and every output of a run."""

    items: tuple[Item, ...]
    """Inputs, sorted by name, so that the order of a run does not depend on the file system."""

    output: Path | Url

    @property
    def colors(self) -> tuple[Color, ...]:
        """Every color that any item has, each once."""
        return tuple(dict.fromkeys(color for group in {item.colors for item in self.items} for color in group))

    @property
    def outputs(self) -> int:
        """Number of outputs."""
        return sum(len(item.colors) for item in self.items)


def output_name(item: Item, color: Color) -> str:
    """Return the name of an output in the output folder: ``<color>/<path relative to the input folder>.png``."""
    return f"{color.name}/{item.name}"


def make_plan(
    paths: Sequence[str | Path],
    colors: Sequence[Color],
    *,
    output: Path | Url | None = None,
    recursive: bool = False,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> Plan:
    """Find the inputs and name the outputs.

    Args:
        paths: files, folders and glob patterns; see ``discover``.
        colors: colors of every input, one output each; repeated colors count once.
        output: output folder; by default ``<folder>-colored`` beside a single input folder, else ``colored`` in the
            working folder. An output folder inside an input folder is not searched for inputs.
        recursive: whether subfolders are searched; the outputs keep their tree.
        include: patterns; if there are any, a file of a folder must match one of them.
        exclude: patterns; a file that matches one of them is left out.

    Raises:
        UsageError: a missing or empty path, an output folder that is an input folder, or an output that is an input.
    """
    urls = [Url.of(str(path)) for path in paths if is_url(str(path))]
    if urls:
        if len(urls) < len(paths):
            raise UsageError("the inputs are paths and URLs", remedy="color them in two runs")
        target = output if output is not None else _default_url(urls)
        found = discover_urls(urls, recursive=recursive, include=include, exclude=exclude, skip=target)
    else:
        folders = input_folders(paths)
        target = output if output is not None else _default_output(len(paths), folders)
        if isinstance(target, Path):
            _refuse_input_folder(target, folders)
        skip = [target] if isinstance(target, Path) else []
        found = discover(paths, recursive=recursive, include=include, exclude=exclude, skip=skip)
    shared = tuple(dict.fromkeys(colors))
    return _planned([(each, shared) for each in found], target)


def plan_entries(entries: Sequence[Entry], *, output: Path | Url) -> Plan:
    """Make a plan of a manifest's entries: each input in its own colors.

    Raises:
        UsageError: an output that is an input.
    """
    wanted: dict[tuple[str, str], list[Color]] = {}
    for entry in entries:
        wanted.setdefault((entry.source, entry.name), []).append(entry.color)
    groups: dict[tuple[Color, ...], tuple[Color, ...]] = {}  # shared, because many entries have the same colors
    found = []
    for (source, name), colors in wanted.items():
        group = tuple(dict.fromkeys(colors))
        found.append((Found(source, name), groups.setdefault(group, group)))
    return _planned(found, output)


def mark_clashes(plan: Plan, probe: Callable[[], Spelling]) -> Plan:
    """Mark the inputs whose outputs the output folder cannot tell apart, so that they fail and the others do not.

    Args:
        plan: inputs and outputs.
        probe: finds out which spellings the output folder ignores; only called if names differ in nothing else.
    """

    def outputs() -> Iterator[tuple[int, str]]:
        return ((number, output_name(item, color)) for number, item in enumerate(plan.items) for color in item.colors)

    if not name_clashes(outputs, Spelling(ignores_case=True, ignores_composition=True)):
        return plan
    clashes = name_clashes(outputs, probe())
    if not clashes:
        return plan
    items = list(plan.items)
    for number, other in clashes.items():
        items[number] = replace(items[number], clash=_clash(plan, number, other))
    return replace(plan, items=tuple(items))


def _clash(plan: Plan, number: int, other: int | None) -> str:
    name = plan.items[number].name
    if other is None:
        return f"its output {name} has the name of a folder of outputs; rename it"
    if other == number:
        return "its outputs in two colors have one name on this disk; rename a color"
    rival = plan.items[other]
    where = "" if rival.name == name else f", which this disk does not tell from {rival.name},"
    return f"its output {name}{where} is the output of {rival.source}, too; rename one of them"


def _default_output(num_paths: int, folders: Sequence[Path]) -> Path:
    if num_paths == 1 and folders:
        folder = folders[0].resolve()
        if not folder.name:
            raise UsageError(f"no output folder can be made beside {folder}", remedy="name one with -o")
        return folder.with_name(f"{folder.name}-colored")
    return Path("colored")


def _default_url(urls: Sequence[Url]) -> Url:
    if len(urls) == 1 and urls[0].name:
        return urls[0].with_name(f"{urls[0].name}-colored")
    raise UsageError("several inputs in a store have no output by default", remedy="name one with -o")


def _refuse_input_folder(target: Path, folders: Sequence[Path]) -> None:
    for folder in folders:
        if os.path.realpath(target) == os.path.realpath(folder):
            raise UsageError(f"the output {target} is the input folder {folder}", remedy="name another folder with -o")


def _planned(found: Sequence[tuple[Found, tuple[Color, ...]]], output: Path | Url) -> Plan:
    items = _named(found)
    plan = Plan(items=items, output=output)
    if isinstance(output, Url):
        _refuse_urls(plan, output)
    else:
        _refuse_inputs(plan, output)
    return plan


def _refuse_urls(plan: Plan, output: Url) -> None:
    """Refuse a plan in which an output would replace an input."""
    sources = {Url.of(item.source).place for item in plan.items if is_url(item.source)}
    for item in plan.items if sources else ():
        for color in item.colors:
            target = output / output_name(item, color)
            if target.place in sources:
                raise UsageError(f"the output {target} is an input", remedy="choose another -o")


def _named(found: Sequence[tuple[Found, tuple[Color, ...]]]) -> tuple[Item, ...]:
    """Return one item for each input, sorted by the name of its outputs."""
    names = png_names([each.name for each, _ in found])
    items = [Item(each.source, name, colors) for (each, colors), name in zip(found, names, strict=True)]
    return tuple(sorted(items, key=lambda item: item.name))


def _refuse_inputs(plan: Plan, output: Path) -> None:
    """Refuse a plan in which an output would replace an input, also through links."""
    folders = {os.path.dirname(item.name) for item in plan.items}  # noqa: PTH120
    places = {
        os.path.realpath(output / color.name / folder): (color, folder) for color in plan.colors for folder in folders
    }
    parents: dict[str, str] = {}
    hit: dict[tuple[Color, str], set[str]] = {}
    for item in plan.items:
        # The target of a link counts, not the link.
        parent, name = os.path.split(os.path.realpath(item.source) if os.path.islink(item.source) else item.source)  # noqa: PTH114
        real = parents.get(parent)
        if real is None:
            real = parents[parent] = os.path.realpath(parent)
        if real in places:
            hit.setdefault(places[real], set()).add(name)
    for item in plan.items if hit else ():
        folder, name = os.path.split(item.name)
        for color in item.colors:
            if name in hit.get((color, folder), ()):
                raise UsageError(
                    f"the output {output / PurePath(output_name(item, color))} is an input",
                    remedy="choose another -o",
                )
