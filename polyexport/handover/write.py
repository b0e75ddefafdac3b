"""A model file -> a package: a folder with everything that a machine without polyexport needs to run it."""

import base64
import hashlib
import os
import secrets
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from polyexport.errors import ContractError, OutputError, UsageError
from polyexport.files import TEMPORARY_SUFFIX, check_writable, read_limited
from polyexport.handover.card import model_card
from polyexport.handover.readme import readme
from polyexport.handover.triton import TritonOptions, triton_config, triton_name
from polyexport.model import MAX_MODEL_BYTES, Model
from polyexport.session import SessionOptions

__all__ = ["MANIFEST", "PackageResult", "PackagedFile", "write_package"]

MANIFEST = "SHA256SUMS"
_MAX_MANIFEST_BYTES = 2**20

_REQUIREMENTS = """\
# On an NVIDIA GPU: onnxruntime-gpu[cuda,cudnn] in place of onnxruntime, never both.
numpy>=2.0
onnxruntime>=1.31
pillow>=13.0
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class PackagedFile:
    """One file of a package."""

    name: str
    """Relative to the package, with ``/``."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PackageResult:
    """A written package."""

    output: Path
    name: str
    """Of the model in the Triton repository."""

    sha256: str
    """Of the model file."""

    files: tuple[PackagedFile, ...]
    """Sorted by name; the manifest is the last."""

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(file.size_bytes for file in self.files)


def write_package(
    model_path: Path, output: Path, *, triton: TritonOptions | None = None, overwrite: bool = False
) -> PackageResult:
    """Verify a model and write its package. ``output`` gets its name only when every file of it is on the disk.

    Args:
        model_path: a file that ``polyexport export`` wrote.
        output: the folder of the package; missing or empty, or an earlier package with ``overwrite``.
        triton: how Triton serves it; named after the file if None.
        overwrite: replace an earlier package that nobody added files to.

    Raises:
        UsageError: ``output`` holds files.
        ContractError: the model is refused.
        OutputError: ``output`` is no folder or cannot be written.
    """
    options = triton or TritonOptions(name=triton_name(model_path.stem))
    _refuse_occupied(output, overwrite=overwrite)
    check_writable(_absolute(output).parent)  # before the model is loaded
    data = _read(model_path)
    try:
        model = Model.from_bytes(data, SessionOptions(provider="cpu"))
    except ContractError as error:
        raise ContractError(f"model {model_path} is refused: {error.message}", remedy=error.remedy) from error
    contents = _contents(model, data, options)
    files = [
        PackagedFile(name=name, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
        for name, content in sorted(contents.items())
    ]
    manifest = "".join(f"{file.sha256}  {file.name}\n" for file in files).encode("ascii")
    contents[MANIFEST] = manifest
    files.append(
        PackagedFile(name=MANIFEST, sha256=hashlib.sha256(manifest).hexdigest(), size_bytes=len(manifest)),
    )
    _write_folder(output, contents, overwrite=overwrite)
    return PackageResult(output=output, name=options.name, sha256=model.sha256, files=tuple(files))


def _contents(model: Model, data: bytes, options: TritonOptions) -> dict[str, bytes]:
    """Name -> bytes; the manifest not yet among them."""
    contract = model.contract
    card = model_card(contract, name=options.name, sha256=model.sha256, size_bytes=len(data))
    texts = {
        "MODEL_CARD.md": card,
        "README.md": readme(contract, name=options.name),
        "requirements.txt": _REQUIREMENTS,
        f"triton/{options.name}/config.pbtxt": triton_config(contract, options),
    }
    return {name: text.encode() for name, text in texts.items()} | {
        "LICENSE": _license(),
        "model.onnx": data,
        "run.py": Path(__file__).with_name("run.py").read_bytes(),
        "sample.png": base64.b64decode(contract.golden.image_png),
        f"triton/{options.name}/1/model.onnx": data,
    }


def _license() -> bytes:
    """The one that the wheel carries, or that of the source tree."""
    installed = Path(__file__).with_name("LICENSE")
    return (installed if installed.exists() else Path(__file__).parents[2] / "LICENSE").read_bytes()


def _read(path: Path) -> bytes:
    try:
        return read_limited(path, MAX_MODEL_BYTES)
    except OSError as error:
        raise ContractError(
            f"model {path} cannot be read ({error.strerror})", remedy="give a model that `polyexport export` wrote"
        ) from error


def _absolute(path: Path) -> Path:
    """Without ``.`` and ``..``, which have no name to give; ``resolve()`` would follow a link that stands there."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def _refuse_occupied(output: Path, *, overwrite: bool) -> None:
    try:
        mode = output.lstat().st_mode
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot look at {output} ({error})", remedy="choose another output") from error
    if not stat.S_ISDIR(mode):
        kind = "a link" if stat.S_ISLNK(mode) else "no folder"
        raise OutputError(f"the output {output} is {kind}", remedy="name a folder that does not exist yet")
    try:
        found = _files_below(output)
        known = _manifested(output) if overwrite and found else frozenset()
    except OSError as error:
        raise OutputError(
            f"cannot look into {output} ({error.strerror or error})", remedy="choose another output"
        ) from error
    strangers = sorted(found - known)
    if overwrite and strangers:
        # A wrong path must not cost anybody their home folder.
        raise UsageError(
            f"the output {output} holds {strangers[0]}, which is no part of a package",
            remedy="move it away or name another folder with -o",
        )
    if found and not overwrite:
        raise UsageError(f"the output {output} is not empty", remedy="add --overwrite or name another folder with -o")


def _files_below(folder: Path) -> frozenset[str]:
    """Everything but folders, and folders that are empty; links are not followed. Raises OSError."""

    def refuse(error: OSError) -> None:
        raise error

    found: set[str] = set()
    for current, folders, names in os.walk(folder, onerror=refuse):
        here = Path(current)
        links = [name for name in folders if (here / name).is_symlink()]
        found.update((here / name).relative_to(folder).as_posix() for name in (*names, *links))
        if here != folder and not folders and not names:
            found.add(here.relative_to(folder).as_posix())
    return frozenset(found)


def _manifested(folder: Path) -> frozenset[str]:
    """The names of a package: those of its manifest, and the manifest's own. Raises OSError."""
    try:
        text = read_limited(folder / MANIFEST, _MAX_MANIFEST_BYTES).decode("ascii", "replace")
    except FileNotFoundError:
        return frozenset()
    names = {name for _, _, name in (line.partition("  ") for line in text.splitlines())}
    return frozenset({MANIFEST, *names})


def _write_folder(output: Path, contents: dict[str, bytes], *, overwrite: bool) -> None:
    """Build the folder under a temporary name beside ``output``, then rename it."""
    final = _absolute(output)
    temporary, replaced = (final.parent / f".{secrets.token_hex(8)}{TEMPORARY_SUFFIX}" for _ in range(2))
    try:
        try:
            temporary.mkdir()
            for name, content in contents.items():
                _write_new(temporary / name, content)
            for current, _, _ in os.walk(temporary):
                _sync_folder(Path(current))
            _refuse_occupied(output, overwrite=overwrite)  # once more: somebody may have been quicker
            _swap(temporary, final, replaced)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    except OSError as error:
        raise OutputError(
            f"cannot write {output} ({error.strerror or error})", remedy="free space there or choose another output"
        ) from error
    shutil.rmtree(replaced, ignore_errors=True)


def _write_new(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _swap(temporary: Path, final: Path, replaced: Path) -> None:
    """Rename ``temporary`` to ``final``, and what stood there to ``replaced``; all of it or nothing."""
    try:
        if os.path.lexists(final):
            final.rename(replaced)
        temporary.rename(final)
        _sync_folder(final.parent)
    except BaseException:
        if not temporary.exists():
            final.rename(temporary)
        if os.path.lexists(replaced):
            replaced.rename(final)
        raise


def _sync_folder(folder: Path) -> None:
    """The names in a folder are data of the folder; Windows cannot open one, and has no need to."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
