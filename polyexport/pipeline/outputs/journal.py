"""What a folder of outputs was made of: one line of JSON for each output, appended before the output gets its name.

A line says which output has which content, made of which input by which recipe. It is on the disk before the output
is, so after a crash at any moment a file that stands in the folder is either known to the journal or somebody else's.
What a line says is believed only as far as the bytes of the files bear it out; times are never looked at.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from polyexport.errors import OutputError

__all__ = ["DiskLog", "Journal", "Log", "Record", "recipe_of"]

VERSION = 1
MAX_LINE_BYTES = 64 * 1024
"""Longer lines are noise: a name takes at most 4 KiB, six times that when it is escaped."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Record:
    """One output, or why there is none."""

    input_sha256: str
    recipe: str
    """SHA-256 of the model and everything else that decides the pixels; see ``recipe_of``."""

    sha256: str
    """Of the output file; empty if it failed."""

    failed: str = ""
    """Why there is no output."""


def recipe_of(**parts: Any) -> str:
    """SHA-256 of everything but the input that decides an output's pixels.

    Args:
        parts: JSON values, such as the model's hash, the row of the colour and the canvas rule.
    """
    text = json.dumps({"version": VERSION, **parts}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class Log(Protocol):
    """Where the lines of a journal are kept."""

    def blocks(self) -> Iterator[bytes]:
        """All that was written, from the beginning, cut anywhere.

        Raises:
            OSError: it cannot be read.
        """
        ...

    def append(self, data: bytes) -> None:
        """Write, and wait until it is sure to stay.

        Raises:
            OSError: a part of it may be written.
        """
        ...

    def close(self) -> None:
        """Give back what is open."""
        ...


class DiskLog(Log):
    """A file that is open for reading and appending."""

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
        """Read a log, and take it over.

        Raises:
            OutputError: it cannot be read, or a later version wrote it.
        """
        self._log = log
        self._records: dict[str, bytes | str] = {}
        self._earlier: dict[str, bytes] = {}
        self._torn = False
        self.empty = True
        """Whether it holds no line at all."""

        try:
            self._torn = self._load()
        except OSError as error:
            raise OutputError(f"the journal cannot be read ({error.strerror})", remedy="choose another -o") from error

    def record(self, output: str) -> Record | None:
        """The last word on an output: its name in the folder -> what was recorded when the journal was opened."""
        packed = self._records.get(output)
        if packed is None:
            return None
        if isinstance(packed, bytes):
            return Record(packed[:32].hex(), packed[32:64].hex(), packed[64:].hex())
        input_sha256, recipe, failed = packed.split(":", 2)
        return Record(input_sha256, recipe, "", failed)

    def made(self, output: str, sha256: str) -> bool:
        """Whether an output of this name ever had this content.

        The last record alone does not tell: it is written before the file of an earlier one is replaced.
        """
        known, wanted = self._earlier.get(output, b""), bytes.fromhex(sha256)
        packed = self._records.get(output)
        if isinstance(packed, bytes):
            known += packed[64:]
        return any(known[start : start + 32] == wanted for start in range(0, len(known), 32))

    def append(self, lines: Iterable[tuple[str, Record]]) -> None:
        """Write records of outputs by name, and wait until they are on the disk.

        Raises:
            OSError: they are not; whatever part of them was written is a torn line, which readers pass over.
        """
        data = b"".join(_line(output, record) for output, record in lines)
        if not data:
            return
        self.empty = False
        # A line that a crash or a full disk cut off must not swallow the next one.
        data = b"\n" + data if self._torn else data
        self._torn = True
        self._log.append(data)
        self._torn = False

    def close(self) -> None:
        """Close the log."""
        self._log.close()

    def _load(self) -> bool:
        """Read every line; returns whether the last one has no end."""
        rest = b""
        for block in self._log.blocks():
            self.empty = self.empty and not block
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                self._take(line)
            rest = rest[: MAX_LINE_BYTES + 1]  # a file without line breaks is no reason to fill the memory
        return bool(rest)

    def _take(self, line: bytes) -> None:
        if len(line) > MAX_LINE_BYTES:
            return
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            return  # torn
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
        before = self._records.get(output)
        if isinstance(before, bytes):
            self._earlier[output] = self._earlier.get(output, b"") + before[64:]
        if _is_sha256(sha256):
            self._records[output] = bytes.fromhex("".join([*made, str(sha256)]))
        elif isinstance(failed, str):
            self._records[output] = ":".join([*made, failed])


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _line(output: str, record: Record) -> bytes:
    value = {"v": VERSION, "output": output, "input": record.input_sha256, "recipe": record.recipe}
    value |= {"failed": record.failed} if record.failed else {"sha256": record.sha256}
    return json.dumps(value).encode("ascii") + b"\n"
