"""What commands print: messages on stderr, data on stdout."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from polyexport.errors import UsageError
from polyexport.storage.streams import one_line, write_line

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
        write_line("stderr", one_line(message))

    def data(self, text: str) -> None:
        """A result: stdout."""
        write_line("stdout", "\n".join(map(one_line, text.split("\n"))))

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
