"""Folders that are published whole: a folder gets its name only when every file of it is on the disk.

The file ``SHA256SUMS`` of such a folder lists the others, in the format of ``sha256sum -c``. An earlier folder is
replaced only when it holds nothing but the files that its ``SHA256SUMS`` lists.
"""

import hashlib
import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from polyexport.errors import OutputError, UsageError
from polyexport.storage.files import check_writable, read_limited, unwritable
from polyexport.storage.temporary import (
    locked_folder,
    remove_abandoned,
    replaced_name,
    restore_replaced,
    temporary_folder,
)

__all__ = ["MANIFEST", "WrittenFile", "check_free", "read_manifest", "sync_folder", "write_folder", "write_new"]

MANIFEST = "SHA256SUMS"
"""Name of the file that lists the SHA-256 of every other file of a published folder."""

_MAX_MANIFEST_BYTES = 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenFile:
    """A file of a published folder."""

    name: str
    """Path relative to the folder, with ``/``."""

    sha256: str
    """SHA-256 of the file, lowercase hex."""

    size_bytes: int
    """Size of the file, bytes."""


def check_free(output: Path, *, kind: str, overwrite: bool) -> None:
    """Check that ``write_folder`` may write to ``output``, before the contents are made.

    Args:
        output: The folder. It must be missing or empty; with ``overwrite`` it may be an earlier published folder.
        kind: Name of the kind of folder for messages, such as ``a package``.
        overwrite: Allow replacing an earlier published folder that nobody added files to.

    Raises:
        UsageError: ``output`` holds files that may not be replaced.
        OutputError: ``output`` is not a folder or cannot be written.
    """
    _settle(_absolute(output))
    _refuse_occupied(output, kind=kind, overwrite=overwrite)
    check_writable(_absolute(output).parent)


def write_folder(output: Path, contents: Mapping[str, bytes], *, kind: str, overwrite: bool) -> tuple[WrittenFile, ...]:
    """Write a folder and its manifest, all of it or nothing.

    Args:
        output: The folder. It must be missing or empty; with ``overwrite`` it may be an earlier published folder.
        contents: Path of each file relative to the folder, with ``/`` -> its bytes.
        kind: Name of the kind of folder for messages, such as ``a package``.
        overwrite: Allow replacing an earlier published folder that nobody added files to.

    Returns:
        The files of the folder, sorted by name, and then the manifest.

    Raises:
        UsageError: ``output`` holds files that may not be replaced.
        OutputError: ``output`` is not a folder or cannot be written; its earlier contents are unchanged.
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
    """Return the path without ``.`` and ``..``, so that it ends in a name; unlike ``resolve()``, follow no link."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def _settle(final: Path) -> None:
    """Put right what a process that was killed while it wrote to ``final`` has left beside it."""
    restore_replaced(final)
    remove_abandoned(final.parent)


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
    unlisted = sorted(found - known)
    if overwrite and unlisted:
        # A mistyped path must never delete files of another kind.
        raise UsageError(
            f"the output {output} holds {unlisted[0]}, which is not part of {kind}",
            remedy="move it away or name another folder with -o",
        )
    if found and not overwrite:
        raise UsageError(f"the output {output} is not empty", remedy="add --overwrite or name another folder with -o")


def _files_below(folder: Path) -> frozenset[str]:
    """Return the paths of all files, links and empty folders below a folder; links are not followed. Raises OSError."""

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
    _settle(final)
    try:
        with temporary_folder(final.parent) as temporary:
            for name, content in contents.items():
                write_new(temporary / name, content)
            for current, _, _ in os.walk(temporary):
                sync_folder(Path(current))
            # Once more: another process may have written there meanwhile.
            _refuse_occupied(output, kind=kind, overwrite=overwrite)
            _swap(temporary, final)
    except OSError as error:
        raise unwritable(output, error) from error


def _swap(temporary: Path, final: Path) -> None:
    """Rename ``temporary`` to ``final``, and remove an earlier ``final``; if a rename fails, undo it."""
    if not os.path.lexists(final):
        _publish(temporary, final)
        return
    replaced = replaced_name(temporary, final)
    with locked_folder(final):
        try:
            final.rename(replaced)
            _publish(temporary, final)
        except BaseException:
            if os.path.lexists(replaced) and not os.path.lexists(final):
                replaced.rename(final)
            raise
        shutil.rmtree(replaced, ignore_errors=True)


def _publish(temporary: Path, final: Path) -> None:
    temporary.rename(final)
    try:
        sync_folder(final.parent)
    except BaseException:
        final.rename(temporary)
        raise


def write_new(path: Path, content: bytes) -> None:
    """Write and sync a file that does not exist yet, and the folders above it.

    Raises:
        OSError: The file exists already or cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Sync the names in a folder to the disk; Windows cannot open a folder and does not need this.

    Raises:
        OSError: The names could not be synced.
    """
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
