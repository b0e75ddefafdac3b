"""Changes of a folder as the system tells them, gathered by a thread of their own."""

import importlib.util
import threading
from typing import Self

from polyexport.errors import PolyexportError, reason_of

__all__ = ["FolderChanges", "check_watchfiles"]

_GATHERING_MS = 200  # longest time that changes are gathered before they are told
_STEP_MS = 100  # time between two looks, which decides the processor time of a watch that waits
_LOOK_AGAIN_MS = 1000


def check_watchfiles() -> None:
    """Check that the package ``watchfiles`` is installed.

    Raises:
        PolyexportError: it is not.
    """
    if importlib.util.find_spec("watchfiles") is None:
        raise PolyexportError(
            "watching a folder needs the package watchfiles, which is not installed",
            remedy="install it with pip install 'polyexport[watch]'",
        )


class FolderChanges:
    """Paths of the files and folders that have changed below a folder.

    The system may lose changes, and tells none on most file systems of networks; see ``failure`` for when it tells none
    at all. What is told here is a hint and never the only way to a file.

    The thread receives no signals: ``watchfiles`` takes a signal that reaches it for an interrupt of its own.
    """

    def __init__(self, folder: str, *, recursive: bool) -> None:
        """Prepare for a folder.

        Args:
            folder: real path of the folder.
            recursive: whether changes in subfolders are told.
        """
        self._folder = folder
        self._recursive = recursive
        self._mutex = threading.Lock()
        self._told = threading.Event()
        self._stop = threading.Event()
        self._paths: set[str] = set()
        self.failure = ""
        """Why changes are no longer told, in one line; empty while they are."""
        self._thread = threading.Thread(target=self._listen, name="folder-changes", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def wait(self, timeout_s: float) -> None:
        """Wait for changes, at most for some seconds."""
        self._told.wait(timeout_s)

    def take(self) -> set[str]:
        """Return the real paths that have changed since the last call."""
        with self._mutex:
            self._told.clear()
            paths, self._paths = self._paths, set()
        return paths

    def _listen(self) -> None:
        try:
            import watchfiles

            changes = watchfiles.watch(
                self._folder,
                watch_filter=None,
                debounce=_GATHERING_MS,
                step=_STEP_MS,
                stop_event=self._stop,
                rust_timeout=_LOOK_AGAIN_MS,
                raise_interrupt=False,
                recursive=self._recursive,
                ignore_permission_denied=True,
            )
            for some in changes:
                with self._mutex:
                    self._paths.update(path for _, path in some)
                    self._told.set()
        except Exception as error:  # noqa: BLE001 - such as a limit of the system; the folder is listed now and then
            self.failure = reason_of(error)
