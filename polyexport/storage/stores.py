"""Object stores and other file systems by URL: ``s3://``, ``gs://``, ``hdfs://`` and all that pyarrow or fsspec reads.

An object in a store appears whole or not at all, and cannot be appended to. Outputs are therefore written under a
temporary name and moved to their own, as on a disk, and the journal of a run is a series of objects that are merged
when the run ends.
"""

import contextlib
import errno
import functools
import re
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from polyexport.errors import UsageError, reason_of
from polyexport.storage.files import read_stream

__all__ = ["Entry", "Store", "Url", "is_url", "local_path", "read_url"]

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+://")
_GCS_RETRY_LIMIT_S = 20.0
"""Time for which Google's client repeats a failing request, in seconds; its default is 15 minutes."""

_UNESCAPED = "/:@!$&'()*+,;=~"
"""Characters of a URL that are not percent-encoded, besides letters, digits and ``_.-`` (RFC 3986)."""

_ENCODING_ERRORS = "surrogateescape"
"""Error handler for bytes that are not UTF-8; Python uses the same for command-line arguments and file names."""

_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CANONICAL_SCHEMES = {"gcs": "gs", "s3a": "s3", "local": "file"}
_LISTINGS = 8  # listings of a folder in which others remove folders meanwhile, before that is an error
_ACCESS_REMEDY = "check the address, and that this machine has credentials for it"


def _decoded(text: str) -> str:
    return urllib.parse.unquote(text, errors=_ENCODING_ERRORS)


def is_url(text: str) -> bool:
    """Return True if the text begins with a URL scheme, such as ``s3://``."""
    return _URL.match(text) is not None


def local_path(text: str) -> str:
    """Convert a ``file://`` or ``local://`` URL to a path; return any other text unchanged.

    Raises:
        UsageError: The URL names another machine.
    """
    if not text.lower().startswith(("file://", "local://")):
        return text
    parts = urllib.parse.urlsplit(text)
    if parts.netloc not in ("", "localhost"):
        raise UsageError(f"{text} names another machine", remedy="give file:///PATH")
    return _decoded(parts.path)


@dataclass(frozen=True, slots=True)
class Url:
    """The address of a file or folder in a store, with the operations of a path that need no access to the store."""

    text: str
    """Percent-encoded URL without a slash at its end, with its query: ``s3://bucket/my%20folder?region=eu-west-1``."""

    @classmethod
    def of(cls, text: str) -> "Url":
        """Make a URL from text that a user typed, percent-encoded or not."""
        path, mark, query = text.partition("?")
        encoded = urllib.parse.quote(
            _STRAY_PERCENT.sub("%25", path.rstrip("/")), safe=f"{_UNESCAPED}%[]", errors=_ENCODING_ERRORS
        )
        return cls(f"{encoded}{mark}{query}")

    def __truediv__(self, relative: object) -> "Url":
        """Append a relative path, which is not percent-encoded yet."""
        path, mark, query = self.text.partition("?")
        return Url(f"{path}/{urllib.parse.quote(str(relative), safe=_UNESCAPED, errors=_ENCODING_ERRORS)}{mark}{query}")

    def __str__(self) -> str:
        return self.text

    @property
    def name(self) -> str:
        """The last part of the path, decoded."""
        return _decoded(self.text.partition("?")[0].rpartition("/")[2])

    @property
    def place(self) -> str:
        """Canonical form of the address: equal for two spellings of the URL of one object."""
        scheme, _, rest = _decoded(self.text.partition("?")[0]).partition("://")
        bucket, slash, key = rest.partition("/")
        scheme = scheme.lower()
        path = re.sub("/+", "/", f"{bucket.rpartition('@')[2]}{slash}{key}")
        return f"{_CANONICAL_SCHEMES.get(scheme, scheme)}://{path}"

    @property
    def parent(self) -> "Url":
        """The URL of the folder above."""
        path, mark, query = self.text.partition("?")
        return Url(f"{path.rpartition('/')[0]}{mark}{query}")

    def with_name(self, name: str) -> "Url":
        """Return the URL of another name in the same folder."""
        return self.parent / name

    def holds(self, other: "Url") -> bool:
        """Return True if the other URL names the same object, or one below this folder."""
        return f"{other.place}/".startswith(f"{self.place}/")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder in a listing of a store."""

    name: str
    """Path relative to the URL that was listed; empty for that URL itself."""

    is_file: bool
    """True for a file, False for a folder."""


class Store:
    """A folder of a file system or object store.

    The methods may be called from several threads at once. They raise OSError for every failure, with a remedy in
    ``strerror``.

    Raises:
        UsageError: No installed library reads the URL.
        OSError: The store cannot be reached.
    """

    def __init__(self, url: Url) -> None:
        self.url = url
        with _errors():
            self._files, path = _filesystem(url.text)
        self._path = path.rstrip("/")

    def read(self, name: str, max_bytes: int) -> bytes:
        """Read a file of at most ``max_bytes``."""
        with _errors(), self._files.open_input_stream(self._at(name), compression=None) as file:
            return read_stream(file, max_bytes)

    def write(self, name: str, data: bytes) -> None:
        """Write a whole file, and replace an earlier one."""
        path = self._at(name)
        with _errors():
            if self._files.type_name not in ("s3", "gcs", "abfs"):  # object stores have no folders
                self._files.create_dir(path.rpartition("/")[0], recursive=True)
            with self._files.open_output_stream(path, compression=None) as file:
                file.write(data)

    def move(self, name: str, to: str) -> None:
        """Rename a file, and replace an earlier one of the new name."""
        target = self._at(to)
        with _errors():
            if self._files.type_name not in ("s3", "gcs", "abfs"):
                self._files.create_dir(target.rpartition("/")[0], recursive=True)
            self._files.move(self._at(name), target)

    def remove(self, name: str) -> None:
        """Remove a file; a missing file is not an error."""
        with contextlib.suppress(FileNotFoundError), _errors():
            self._files.delete_file(self._at(name))

    def kind(self) -> str:
        """Return ``file`` or ``folder``, or an empty string if nothing has the URL."""
        from pyarrow.fs import FileType

        with _errors():
            found = self._files.get_file_info(self._path).type
        return {FileType.File: "file", FileType.Directory: "folder"}.get(found, "")

    def entries(self, name: str = "", *, recursive: bool) -> Iterator[Entry]:
        """Yield the entries of a folder, in no order; a missing folder has none."""
        from pyarrow.fs import FileSelector, FileType

        folder = self._at(name)
        selector = FileSelector(folder, recursive=recursive, allow_not_found=True)
        for info in self._listed(selector):
            yield Entry(info.path.removeprefix(f"{folder}/"), info.type == FileType.File)

    def _listed(self, selector: Any) -> Any:
        # Another process may remove a folder after this one has found it and before it has opened it. That listing is
        # neither the one before nor the one after the removal, so the folder is listed again.
        for _ in range(_LISTINGS - 1):
            with contextlib.suppress(FileNotFoundError), _errors():
                return self._files.get_file_info(selector)
        with _errors():
            return self._files.get_file_info(selector)

    def _at(self, name: str) -> str:
        return f"{self._path}/{name}" if name else self._path


def read_url(text: str, max_bytes: int) -> bytes:
    """Read a file of at most ``max_bytes`` by its URL.

    Raises:
        OSError: The file is unreadable or too large.
    """
    url = Url.of(text)
    return _store(url.parent).read(url.name, max_bytes)


@functools.lru_cache(maxsize=64)
def _store(url: Url) -> Store:
    """Return the store of a folder, kept: opening one may take requests for credentials and regions."""
    return Store(url)


def _filesystem(url: str) -> tuple[Any, str]:
    try:
        from pyarrow import ArrowInvalid, fs
    except ImportError as error:
        raise UsageError(f"{url} needs pyarrow", remedy="pip install 'polyexport[ray]'") from error
    if url.startswith(("gs://", "gcs://")) and "retry_limit_seconds" not in url:
        url += f"{'&' if '?' in url else '?'}retry_limit_seconds={_GCS_RETRY_LIMIT_S:g}"
    try:
        files, path = fs.FileSystem.from_uri(url)
    except ArrowInvalid as error:
        if "scheme" not in str(error) and "type" not in str(error):
            raise UsageError(
                f"{url} cannot be understood ({reason_of(error)})", remedy="correct the address"
            ) from error
        import fsspec

        try:
            files, path = fsspec.core.url_to_fs(_decoded(url))
        except (ImportError, ValueError) as missing:
            raise UsageError(
                f"{url} names a file system that no installed library reads ({reason_of(missing)})",
                remedy="give a path, s3://BUCKET/... or gs://BUCKET/..., or install the package that fsspec names",
            ) from missing
        return fs.PyFileSystem(fs.FSSpecHandler(files)), path
    return files, path


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """Turn every error of a file system into an OSError whose ``strerror`` ends with a remedy."""
    try:
        yield
    except (FileNotFoundError, UsageError):
        raise
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise
        raise OSError(error.errno or 0, f"{reason_of(error)}; {_ACCESS_REMEDY}") from error
    except _store_errors() as error:
        raise OSError(0, f"{reason_of(error)}; {_ACCESS_REMEDY}") from error


def _store_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that pyarrow and fsspec raise besides OSError."""
    import pyarrow

    return (ValueError, NotImplementedError, RuntimeError, pyarrow.ArrowException)
