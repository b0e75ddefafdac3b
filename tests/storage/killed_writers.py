"""A writer of ``polyexport.storage`` that is killed before its first, second, ... file operation, and then run again.

    python killed_writers.py WRITER BEFORE WORK

Each time, ``WORK/<number>`` begins as a copy of the folder ``BEFORE``. ``WORK/<number>-killed`` is a copy of it after
the kill. The audit events of Python (https://docs.python.org/3/library/audit_events.html) tell when a file operation
comes. The processes are forked, so that the many kills of one test take a second.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from polyexport.errors import PolyexportError
from polyexport.storage.file_set import open_file_set
from polyexport.storage.files import check_writable, write_atomic
from polyexport.storage.folder import check_free, write_folder

CHANGING = frozenset(("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link"))
NEW = {"one": b"new one", "below/two": b"new two", "below/three": b"new three"}


def file(root: Path) -> None:
    check_writable(root)
    write_atomic(root / "file", b"new")


def folder(root: Path) -> None:
    check_free(root / "out", kind="a test", overwrite=True)
    write_folder(root / "out", NEW, kind="a test", overwrite=True)


def file_set(root: Path) -> None:

    def files() -> Iterator[tuple[str, bytes]]:
        yield from NEW.items()
        yield "index", b"one below/two below/three"

    with open_file_set(root / "out", index="index") as opened:
        index = root / "out" / "index"
        earlier = (*index.read_text().split(), "index") if index.exists() else ()
        opened.replace(files(), frozenset(earlier))


WRITERS: dict[str, Callable[[Path], None]] = {"file": file, "folder": folder, "file_set": file_set}


def killed_at(number: int, write: Callable[[Path], None], root: Path) -> bool:
    """Run a writer in a process of its own; return whether it lived long enough for that operation."""
    child = os.fork()
    if not child:
        count = 0

        def audit(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal count
            writes = (
                event == "open" and isinstance(arguments[2], int) and bool(arguments[2] & (os.O_WRONLY | os.O_RDWR))
            )
            if event in CHANGING or writes:
                count += 1
                if count == number:
                    os.kill(os.getpid(), signal.SIGKILL)

        os.fsync = lambda fd: None  # a kill loses nothing that was handed to the kernel
        sys.addaudithook(audit)
        try:
            write(root)
        except PolyexportError as error:
            sys.stderr.write(f"{number}: {error}\n")
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL), status
    return status != 0


def main() -> None:
    write, before, work = WRITERS[sys.argv[1]], Path(sys.argv[2]), Path(sys.argv[3])
    number = 1
    while True:
        root = work / str(number)
        shutil.copytree(before, root)
        killed = killed_at(number, write, root)
        shutil.copytree(root, work / f"{number}-killed")
        assert not killed_at(0, write, root)
        if not killed:
            return
        number += 1


if __name__ == "__main__":
    main()
