"""A folder of files that gets its name only when every file of it is on the disk, and that knows what is its own.

The last of its files, ``SHA256SUMS``, lists the others; ``sha256sum -c`` reads it. A folder is replaced only when it
holds nothing else.
"""

import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from polyexport.errors import OutputError, UsageError
from polyexport.storage.files import TEMPORARY_SUFFIX, check_writable, read_limited

__all__ = ["MANIFEST", "WrittenFile", "check_free", "read_manifest", "write_folder"]

MANIFEST = "SHA256SUMS"
_MAX_MANIFEST_BYTES = 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenFile:
    """One file of a folder."""

    name: str
    """Relative to the folder, with ``/``."""

    sha256: str
    size_bytes: int


def check_free(output: Path, *, kind: str, overwrite: bool) -> None:
    """Refuse what ``write_folder`` would refuse, before its contents are made.

    Args:
        output: the folder; missing or empty, or an earlier one with ``overwrite``.
        kind: what such a folder is called, for messages: ``a package``.
        overwrite: an earlier folder that nobody added files to may be replaced.

    Raises:
        UsageError: ``output`` holds files.
        OutputError: ``output`` is no folder or cannot be written.
    """
    _refuse_occupied(output, kind=kind, overwrite=overwrite)
    check_writable(_absolute(output).parent)


def write_folder(output: Path, contents: Mapping[str, bytes], *, kind: str, overwrite: bool) -> tuple[WrittenFile, ...]:
    """Write a folder and its manifest.

    Args:
        output: as in ``check_free``, like the others.
        contents: the bytes of each file by its name, with ``/``.
        kind: what such a folder is called.
        overwrite: an earlier one may be replaced.

    Returns:
        Its files, sorted by name; the manifest is the last.

    Raises:
        UsageError: ``output`` holds files.
        OutputError: ``output`` is no folder or cannot be written; what stood there is as it was.
    """
    files = [_described(name, content) for name, content in sorted(contents.items())]
    manifest = "".join(f"{file.sha256}  {file.name}\n" for file in files).encode("ascii")
    _write(output, {**contents, MANIFEST: manifest}, kind=kind, overwrite=overwrite)
    return (*files, _described(MANIFEST, manifest))


def read_manifest(folder: Path) -> dict[str, str]:
    """Read the manifest of a folder.

    Returns:
        Name of each file, relative to the folder -> its SHA-256 as the manifest has it, lowercase hex in a whole one.

    Raises:
        OSError: The manifest is missing or cannot be read.
    """
    text = read_limited(folder / MANIFEST, _MAX_MANIFEST_BYTES).decode("ascii", "backslashreplace")
    return {name: digest for digest, _, name in (line.partition("  ") for line in text.splitlines())}


def _described(name: str, content: bytes) -> WrittenFile:
    return WrittenFile(name=name, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))


def _absolute(path: Path) -> Path:
    """Without ``.`` and ``..``, which have no name to give; ``resolve()`` would follow a link that stands there."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def _refuse_occupied(output: Path, *, kind: str, overwrite: bool) -> None:
    try:
        mode = output.lstat().st_mode
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot look at {output} ({error})", remedy="choose another output") from error
    if not stat.S_ISDIR(mode):
        found_kind = "a link" if stat.S_ISLNK(mode) else "no folder"
        raise OutputError(f"the output {output} is {found_kind}", remedy="name a folder that does not exist yet")
    try:
        found = _files_below(output)
        known = _manifested(output) if overwrite and found else frozenset()
    except OSError as error:
        raise OutputError(
            f"cannot look into {output} ({error.strerror or error})", remedy="choose another output"
        ) from error
    strangers = sorted(found - known)
    if overwrite and strangers:
        # A wrong path must not cost anybody their home folder.
        raise UsageError(
            f"the output {output} holds {strangers[0]}, which is no part of {kind}",
            remedy="move it away or name another folder with -o",
        )
    if found and not overwrite:
        raise UsageError(f"the output {output} is not empty", remedy="add --overwrite or name another folder with -o")


def _files_below(folder: Path) -> frozenset[str]:
    """Everything but folders, and folders that are empty; links are not followed. Raises OSError."""

    def refuse(error: OSError) -> None:
        raise error

    found: set[str] = set()
    for current, folders, names in os.walk(folder, onerror=refuse):
        here = Path(current)
        links = [name for name in folders if (here / name).is_symlink()]
        found.update((here / name).relative_to(folder).as_posix() for name in (*names, *links))
        if here != folder and not folders and not names:
            found.add(here.relative_to(folder).as_posix())
    return frozenset(found)


def _manifested(folder: Path) -> frozenset[str]:
    """Return the names of the files in the manifest, and its own; nothing if there is none. Raises OSError."""
    try:
        return frozenset({MANIFEST, *read_manifest(folder)})
    except FileNotFoundError:
        return frozenset()


def _write(output: Path, contents: Mapping[str, bytes], *, kind: str, overwrite: bool) -> None:
    """Build the folder under a temporary name beside ``output``, then rename it."""
    final = _absolute(output)
    temporary, replaced = (final.parent / f".{secrets.token_hex(8)}{TEMPORARY_SUFFIX}" for _ in range(2))
    try:
        try:
            temporary.mkdir()
            for name, content in contents.items():
                _write_new(temporary / name, content)
            for current, _, _ in os.walk(temporary):
                _sync_folder(Path(current))
            _refuse_occupied(output, kind=kind, overwrite=overwrite)  # once more: somebody may have been quicker
            _swap(temporary, final, replaced)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    except OSError as error:
        raise OutputError(
            f"cannot write {output} ({error.strerror or error})", remedy="free space there or choose another output"
        ) from error
    shutil.rmtree(replaced, ignore_errors=True)


def _write_new(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _swap(temporary: Path, final: Path, replaced: Path) -> None:
    """Rename ``temporary`` to ``final``, and what stood there to ``replaced``; all of it or nothing."""
    try:
        if os.path.lexists(final):
            final.rename(replaced)
        temporary.rename(final)
        _sync_folder(final.parent)
    except BaseException:
        if not temporary.exists():
            final.rename(temporary)
        if os.path.lexists(replaced):
            replaced.rename(final)
        raise


def _sync_folder(folder: Path) -> None:
    """The names in a folder are data of the folder; Windows cannot open one, and has no need to."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
