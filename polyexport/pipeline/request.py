"""Requests: the inputs, colors and output that a user names, made into a plan."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from polyexport.errors import ColorError, UsageError
from polyexport.imaging.color import Color, parse_color
from polyexport.model.loading.limits import DEFAULT_LIMITS, LoadLimits
from polyexport.pipeline.inputs.manifest import read_manifest
from polyexport.pipeline.inputs.path_list import MAX_LIST_BYTES, read_list, read_list_file
from polyexport.pipeline.plan import Plan, make_plan, plan_entries
from polyexport.storage.files import read_stream
from polyexport.storage.stores import Url, is_url, local_path

if TYPE_CHECKING:
    from polyexport.model.conditions.condition import Condition

__all__ = ["STDIO", "Request", "parse_colors", "plan_request"]

STDIO = "-"
"""Stands for stdin or stdout in place of a path."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """Inputs, colors and output as a user names them."""

    paths: Sequence[str] = ()
    """Files, folders, glob patterns and URLs."""

    files_from: str | None = None
    """File with a list of further paths, or ``-`` for stdin."""

    manifest: Path | None = None
    """File with a color for each image, in place of ``paths`` and ``colors``."""

    colors: Sequence[str] = ()
    """Colors of every image, as text."""

    output: str | None = None
    """Path or URL of the output folder; None for the default."""

    model: Path | None = None
    """Model file, for the names of colors that it knows; None for the shipped model."""

    signed_by: Path | None = None
    """Public key, PEM, with which the model file must have been signed; None if that does not matter."""

    limits: LoadLimits = DEFAULT_LIMITS
    """Limits of the first load of an unknown model file."""

    recursive: bool = False
    """Whether subfolders are searched."""

    include: Sequence[str] = ()
    """Patterns of the files to take from folders; see ``Selection.of``."""

    exclude: Sequence[str] = ()
    """Patterns of the files and folders to leave out."""


def plan_request(request: Request) -> Plan:
    """Find the inputs of a request, and name their outputs.

    Raises:
        UsageError: no color, options that exclude each other, or inputs that cannot be found or read.
        ColorError: a text that is not a color.
    """
    paths = [local_path(path) for path in (*request.paths, *_listed_paths(request.files_from))]
    output = None if request.output is None else _output(local_path(request.output))
    if request.manifest is not None:
        if paths or request.colors or request.include or request.exclude:
            raise UsageError(
                "--manifest names images and colors", remedy="leave out paths, --color, --include and --exclude"
            )
        folder = (request.manifest if request.manifest.is_dir() else request.manifest.parent).resolve()
        entries = read_manifest(request.manifest, lambda text: _parse_colors([text], request)[0])
        default = folder.with_name(f"{folder.name}-colored")
        return plan_entries(entries, output=default if output is None else output)
    if not request.colors:
        raise UsageError("no color was given", remedy="give --color, or --manifest with a color for each image")
    return make_plan(
        paths,
        _parse_colors(request.colors, request),
        output=output,
        recursive=request.recursive,
        include=request.include,
        exclude=request.exclude,
    )


def parse_colors(
    texts: Sequence[str],
    model: Path | None,
    *,
    signed_by: Path | None = None,
    limits: LoadLimits = DEFAULT_LIMITS,
) -> list[Color]:
    """Parse colors. The model is loaded only if a text is not a color by itself, because it may be a name of the model.

    Args:
        texts: what the user typed.
        model: a model file, or None for the shipped model, which has no names of its own.
        signed_by: public key, PEM, with which the model file must have been signed.
        limits: limits of the first load of an unknown model file.

    Raises:
        ColorError: a text that is not a color.
        ModelError: the model is refused.
    """
    try:
        return [parse_color(text) for text in texts]
    except ColorError:
        if model is None:
            raise
    condition = _condition(model, signed_by, limits)
    return [condition.parse(text) for text in texts]


def _parse_colors(texts: Sequence[str], request: Request) -> list[Color]:
    return parse_colors(texts, request.model, signed_by=request.signed_by, limits=request.limits)


@cache
def _condition(model: Path, signed_by: Path | None, limits: LoadLimits) -> "Condition":
    from polyexport.model.loading.load import load_model

    return load_model(model, provider="cpu", signed_by=signed_by, limits=limits).condition


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
