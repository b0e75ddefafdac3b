"""Lines on standard output and standard error that never stop a run."""

import os
import sys
from typing import Literal, TextIO

__all__ = ["one_line", "write_line"]


def write_line(name: Literal["stdout", "stderr"], line: str) -> None:
    """Write a line and flush it; a stream that is closed, full or without a reader is ignored.

    Args:
        name: The stream.
        line: The text, without a line break at its end.
    """
    stream: TextIO | None = getattr(sys, name)
    if stream is None:
        return
    try:
        print(line, file=stream, flush=True)
    except OSError:
        # The interpreter would fail once more when it flushes the stream on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def one_line(text: str) -> str:
    """Escape what does not print: file names may hold line breaks and bytes that are not text."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
