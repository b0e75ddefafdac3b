"""Journal of an output folder: one line of JSON for each output, appended before the output gets its name.

A line records which output has which content, made from which input with which recipe. It is on the disk before the
output is, so after a crash at any moment a file in the folder either is in the journal or was not made by a run. A
record counts only if the hashes of the files agree with it; modification times are never used.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from polyexport.errors import OutputError
from polyexport.storage.strict_json import read_json

__all__ = ["DiskLog", "Journal", "Log", "Record", "recipe_of"]

VERSION = 1
"""Version of the journal's format."""

MAX_LINE_BYTES = 64 * 1024
"""Longest line that is read. A name takes at most 4 KiB, and six times that when it is escaped."""

_EARLIER_OUTPUTS = 8  # replaced outputs of one name that are remembered of a run that follows its journal

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Record:
    """Journal record of one output, or of the failure to make it."""

    input_sha256: str
    """SHA-256 of the input's bytes, lowercase hex."""

    recipe: str
    """SHA-256 of the model and everything else that decides the pixels; see ``recipe_of``."""

    sha256: str
    """SHA-256 of the output file, lowercase hex; empty if the output could not be made."""

    failed: str = ""
    """Why the output could not be made; empty if it was made."""


def recipe_of(**parts: Any) -> str:
    """Return the SHA-256 of everything but the input that decides an output's pixels.

    Args:
        parts: JSON values, such as the model's hash, the row of the color and the canvas rule.
    """
    text = json.dumps({"version": VERSION, **parts}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class Log(Protocol):
    """Storage of a journal's lines."""

    def blocks(self) -> Iterator[bytes]:
        """Yield everything that was written, from the beginning, in blocks that may end within a line.

        Raises:
            OSError: the log cannot be read.
        """
        ...

    def append(self, data: bytes) -> None:
        """Write lines, and wait until they are stored for good.

        Raises:
            OSError: the lines could not be written, or only in part.
        """
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


class DiskLog(Log):
    """``Log`` in a file that is open for reading and appending."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def blocks(self) -> Iterator[bytes]:
        """See ``Log``."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        while block := os.read(self._descriptor, 1 << 20):
            yield block

    def append(self, data: bytes) -> None:
        """See ``Log``."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]
        os.fsync(self._descriptor)

    def close(self) -> None:
        """See ``Log``."""
        os.close(self._descriptor)


class Journal:
    """The journal of one output folder, open for appending. One thread at a time."""

    def __init__(self, log: Log) -> None:
        """Read a log and take it over.

        Args:
            log: is closed with the journal.

        Raises:
            OutputError: the log cannot be read, or a later version of polyexport wrote it.
        """
        self._log = log
        self._records: dict[str, bytes | str] = {}
        self._earlier: dict[str, bytes] = {}
        self._torn = False
        self.empty = True
        """Whether the journal has no line at all."""

        self.follows = False
        """Whether records that are appended from now on are found, too. A run over a plan needs none of them."""

        try:
            self._torn = self._load()
        except OSError as error:
            raise OutputError(f"the journal cannot be read ({error.strerror})", remedy="choose another -o") from error

    def record(self, output: str) -> Record | None:
        """Return the latest record of an output, or None if there is none; see ``follows`` for records of this run.

        Args:
            output: name of the output in the folder.
        """
        packed = self._records.get(output)
        if packed is None:
            return None
        if isinstance(packed, bytes):
            return Record(packed[:32].hex(), packed[32:64].hex(), packed[64:].hex())
        input_sha256, recipe, failed = packed.split(":", 2)
        return Record(input_sha256, recipe, "", failed)

    def made(self, output: str, sha256: str) -> bool:
        """Return whether a run ever wrote an output of this name and this content.

        The latest record alone does not tell, because it is written before the file of an earlier record is replaced.
        """
        hashes, wanted = self._earlier.get(output, b""), bytes.fromhex(sha256)
        packed = self._records.get(output)
        if isinstance(packed, bytes):
            hashes += packed[64:]
        return any(hashes[start : start + 32] == wanted for start in range(0, len(hashes), 32))

    def append(self, lines: Iterable[tuple[str, Record]]) -> None:
        """Write records, and wait until they are on the disk.

        Args:
            lines: name of the output and record of each.

        Raises:
            OSError: the records could not be written; a part of a line may be left, which readers ignore.
        """
        appended = list(lines)
        data = b"".join(_line(output, record) for output, record in appended)
        if not data:
            return
        self.empty = False
        # A line that a crash or a full disk cut off must not merge with the next one.
        data = b"\n" + data if self._torn else data
        self._torn = True
        self._log.append(data)
        self._torn = False
        for output, record in appended if self.follows else ():
            self._keep(output, record.input_sha256, record.recipe, record.sha256, record.failed)
            # An output that is replaced for weeks must not fill the memory.
            if output in self._earlier:
                self._earlier[output] = self._earlier[output][-32 * _EARLIER_OUTPUTS :]

    def close(self) -> None:
        """Close the log."""
        self._log.close()

    def _load(self) -> bool:
        """Read every line; returns whether the last line has no line end."""
        rest = b""
        for block in self._log.blocks():
            self.empty = self.empty and not block
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                self._take(line)
            rest = rest[: MAX_LINE_BYTES + 1]  # a file without line breaks must not fill the memory
        return bool(rest)

    def _take(self, line: bytes) -> None:
        if len(line) > MAX_LINE_BYTES:
            return
        try:
            value = read_json(line)
        except ValueError:
            return  # a line that was cut off
        if not isinstance(value, dict):
            return
        if isinstance(value.get("v"), int) and value["v"] > VERSION:
            raise OutputError(
                f"the journal has version {value['v']}, later than {VERSION}",
                remedy="update polyexport or choose another -o",
            )
        output, sha256, failed = value.get("output"), value.get("sha256"), value.get("failed")
        made: list[Any] = [value.get("input"), value.get("recipe")]
        if value.get("v") != VERSION or not isinstance(output, str) or not all(map(_is_sha256, made)):
            return
        failed = failed if isinstance(failed, str) else None
        if _is_sha256(sha256) or failed is not None:
            self._keep(output, str(made[0]), str(made[1]), str(sha256) if _is_sha256(sha256) else "", failed or "")

    def _keep(self, output: str, input_sha256: str, recipe: str, sha256: str, failed: str) -> None:
        before = self._records.get(output)
        if isinstance(before, bytes):
            self._earlier[output] = self._earlier.get(output, b"") + before[64:]
        if sha256:
            self._records[output] = bytes.fromhex(input_sha256 + recipe + sha256)
        else:
            self._records[output] = f"{input_sha256}:{recipe}:{failed}"


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _line(output: str, record: Record) -> bytes:
    value = {"v": VERSION, "output": output, "input": record.input_sha256, "recipe": record.recipe}
    value |= {"failed": record.failed} if record.failed else {"sha256": record.sha256}
    return json.dumps(value).encode("ascii") + b"\n"
