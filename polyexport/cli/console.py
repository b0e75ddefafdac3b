"""Output of the commands: messages on stderr, data on stdout."""

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
    """Printer of messages and data, with the verbosity of this process."""

    verbose: bool = False
    quiet: bool = False

    def set(self, *, verbose: bool, quiet: bool) -> None:
        """Set the verbosity from a command's -v and -q.

        Raises:
            UsageError: both were given.
        """
        if verbose and quiet:
            raise UsageError("-v and -q exclude each other", remedy="give one of them")
        self.verbose, self.quiet = verbose, quiet

    def info(self, message: str) -> None:
        """Print progress or a remark to stderr, unless -q was given."""
        if not self.quiet:
            self.error(message)

    def error(self, message: str) -> None:
        """Print a failure to stderr."""
        write_line("stderr", one_line(message))

    def data(self, text: str) -> None:
        """Print a result to stdout."""
        write_line("stdout", "\n".join(map(one_line, text.split("\n"))))

    def json(self, value: Any) -> None:
        """Print a result as one JSON document to stdout, in ASCII, so that odd file names stay readable."""
        self.data(json.dumps(value, indent=2, default=str))

    @property
    def shows_progress(self) -> bool:
        """Whether a progress bar is shown: only on a terminal, and not under -q."""
        return sys.stderr is not None and sys.stderr.isatty() and not self.quiet


console = Console()


def build(factory: Callable[..., T], **values: Any) -> T:
    """Build an options object from what the user typed.

    Args:
        factory: the class of the options.
        values: fields of the options.

    Raises:
        UsageError: the class refuses a value with a ``ValueError``.
    """
    try:
        return factory(**values)
    except ValueError as error:
        raise UsageError(str(error), remedy="see --help for the options") from error
