"""Lists of input paths, as ``find`` or ``find -print0`` writes them."""

import os

from polyexport.errors import UsageError

__all__ = ["MAX_LIST_BYTES", "read_list"]

MAX_LIST_BYTES = 256 * 1024 * 1024
"""Largest accepted list of paths: two million paths of 128 bytes."""


def read_list(data: bytes) -> list[str]:
    """Split a list of paths, at NUL characters if it has any, else at line ends.

    Empty entries are left out. Bytes that are not UTF-8 are kept in the way in which the file system's own decoding
    keeps them.

    Args:
        data: the bytes of the list.

    Raises:
        UsageError: a list without paths, or one of more than ``MAX_LIST_BYTES``.
    """
    if len(data) > MAX_LIST_BYTES:
        raise UsageError(f"the list of inputs has more than {MAX_LIST_BYTES} bytes", remedy="split it")
    if b"\0" in data:
        entries = data.split(b"\0")
    else:
        entries = [line.removesuffix(b"\r") for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    try:
        paths = [os.fsdecode(entry) for entry in entries if entry]
    except UnicodeDecodeError as error:  # on systems whose file names are Unicode
        raise UsageError("the list of inputs is not UTF-8", remedy="write it as UTF-8") from error
    if not paths:
        raise UsageError("the list of inputs is empty", remedy="give one path a line")
    return paths
