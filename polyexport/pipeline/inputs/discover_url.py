"""Discovery of inputs in object stores: URLs of files and folders -> what to open, and what to call it."""

from collections.abc import Sequence
from pathlib import Path

from polyexport.errors import UsageError
from polyexport.imaging.codecs import SUFFIXES
from polyexport.pipeline.inputs.naming import Found
from polyexport.pipeline.inputs.patterns import Selection
from polyexport.pipeline.outputs.staging import STATE
from polyexport.storage.stores import Store, Url

__all__ = ["discover_urls"]

_REMEDY = "give images or folders"


def discover_urls(
    urls: Sequence[Url],
    *,
    recursive: bool = False,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    skip: Path | Url | None = None,
) -> list[Found]:
    """Find the inputs, sorted by name. The rules are those of ``discover``, without wildcards.

    Args:
        urls: files and folders; names of inputs begin with the folder's name unless the folder is the only input.
        recursive: whether subfolders are searched.
        include: patterns; if there are any, a file of a folder must match one of them.
        exclude: patterns; a file that matches one of them is left out.
        skip: a folder that is not entered, such as the output folder.

    Raises:
        UsageError: a URL that does not exist or cannot be listed, or a folder without images.
    """
    selection = Selection.of(include=include, exclude=exclude)
    found: list[Found] = []
    for url in dict.fromkeys(urls):
        try:
            store = Store(url)
            kind = store.kind()
            if kind == "file":
                found.append(Found(str(url), url.name))
                continue
            entries = [entry.name for entry in store.entries(recursive=recursive) if entry.is_file] if kind else []
        except OSError as error:
            raise UsageError(f"{url} cannot be read ({error.strerror or error})", remedy=_REMEDY) from error
        if not kind:
            raise UsageError(f"{url} does not exist", remedy=_REMEDY)
        if isinstance(skip, Url) and skip.place == url.place:
            raise UsageError(f"the output {skip} is the input folder", remedy="name another folder with -o")
        names = [name for name in entries if _is_input(name, url, skip) and selection.keeps(name)]
        if not names:
            raise UsageError(f"{url} has no image", remedy="add --recursive for its folders, or give another folder")
        prefix = f"{url.name}/" if len(urls) > 1 else ""
        found.extend(Found(str(url / name), f"{prefix}{name}") for name in names)
    return sorted(found, key=lambda one: one.name)


def _is_input(name: str, url: Url, skip: Path | Url | None) -> bool:
    parts = name.split("/")
    hidden = any(part.startswith(".") for part in parts) or STATE in parts
    image = any(parts[-1].lower().endswith(suffix) for suffix in SUFFIXES)
    return image and not hidden and not (isinstance(skip, Url) and skip.holds(url / name))
