"""Spellings of a file name that a disk takes for one name: letters in another case, accents composed or apart."""

import contextlib
import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Spelling", "guess_spelling", "probe_spelling"]

_COMPOSED, _APART = "\N{LATIN SMALL LETTER E WITH ACUTE}", "e\N{COMBINING ACUTE ACCENT}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Spelling:
    """Differences between two names that a disk ignores."""

    ignores_case: bool = False
    ignores_composition: bool = False
    """Whether a letter with an accent is the same as the letter followed by a combining accent."""

    def folded(self, name: str) -> str:
        """Return a text that is the same for all spellings of a name, and differs for different names."""
        if name.isascii():
            return name.lower() if self.ignores_case else name
        if self.ignores_composition:
            name = unicodedata.normalize("NFD", name)
        if self.ignores_case:
            name = name.casefold()
        # Casefolding may have composed letters.
        return unicodedata.normalize("NFD", name) if self.ignores_composition else name


def probe_spelling(path: str | Path, *, dir_fd: int | None = None) -> Spelling:
    """Find out which spellings a folder ignores, by a file that is made in it and removed again.

    Args:
        path: beginning of the path of that file, which nothing else may have.
        dir_fd: descriptor of the folder that a relative path begins in; None for the working folder.

    Raises:
        OSError: no file can be made there.
    """
    try:
        return _probed(path, _COMPOSED, dir_fd)
    except (OSError, UnicodeEncodeError):
        return _probed(path, "", dir_fd)  # a file system that takes no such letter


def guess_spelling(folder: Path) -> Spelling:
    """Guess which spellings a folder ignores without writing, from how its own path may be spelled.

    Args:
        folder: a folder, which need not exist: the closest folder above it that exists is looked at, too.
    """
    for each in (folder.absolute(), *folder.absolute().parents):
        other = each.with_name(each.name.swapcase()) if each.name else each
        if other.name == each.name:
            continue
        with contextlib.suppress(OSError):
            here = each.lstat()
            with contextlib.suppress(FileNotFoundError):
                same = os.path.samestat(here, other.lstat())
                return Spelling(ignores_case=same, ignores_composition=same)
            return Spelling()
    return Spelling()


def _probed(path: str | Path, letter: str, dir_fd: int | None) -> Spelling:
    probe = f"{path}a{letter}"
    os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=dir_fd))
    try:
        return Spelling(
            ignores_case=_exists(f"{path}A{letter}", dir_fd),
            ignores_composition=bool(letter) and _exists(f"{path}a{_APART}", dir_fd),
        )
    finally:
        os.unlink(probe, dir_fd=dir_fd)


def _exists(path: str, dir_fd: int | None) -> bool:
    try:
        os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
