"""Capturing what native libraries print."""

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Iterator

__all__ = ["captured_stderr"]


@contextlib.contextmanager
def captured_stderr() -> Iterator[io.StringIO]:
    """Capture what is written to file descriptor 2, to which native code logs without using ``sys.stderr``.

    Yields:
        A text buffer that is filled when the block ends.
    """
    captured = io.StringIO()
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:  # closed by the caller
        yield captured
        return
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield captured
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            file.seek(0)
            captured.write(file.read().decode("utf-8", "replace"))
