"""Requests: the inputs, conditions and output that a user names, made into a plan."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polyexport.errors import UsageError
from polyexport.imaging.output_format import FormatName
from polyexport.model.conditions.color_condition import ColorLike
from polyexport.model.conditions.condition import Condition
from polyexport.model.settings import NOTHING, parse_settings
from polyexport.pipeline.inputs.pairing import parse_pairing
from polyexport.pipeline.inputs.path_list import MAX_LIST_BYTES, read_list, read_list_file
from polyexport.pipeline.plan import Plan, default_name, make_plan, plan_entries
from polyexport.storage.files import read_stream
from polyexport.storage.stores import Url, is_url, local_path

__all__ = ["STDIO", "Request", "plan_request"]

STDIO = "-"
"""Stands for stdin or stdout in place of a path."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """Inputs, conditions and output as a user names them."""

    paths: Sequence[str] = ()
    """Files, folders, glob patterns and URLs."""

    files_from: str | None = None
    """File with a list of further paths, or ``-`` for stdin."""

    manifest: Path | None = None
    """File with the conditions of each image, in place of ``paths`` and ``colors``."""

    colors: Sequence[ColorLike] = ()
    """Colors of every image."""

    assignments: Sequence[str] = ()
    """``NAME=VALUE`` each: values of other conditions of every image."""

    values: Mapping[str, Sequence[Any]] = field(default_factory=lambda: NOTHING)
    """Values of other conditions of every image, by their names, beside ``assignments``."""

    pictures: Sequence[str] = ()
    """``NAME=PATH`` each: folder or file of second pictures."""

    output: str | None = None
    """Path or URL of the output folder; None for the default."""

    recursive: bool = False
    """Whether subfolders are searched."""

    include: Sequence[str] = ()
    """Patterns of the files to take from folders; see ``Selection.of``."""

    exclude: Sequence[str] = ()
    """Patterns of the files and folders to leave out."""


def plan_request(request: Request, conditions: Sequence[Condition[Any]], *, format_name: FormatName = "png") -> Plan:
    """Find the inputs of a request, and name their outputs.

    Args:
        request: what the user named.
        conditions: conditions of the model.
        format_name: format of the outputs.

    Raises:
        UsageError: conditions that are missing or that the model does not have, options that exclude each other, or
            inputs that cannot be found or read.
        ColorError: a text that is not a color.
    """
    paths = [local_path(path) for path in (*request.paths, *_listed_paths(request.files_from))]
    output = None if request.output is None else _output(local_path(request.output))
    if request.manifest is not None:
        from polyexport.pipeline.inputs.manifest import read_manifest  # which most runs don't need

        if paths or request.colors or request.include or request.exclude:
            raise UsageError(
                "--manifest names images and colors", remedy="leave out paths, --color, --include and --exclude"
            )
        pairing = parse_pairing(conditions, request.pictures, manifest=True)
        entries = read_manifest(
            request.manifest, conditions, assignments=request.assignments, paired=pairing.given_names
        )
        folder = (request.manifest if request.manifest.is_dir() else request.manifest.parent).resolve()
        default = folder.with_name(f"{folder.name}-{default_name(entry.setting for entry in entries)}")
        target = default if output is None else output
        return plan_entries(entries, output=target, pairing=pairing, format_name=format_name)
    return make_plan(
        paths,
        parse_settings(conditions, colors=request.colors, assignments=request.assignments, values=request.values),
        output=output,
        recursive=request.recursive,
        include=request.include,
        exclude=request.exclude,
        pairing=parse_pairing(conditions, request.pictures),
        format_name=format_name,
    )


def _output(text: str) -> Path | Url:
    return Url.of(text) if is_url(text) else Path(text)


def _listed_paths(files_from: str | None) -> list[str]:
    if files_from is None:
        return []
    if files_from == STDIO:
        try:
            return read_list(read_stream(sys.stdin.buffer, MAX_LIST_BYTES))
        except OSError as error:
            raise UsageError(f"stdin cannot be read ({error.strerror})", remedy="give a list of paths") from error
    return read_list_file(files_from)
