"""The model files that passed the check in a process of its own, remembered by their SHA-256.

One small file for each model stands in the user's cache folder. Whatever is wrong with a file or its folder, the model
is checked again: a verdict counts only if it and its folder belong to this user and nobody else may write them, and if
it was given by the same versions of polyexport and ONNX Runtime, under limits that are not wider.
"""

import contextlib
import os
import re
import stat
from collections.abc import Callable
from dataclasses import asdict, dataclass
from json import dumps
from pathlib import Path

import onnxruntime as ort

import polyexport
from polyexport.model.file import SHIPPED_SHA256
from polyexport.model.loading.limits import GrantedLimits
from polyexport.storage.cache_folder import cache_folder
from polyexport.storage.strict_json import read_json
from polyexport.storage.temporary import create_file, remove_abandoned
from polyexport.storage.typed_json import build

__all__ = ["MAX_VERDICTS", "passed_before", "remember", "verdicts_folder"]

MAX_VERDICTS = 512
"""Number of remembered files; with more, the older half is forgotten."""

_FORMAT = 1
_MAX_FILE_BYTES = 1024
_NAME = re.compile(r"[0-9a-f]{64}\.json")

_passed: dict[str, GrantedLimits] = {}  # by this process, which may have no cache folder


@dataclass(frozen=True, kw_only=True, slots=True)
class _Verdict:
    format: int
    polyexport: str
    onnxruntime: str
    sha256: str
    limits: GrantedLimits


def verdicts_folder() -> Path | None:
    """Return the folder of the remembered verdicts, which need not exist; None if this user has no cache folder."""
    folder = cache_folder()
    return None if folder is None else folder / "checked-models"


def passed_before(sha256: str, limits: GrantedLimits) -> bool:
    """Tell whether a model file needs no check: it is shipped with polyexport, or it passed one under these limits.

    Args:
        sha256: SHA-256 of the file, lowercase hex.
        limits: limits that it has to keep.
    """
    if sha256 in SHIPPED_SHA256:
        return True
    known = _passed.get(sha256)
    if known is not None and limits.allows(known):
        return True
    folder = verdicts_folder()
    if folder is None:
        return False
    try:
        if not _is_private(os.lstat(folder), stat.S_ISDIR):
            return False
        verdict = build(_Verdict, read_json(_read_private(folder / f"{sha256}.json"), max_values=32))
    except (OSError, ValueError):
        return False
    return verdict == _verdict(sha256, verdict.limits) and limits.allows(verdict.limits)


def remember(sha256: str, limits: GrantedLimits) -> None:
    """Remember that a model file passed its check. A folder that cannot be written costs only the next check."""
    _passed[sha256] = limits
    folder = verdicts_folder()
    if folder is None:
        return
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_private(os.lstat(folder), stat.S_ISDIR):
            return
        remove_abandoned(folder)
        temporary, descriptor = create_file(folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                if hasattr(os, "fchmod"):
                    os.fchmod(descriptor, 0o600)
                file.write(dumps(asdict(_verdict(sha256, limits)), sort_keys=True).encode())
            temporary.replace(folder / f"{sha256}.json")
        finally:
            temporary.unlink(missing_ok=True)
        _forget_oldest(folder)


def _verdict(sha256: str, limits: GrantedLimits) -> _Verdict:
    return _Verdict(
        format=_FORMAT,
        polyexport=polyexport.__version__,
        onnxruntime=ort.__version__,
        sha256=sha256,
        limits=limits,
    )


def _is_private(status: os.stat_result, is_kind: Callable[[int], bool]) -> bool:
    """Tell whether a file or folder is of a kind, belongs to this user, and can be written by nobody else."""
    own = not hasattr(os, "geteuid") or (status.st_uid == os.geteuid() and not status.st_mode & 0o022)
    return own and is_kind(status.st_mode)


def _read_private(path: Path) -> bytes:
    """Read a small file that only this user may write.

    Raises:
        OSError: it cannot be read, or is another kind of file.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        if not _is_private(os.fstat(file.fileno()), stat.S_ISREG):
            raise PermissionError(f"{path} is not a private file")
        return file.read(_MAX_FILE_BYTES)


def _forget_oldest(folder: Path) -> None:
    verdicts = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]
    if len(verdicts) > MAX_VERDICTS:
        for path in sorted(verdicts, key=lambda each: each.lstat().st_mtime)[: len(verdicts) - MAX_VERDICTS // 2]:
            path.unlink(missing_ok=True)
