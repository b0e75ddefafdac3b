"""Command lines of programs that take a folder of pictures and write to another: what users give, and packages."""

import re
import shlex
import shutil
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from polyexport.errors import ExitCode, UsageError, reason_of

__all__ = ["Program", "infer_program", "is_package", "package_program"]

_PLACEHOLDER = re.compile(r"\{(?:\{(\w+)\}|(\w+))\}")
"""A placeholder in its second group, or in the first one a word in double braces, which is not one."""

_FILES = "{files}"  # of a package alone: it takes files, not a folder
_NAMED = re.compile(r"([A-Za-z][\w.-]*)=(.*)", re.DOTALL)
_PLACEHOLDERS = ("input", "output", "model", "color")
_EXAMPLE = "--compare-command 'NAME=python loop.py {input} {output} {model}'"

_MAX_PACKAGE_BYTES = 4 << 30
_MAX_PACKAGE_FILES = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """A command line that takes a folder of pictures and writes to another.

    Raises:
        UsageError: there is no command, or a placeholder is missing or unknown.
    """

    name: str
    words: tuple[str, ...]
    """Program and arguments, with the placeholders ``{input}``, ``{output}``, ``{model}`` and ``{color}`` in them;
    ``{{word}}`` stands for ``{word}`` itself."""

    accepted: tuple[int, ...] = (ExitCode.OK,)
    """Exit codes that are no failure."""

    shown: str = ""
    """Command line as reports show it; empty for the words themselves."""

    def __post_init__(self) -> None:
        found = self._placeholders()
        if not self.words:
            raise UsageError("a command to compare with is empty", remedy=f"give for example {_EXAMPLE}")
        unknown = sorted(found - {*_PLACEHOLDERS, _FILES[1:-1]})
        if unknown:
            raise UsageError(
                f"the command {self.name} has the unknown placeholder {{{unknown[0]}}}",
                remedy=f"give some of {', '.join(f'{{{name}}}' for name in _PLACEHOLDERS)}, or double the braces",
            )
        found = found | {"input"} if _FILES in self.words else found
        missing = [name for name in ("input", "output") if name not in found]
        if missing:
            raise UsageError(
                f"the command {self.name} has no {{{missing[0]}}}, the folder that it "
                f"{'reads' if missing[0] == 'input' else 'writes to'}",
                remedy=f"give for example {_EXAMPLE}",
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``--compare-command`` was given: a command line as a shell splits it, or ``NAME=COMMAND``.

        Raises:
            UsageError: quotes are not closed, there is no command, or a placeholder is missing or unknown.
        """
        named = _NAMED.fullmatch(text.strip())
        name, command = (named[1], named[2]) if named else ("", text)
        try:
            words = tuple(shlex.split(command))
        except ValueError as error:
            raise UsageError(
                f"the command {text[:80]!r} cannot be read ({error})", remedy="close its quotes"
            ) from error
        return cls(name=name or Path(words[0] if words else "").name, words=words)

    def check(self) -> None:
        """Check that the program is there.

        Raises:
            UsageError: it is not found, or may not be executed.
        """
        if not _PLACEHOLDER.search(self.words[0]) and shutil.which(self.words[0]) is None:
            raise UsageError(
                f"the program {self.words[0]!r} of the command {self.name} cannot be found or executed",
                remedy="give its path, and check that it is executable",
            )

    def command(self, values: Mapping[str, str], pictures: Path) -> list[str]:
        """Return the command with values in place of its placeholders.

        Args:
            values: Values by the names of placeholders.
            pictures: Folder whose files the program gets one by one, where it takes no folder.

        Raises:
            UsageError: there is no value for a placeholder.
        """
        missing = self._placeholders() - {*values, "files"}
        if missing:
            raise UsageError(
                f"the command {self.name} wants {{{min(missing)}}}, which the model does not take",
                remedy="leave the placeholder out",
            )
        command: list[str] = []
        for word in self.words:
            if word == _FILES:
                command += sorted(str(path) for path in pictures.rglob("*") if path.is_file())
            else:
                command.append(
                    _PLACEHOLDER.sub(lambda found: f"{{{found[1]}}}" if found[1] else values[found[2]], word)
                )
        return command

    def _placeholders(self) -> set[str]:
        return {name for word in self.words for _, name in _PLACEHOLDER.findall(word) if name}

    @property
    def how(self) -> str:
        """Command line, for a report."""
        return self.shown or " ".join(
            word if _PLACEHOLDER.fullmatch(word) else shlex.quote(word) for word in self.words
        )


def infer_program(*, provider: str, color: bool, size: int = 0, threads: int = 0, device_id: int = 0) -> Program:
    """Return the program of polyexport itself: ``polyexport infer`` in this interpreter.

    Args:
        provider: Execution provider, or ``auto``.
        color: Whether the model takes a color.
        size: Largest side of a canvas, pixels; 0 for what suits the model.
        threads: Threads of each call on a CPU; 0 chooses.
        device_id: Number of the GPU.
    """
    words: tuple[str, ...] = ("infer", "{input}", "-o", "{output}", "-m", "{model}", "-q", "--provider", provider)
    words += ("--color", "{color}") if color else ()
    for option, value in (("--size", size), ("--threads", threads), ("--device-id", device_id)):
        words += (option, str(value)) if value else ()
    return Program(
        name="polyexport",
        words=(sys.executable, "-m", "polyexport.cli.main", *words),
        accepted=(ExitCode.OK, ExitCode.SOME_FAILED),
        shown=" ".join(("polyexport", *words)),
    )


def is_package(path: Path) -> bool:
    """Tell whether a path is a folder that ``polyexport package`` wrote, or a ZIP file."""
    return (path / "run.py").is_file() or (path.suffix.lower() == ".zip" and path.is_file())


def package_program(path: Path, *, color: bool, scratch: Path) -> Program:
    """Return the program of a package: its own ``run.py`` in this interpreter.

    Args:
        path: The folder that ``polyexport package`` wrote, or a ZIP file of it.
        color: Whether its model takes a color.
        scratch: An existing folder that a ZIP file is unpacked into.

    Raises:
        UsageError: The ZIP file is damaged, too large, or holds no package.
    """
    script = path / "run.py" if path.is_dir() else _unpacked(path, scratch)
    colored = ("--color", "{color}") if color else ()
    return Program(
        name=path.name,
        words=(sys.executable, str(script), _FILES, *colored, "-o", "{output}"),
        shown=" ".join(("python run.py", _FILES, *colored, "-o {output}")),
    )


def _unpacked(path: Path, scratch: Path) -> Path:
    remedy = "give the folder that `polyexport package` wrote, or a ZIP file of it"
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            size = sum(member.file_size for member in members)
            if len(members) > _MAX_PACKAGE_FILES or size > _MAX_PACKAGE_BYTES:
                raise UsageError(
                    f"{path} holds {len(members)} files of {size} bytes, more than a package", remedy=remedy
                )
            archive.extractall(scratch)  # drops roots and `..` from the names of its members
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise UsageError(f"{path} cannot be unpacked ({reason_of(error)})", remedy=remedy) from error
    scripts = sorted(scratch.glob("run.py")) or sorted(scratch.glob("*/run.py"))
    if not scripts:
        raise UsageError(f"{path} holds no run.py", remedy=remedy)
    return scripts[0]
