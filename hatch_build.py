"""What a build fetches: the files of onnxruntime-web that the page of `polyexport demo` runs the model with.

They are named, with version and SHA-256, in polyexport/demo/runtime.json, and come from the npm registry through npm. A
build without npm or without a network goes on without them, and `polyexport demo` says so; a release should set
POLYEXPORT_RUNTIME=required, and fail instead. To fetch them alone: `python hatch_build.py`.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run by itself
    BuildHookInterface = object  # type: ignore[assignment, misc]

ROOT = Path(__file__).parent
_MAX_FILE_BYTES = 64 * 1024 * 1024


class RuntimeHook(BuildHookInterface):  # type: ignore[type-arg] # object takes no type argument
    """Runs before a wheel, a source distribution or an editable installation is made."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fetch what is missing."""
        try:
            fetch(Path(self.root))
        except RuntimeError as error:
            if os.environ.get("POLYEXPORT_RUNTIME") == "required":
                raise
            self.app.display_warning(f"`polyexport demo` will not work: {error}")


def fetch(root: Path) -> None:
    """Bring the runtime's files into a source tree; those that are there and right stay.

    Raises:
        RuntimeError: npm is missing or failed, or a file is not the one that it should be.
    """
    demo = root / "polyexport" / "demo"
    runtime = json.loads((demo / "runtime.json").read_text())
    folder = demo / "runtime"
    missing = {name: sha256 for name, sha256 in runtime["files"].items() if _sha256(folder / name) != sha256}
    if not missing:
        return
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError(f"npm, which fetches {runtime['package']}, is not installed")
    with tempfile.TemporaryDirectory() as temporary:
        command = [npm, "pack", f"{runtime['package']}@{runtime['version']}", "--pack-destination", temporary]
        done = subprocess.run(  # noqa: S603 - what is written above
            command, check=False, cwd=temporary, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        archives = list(Path(temporary).glob("*.tgz"))
        if done.returncode or len(archives) != 1:
            told = done.stderr.strip().splitlines() or ["it gave no archive"]
            raise RuntimeError(f"npm cannot fetch {runtime['package']} {runtime['version']} ({told[0][:200]})")
        try:
            with tarfile.open(archives[0]) as archive:
                for name, sha256 in missing.items():
                    _keep(archive, f"package/dist/{name}", sha256, folder / name)
        except (tarfile.TarError, EOFError, OSError) as error:
            raise RuntimeError(f"the archive of {runtime['package']} cannot be read or kept ({error})") from error


def _keep(archive: tarfile.TarFile, member: str, sha256: str, path: Path) -> None:
    try:
        file = archive.extractfile(member)
        data = file.read(_MAX_FILE_BYTES) if file is not None else b""
    except KeyError:
        data = b""
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise RuntimeError(f"{path.name} has SHA-256 {found[:12]}..., expected {sha256[:12]}...")
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.polyexport-tmp")
    temporary.write_bytes(data)
    temporary.replace(path)


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


if __name__ == "__main__":
    try:
        fetch(ROOT)
    except RuntimeError as error:
        sys.exit(f"error: {error}")
