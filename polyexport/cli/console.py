"""What commands print: messages on stderr, data on stdout."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TextIO, TypeVar

from polyexport.errors import UsageError

__all__ = ["Console", "build", "console"]

T = TypeVar("T")


@dataclass(slots=True)
class Console:
    """Verbosity of this process."""

    verbose: bool = False
    quiet: bool = False

    def set(self, *, verbose: bool, quiet: bool) -> None:
        """Take over a command's -v and -q.

        Raises:
            UsageError: both.
        """
        if verbose and quiet:
            raise UsageError("-v and -q exclude each other", remedy="give one of them")
        self.verbose, self.quiet = verbose, quiet

    def info(self, message: str) -> None:
        """Progress and remarks: stderr, silent under -q."""
        if not self.quiet:
            self.error(message)

    def error(self, message: str) -> None:
        """A failure: stderr, never silent."""
        _emit("stderr", _one_line(message))

    def data(self, text: str) -> None:
        """A result: stdout."""
        _emit("stdout", "\n".join(map(_one_line, text.split("\n"))))

    def json(self, value: Any) -> None:
        """A result as one JSON document: stdout, ASCII, so that odd file names stay readable."""
        self.data(json.dumps(value, indent=2, default=str))

    @property
    def shows_progress(self) -> bool:
        """Whether a progress bar makes sense: never into a file or a pipe."""
        return sys.stderr is not None and sys.stderr.isatty() and not self.quiet


console = Console()


def build(factory: Callable[..., T], **values: Any) -> T:
    """Build an options object from what the user typed; what it refuses is a usage error.

    Raises:
        UsageError: with the message of the refusal.
    """
    try:
        return factory(**values)
    except ValueError as error:
        raise UsageError(str(error), remedy="see --help for the options") from error


def _emit(name: Literal["stdout", "stderr"], line: str) -> None:
    """Print; a stream that is closed, full or whose reader has gone away does not stop the run."""
    stream: TextIO | None = getattr(sys, name)
    if stream is None:
        return
    try:
        print(line, file=stream, flush=True)
    except OSError:
        # The interpreter would fail once more when it flushes on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _one_line(message: str) -> str:
    """File names may hold line breaks and bytes that are not text: escape what does not print."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in message)
