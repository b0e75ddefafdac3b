"""Plan of a run: every input and output, decided before any image is decoded."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from polyexport.errors import UsageError
from polyexport.imaging.color import Color
from polyexport.imaging.names import name_clashes, output_names, png_suffix
from polyexport.imaging.output_format import FormatName
from polyexport.model.settings import Setting
from polyexport.pipeline.inputs.discover import discover, input_folders
from polyexport.pipeline.inputs.discover_url import discover_urls
from polyexport.pipeline.inputs.naming import Found
from polyexport.pipeline.inputs.pairing import NO_PICTURES, Pairing
from polyexport.pipeline.outputs.staging import STATE
from polyexport.storage.spelling import Spelling
from polyexport.storage.stores import Url, is_url

if TYPE_CHECKING:
    from polyexport.pipeline.inputs.manifest import Entry

__all__ = [
    "Item",
    "Plan",
    "colored",
    "default_name",
    "default_output",
    "make_plan",
    "mark_clashes",
    "output_name",
    "plan_entries",
    "target_suffix",
]


@dataclass(frozen=True, slots=True)
class Item:
    """One input image. Its fields are plain strings, because a folder may hold a million images."""

    source: str
    """Path or URL of the file to read."""

    name: str
    """Name of the outputs, relative to the folder of each setting, with the suffix of their format."""

    settings: tuple[Setting, ...]
    """Values of the model's conditions for each output, at least one."""

    clash: str = ""
    """Why its outputs cannot have their names; empty if they can. See ``mark_clashes``."""

    pictures: tuple[str, ...] = ()
    """Path or URL of its second picture, such as a mask, for each condition of the model that is one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Every input and every output of a run."""

    items: tuple[Item, ...]
    """Inputs, sorted by name, so that the order of a run does not depend on the file system."""

    output: Path | Url

    pictures: tuple[str, ...] = ()
    """Names of the conditions that are second pictures, in the model's order."""

    @property
    def settings(self) -> tuple[Setting, ...]:
        """Every setting that any item has, each once."""
        return tuple(dict.fromkeys(one for group in {item.settings for item in self.items} for one in group))

    @property
    def outputs(self) -> int:
        """Number of outputs."""
        return sum(len(item.settings) for item in self.items)


def output_name(item: Item, setting: Setting) -> str:
    """Return the name of an output in the output folder: ``<setting>/<path relative to the input folder>``.

    The outputs of a model without conditions have no folder of a setting.
    """
    return f"{setting.folder}/{item.name}" if setting.folder else item.name


def make_plan(
    paths: Sequence[str | Path],
    settings: Sequence[Setting],
    *,
    output: Path | Url | None = None,
    recursive: bool = False,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    pairing: Pairing = NO_PICTURES,
    format_name: FormatName = "png",
) -> Plan:
    """Find the inputs and name the outputs.

    Args:
        paths: files, folders and glob patterns; see ``discover``.
        settings: settings of every input, one output each; repeated settings count once.
        output: output folder; by default ``<folder>-colored`` beside a single input folder, else ``colored`` in the
            working folder, and ``results`` in place of ``colored`` for settings without a color. An output folder
            inside an input folder is not searched for inputs.
        recursive: whether subfolders are searched; the outputs keep their tree.
        include: patterns; if there are any, a file of a folder must match one of them.
        exclude: patterns; a file that matches one of them is left out.
        pairing: second pictures of the inputs, which are no inputs themselves.
        format_name: format of the outputs.

    Raises:
        UsageError: a missing or empty path, an output folder that is an input folder, an output that is an input, or
            two second pictures of one input.
    """
    urls = [Url.of(str(path)) for path in paths if is_url(str(path))]
    default = default_name(settings)
    if urls:
        if len(urls) < len(paths):
            raise UsageError("the inputs are paths and URLs", remedy="give them in two runs")
        target = output if output is not None else _default_url(urls, default)
        found = discover_urls(urls, recursive=recursive, include=include, exclude=exclude, skip=target)
    else:
        folders = input_folders(paths)
        target = output if output is not None else default_output(len(paths), folders, default)
        if isinstance(target, Path):
            _refuse_input_folder(target, folders)
        for seconds in pairing.paths:
            _refuse_pictures_among(folders, seconds)
        skip = [*([target] if isinstance(target, Path) else []), *pairing.paths]
        found = discover(paths, recursive=recursive, include=include, exclude=exclude, skip=skip)
        found = _without(found, pairing.paths)
    shared = tuple(dict.fromkeys(settings))
    planned = [(each, shared, pairing.pictures(each.name)) for each in found]
    return _planned(planned, target, pairing, format_name)


def plan_entries(
    entries: "Sequence[Entry]",
    *,
    output: Path | Url,
    pairing: Pairing = NO_PICTURES,
    format_name: FormatName = "png",
) -> Plan:
    """Make a plan of a manifest's entries: each input with its own settings.

    Args:
        entries: images and their settings.
        output: output folder.
        pairing: second pictures of the inputs that name none.
        format_name: format of the outputs.

    Raises:
        UsageError: an output that is an input, or an image with two different second pictures.
    """
    wanted: dict[tuple[str, str], list[Setting]] = {}
    pictures: dict[str, tuple[tuple[str, str], ...]] = {}
    for entry in entries:
        wanted.setdefault((entry.source, entry.name), []).append(entry.setting)
        if entry.pictures and pictures.setdefault(entry.name, entry.pictures) != entry.pictures:
            raise UsageError(
                f"the manifest names {entry.name} with different second pictures, whose outputs would have one name",
                remedy="write them into two manifests, with an output folder each",
            )
    groups: dict[tuple[Setting, ...], tuple[Setting, ...]] = {}  # shared, as many entries have the same settings
    found = []
    for (source, name), settings in wanted.items():
        group = tuple(dict.fromkeys(settings))
        seconds = pairing.pictures(name, pictures.get(name, ()))
        found.append((Found(source, name), groups.setdefault(group, group), seconds))
    return _planned(found, output, pairing, format_name)


def mark_clashes(plan: Plan, probe: Callable[[], Spelling]) -> Plan:
    """Mark the inputs whose outputs the output folder cannot tell apart, so that they fail and the others do not.

    Args:
        plan: inputs and outputs.
        probe: finds out which spellings the output folder ignores; only called if names differ in nothing else.
    """

    def outputs() -> Iterator[tuple[int, str]]:
        return ((number, output_name(item, one)) for number, item in enumerate(plan.items) for one in item.settings)

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
        if colored(plan.settings):
            return "its outputs in two colors have one name on this disk; rename a color"
        return "its outputs under two settings have one name on this disk; give one of them in another run"
    rival = plan.items[other]
    where = "" if rival.name == name else f", which this disk does not tell from {rival.name},"
    return f"its output {name}{where} is the output of {rival.source}, too; rename one of them"


def default_name(settings: Iterable[Setting]) -> str:
    """Return the name of an output folder that the user does not name, or its end after the input folder's name."""
    return "colored" if colored(settings) else "results"


def colored(settings: Iterable[Setting]) -> bool:
    """Return whether settings have a color."""
    return any(isinstance(value, Color) for setting in settings for value in setting.values)


def default_output(num_paths: int, folders: Sequence[Path], name: str) -> Path:
    """Return the output folder that a user does not name: beside a single input folder, else in the working folder.

    Args:
        num_paths: number of the inputs as the user named them.
        folders: folders among them.
        name: name of the folder, or its end after the input folder's name.

    Raises:
        UsageError: the input folder is the root of the file system.
    """
    if num_paths == 1 and folders:
        folder = folders[0].resolve()
        if not folder.name:
            raise UsageError(f"no output folder can be made beside {folder}", remedy="name one with -o")
        return folder.with_name(f"{folder.name}-{name}")
    return Path(name)


def _default_url(urls: Sequence[Url], name: str) -> Url:
    if len(urls) == 1 and urls[0].name:
        return urls[0].with_name(f"{urls[0].name}-{name}")
    raise UsageError("several inputs in a store have no output by default", remedy="name one with -o")


def _refuse_input_folder(target: Path, folders: Sequence[Path]) -> None:
    for folder in folders:
        if os.path.realpath(target) == os.path.realpath(folder):
            raise UsageError(f"the output {target} is the input folder {folder}", remedy="name another folder with -o")


def _refuse_pictures_among(folders: Sequence[Path], pictures: Path) -> None:
    for folder in folders:
        if os.path.realpath(pictures) == os.path.realpath(folder):
            raise UsageError(
                f"the second pictures lie in the input folder {folder}", remedy="move them to a folder of their own"
            )


def _without(found: list[Found], pictures: Sequence[Path]) -> list[Found]:
    """Leave out the one file that is the second picture of every input, where it lies among them."""
    for picture in pictures:
        real = os.path.realpath(picture)
        found = [one for one in found if not one.source.endswith(picture.name) or os.path.realpath(one.source) != real]
    if not found:
        raise UsageError("the only input is its own second picture", remedy="give further images")
    return found


_Input = tuple[Found, tuple[Setting, ...], tuple[str, ...]]
"""An input, its settings, and its second pictures."""


def _planned(found: Sequence[_Input], output: Path | Url, pairing: Pairing, format_name: FormatName) -> Plan:
    items = _named(found, format_name)
    plan = Plan(items=items, output=output, pictures=pairing.names)
    for item in items:
        if item.name.startswith(f"{STATE}/") and not all(setting.folder for setting in item.settings):
            raise UsageError(
                f"the output of {item.source} would lie in the folder {STATE}, which holds the journal",
                remedy="rename the input's folder",
            )
    if isinstance(output, Url):
        _refuse_urls(plan, output)
    else:
        _refuse_inputs(plan, output)
    return plan


def _refuse_urls(plan: Plan, output: Url) -> None:
    """Refuse a plan in which an output would replace an input."""
    sources = {Url.of(source).place for source in _sources(plan) if is_url(source)}
    for item in plan.items if sources else ():
        for setting in item.settings:
            target = output / output_name(item, setting)
            if target.place in sources:
                raise UsageError(f"the output {target} is an input", remedy="choose another -o")


def _sources(plan: Plan) -> Iterator[str]:
    """Yield the path or URL of every file that the plan reads."""
    yield from (item.source for item in plan.items)
    yield from {picture for item in plan.items for picture in item.pictures}


def _named(found: Sequence[_Input], format_name: FormatName) -> tuple[Item, ...]:
    """Return one item for each input, sorted by the name of its outputs."""
    names = output_names([each.name for each, _, _ in found], target_suffix(format_name))
    items = [
        Item(each.source, name, settings, pictures=pictures)
        for (each, settings, pictures), name in zip(found, names, strict=True)
    ]
    return tuple(sorted(items, key=lambda item: item.name))


def target_suffix(format_name: FormatName) -> Callable[[str], str]:
    """Return the function that gives the suffix of an output for that of its input."""
    if format_name == "png":
        return png_suffix
    from polyexport.imaging.encoders import suffix_of

    return partial(suffix_of, format_name)


def _refuse_inputs(plan: Plan, output: Path) -> None:
    """Refuse a plan in which an output would replace an input, also through links."""
    folders = {os.path.dirname(item.name) for item in plan.items}  # noqa: PTH120
    places = {
        os.path.realpath(output / one.folder / folder): (one, folder) for one in plan.settings for folder in folders
    }
    parents: dict[str, str] = {}
    hit: dict[tuple[Setting, str], set[str]] = {}
    for source in _sources(plan):
        # The target of a link counts, not the link.
        parent, name = os.path.split(os.path.realpath(source) if os.path.islink(source) else source)  # noqa: PTH114
        real = parents.get(parent)
        if real is None:
            real = parents[parent] = os.path.realpath(parent)
        if real in places:
            hit.setdefault(places[real], set()).add(name)
    for item in plan.items if hit else ():
        folder, name = os.path.split(item.name)
        for setting in item.settings:
            if name in hit.get((setting, folder), ()):
                raise UsageError(
                    f"the output {output / PurePath(output_name(item, setting))} is an input",
                    remedy="choose another -o",
                )
