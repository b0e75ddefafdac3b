"""Object stores and other file systems by URL: ``s3://``, ``gs://``, ``hdfs://`` and whatever pyarrow or fsspec reads.

An object appears whole or not at all, and cannot be appended to. So outputs are put under a temporary name and copied
to their own, as on a disk, and the journal of a run is a series of objects that become one when the run ends.
"""

import contextlib
import functools
import re
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from polyexport.errors import UsageError, reason_of

__all__ = ["Entry", "Store", "Url", "is_url", "local_path", "read_url"]

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+://")
_RETRY_S = 20.0  # Google's client otherwise tries for 15 minutes
_KEPT = "/:@!$&'()*+,;=~"
"""Signs of an address that stand for themselves; all others are percent-encoded (RFC 3986)."""

_ERRORS = "surrogateescape"  # as in what a person types that is not UTF-8
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SAME_SCHEME = {"gcs": "gs", "s3a": "s3", "local": "file"}
_CREDENTIALS = "see that the address is right and that this machine has credentials for it"


def _decoded(text: str) -> str:
    return urllib.parse.unquote(text, errors=_ERRORS)


def is_url(text: str) -> bool:
    """Whether a path names a file system by its scheme."""
    return _URL.match(text) is not None


def local_path(text: str) -> str:
    """A ``file://`` or ``local://`` URL as the path that it is; anything else as it is."""
    if not text.lower().startswith(("file://", "local://")):
        return text
    parts = urllib.parse.urlsplit(text)
    if parts.netloc not in ("", "localhost"):
        raise UsageError(f"{text} names another machine", remedy="give file:///PATH")
    return _decoded(parts.path)


@dataclass(frozen=True, slots=True)
class Url:
    """A folder in a store; used as a path where only its name matters."""

    text: str
    """Percent-encoded, without a slash at its end, with the query that it was given:
    ``s3://bucket/my%20folder?region=eu-west-1``."""

    @classmethod
    def of(cls, text: str) -> "Url":
        """From what a person types, who may have encoded it or not."""
        path, mark, query = text.partition("?")
        encoded = urllib.parse.quote(_STRAY_PERCENT.sub("%25", path.rstrip("/")), safe=f"{_KEPT}%[]", errors=_ERRORS)
        return cls(f"{encoded}{mark}{query}")

    def __truediv__(self, relative: object) -> "Url":
        """Of a name as it is, not encoded."""
        path, mark, query = self.text.partition("?")
        return Url(f"{path}/{urllib.parse.quote(str(relative), safe=_KEPT, errors=_ERRORS)}{mark}{query}")

    def __str__(self) -> str:
        return self.text

    @property
    def name(self) -> str:
        """The last part of the path, as it is."""
        return _decoded(self.text.partition("?")[0].rpartition("/")[2])

    @property
    def place(self) -> str:
        """What it names, however it is spelled: the same for two URLs of one object."""
        scheme, _, rest = _decoded(self.text.partition("?")[0]).partition("://")
        bucket, slash, key = rest.partition("/")
        scheme = scheme.lower()
        path = re.sub("/+", "/", f"{bucket.rpartition('@')[2]}{slash}{key}")
        return f"{_SAME_SCHEME.get(scheme, scheme)}://{path}"

    @property
    def parent(self) -> "Url":
        """The folder that it lies in."""
        path, mark, query = self.text.partition("?")
        return Url(f"{path.rpartition('/')[0]}{mark}{query}")

    def with_name(self, name: str) -> "Url":
        """Another one beside it."""
        return self.parent / name

    def holds(self, other: "Url") -> bool:
        """Whether it is, or is a folder above, the other one."""
        return f"{other.place}/".startswith(f"{self.place}/")


@dataclass(frozen=True, slots=True)
class Entry:
    """What a store has."""

    name: str
    """Relative to the URL that was listed; empty for that itself."""

    is_file: bool


class Store:
    """One folder of a file system. Safe to call from several threads. Every error is an OSError.

    Raises:
        UsageError: a URL that no installed library reads.
        OSError: it cannot be reached.
    """

    def __init__(self, url: Url) -> None:
        self.url = url
        with _errors():
            self._files, path = _filesystem(url.text)
        self._path = path.rstrip("/")

    def read(self, name: str, max_bytes: int) -> bytes:
        """A file of at most ``max_bytes``."""
        with _errors(), self._files.open_input_stream(self._at(name), compression=None) as file:
            data: bytes = file.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise OSError(f"more than the limit of {max_bytes} bytes")
        return data

    def write(self, name: str, data: bytes) -> None:
        """Put a file, whole, in the place of what is there."""
        path = self._at(name)
        with _errors():
            if self._files.type_name not in ("s3", "gcs", "abfs"):  # they have no folders
                self._files.create_dir(path.rpartition("/")[0], recursive=True)
            with self._files.open_output_stream(path, compression=None) as file:
                file.write(data)

    def move(self, name: str, to: str) -> None:
        """Rename a file, over what is there."""
        target = self._at(to)
        with _errors():
            if self._files.type_name not in ("s3", "gcs", "abfs"):
                self._files.create_dir(target.rpartition("/")[0], recursive=True)
            self._files.move(self._at(name), target)

    def remove(self, name: str) -> None:
        """Remove a file; it need not be there."""
        with contextlib.suppress(FileNotFoundError), _errors():
            self._files.delete_file(self._at(name))

    def remove_folder(self, name: str = "") -> None:
        """Remove a folder and all in it; it need not be there."""
        with contextlib.suppress(FileNotFoundError), _errors():
            self._files.delete_dir(self._at(name))

    def kind(self) -> str:
        """``file``, ``folder`` or nothing: what is at the URL."""
        from pyarrow.fs import FileType

        with _errors():
            found = self._files.get_file_info(self._path).type
        return {FileType.File: "file", FileType.Directory: "folder"}.get(found, "")

    def entries(self, name: str = "", *, recursive: bool) -> Iterator[Entry]:
        """What a folder holds, in no order; nothing if there is none."""
        from pyarrow.fs import FileSelector, FileType

        folder = self._at(name)
        with _errors():
            selector = FileSelector(folder, recursive=recursive, allow_not_found=True)
            found = self._files.get_file_info(selector)
        for info in found:
            yield Entry(info.path.removeprefix(f"{folder}/"), info.type == FileType.File)

    def _at(self, name: str) -> str:
        return f"{self._path}/{name}" if name else self._path


def read_url(text: str, max_bytes: int) -> bytes:
    """A file by its URL.

    Raises:
        OSError: unreadable or too large.
    """
    url = Url.of(text)
    return _store(url.parent).read(url.name, max_bytes)


@functools.lru_cache(maxsize=64)
def _store(url: Url) -> Store:
    """Opening one may look for credentials and regions; a folder of a million is opened once."""
    return Store(url)


def _filesystem(url: str) -> tuple[Any, str]:
    try:
        from pyarrow import ArrowInvalid, fs
    except ImportError as error:
        raise UsageError(f"{url} needs pyarrow", remedy="pip install 'polyexport[ray]'") from error
    if url.startswith(("gs://", "gcs://")) and "retry_limit_seconds" not in url:
        url += f"{'&' if '?' in url else '?'}retry_limit_seconds={_RETRY_S:g}"
    try:
        files, path = fs.FileSystem.from_uri(url)
    except ArrowInvalid as error:
        if "scheme" not in str(error) and "type" not in str(error):
            raise UsageError(f"{url} cannot be understood ({reason_of(error)})", remedy="mend the address") from error
        import fsspec

        try:
            files, path = fsspec.core.url_to_fs(_decoded(url))
        except (ImportError, ValueError) as missing:
            raise UsageError(
                f"{url} names a file system that nothing here reads ({reason_of(missing)})",
                remedy="give a path, s3://BUCKET/..., gs://BUCKET/..., or install what fsspec asks for",
            ) from missing
        return fs.PyFileSystem(fs.FSSpecHandler(files)), path
    return files, path


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """One kind of error, whose ``strerror`` says what to do."""
    try:
        yield
    except (FileNotFoundError, UsageError):
        raise
    except OSError as error:
        raise OSError(error.errno or 0, f"{reason_of(error)}; {_CREDENTIALS}") from error
    except _store_errors() as error:
        raise OSError(0, f"{reason_of(error)}; {_CREDENTIALS}") from error


def _store_errors() -> tuple[type[Exception], ...]:
    """Most of pyarrow's own are errors of Python's, too; the base of them is not."""
    import pyarrow

    return (ValueError, NotImplementedError, RuntimeError, pyarrow.ArrowException)
