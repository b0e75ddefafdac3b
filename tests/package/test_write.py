import errno
import hashlib
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from signing_keys import KeyPair

from polyexport.errors import ContractError, ExitCode, OutputError, SignatureError, UsageError
from polyexport.model.conditions import COLOR_MODULES, CONDITION_MODULES
from polyexport.model.signature import SigningKey, check_signature, signature_path
from polyexport.package.triton import TritonOptions
from polyexport.package.vendor import vendored_modules
from polyexport.package.write import write_package
from polyexport.runtime.providers import PROVIDER_MODULES
from polyexport.storage.folder import MANIFEST
from polyexport.storage.temporary import TEMPORARY_SUFFIX

ROOT = Path(__file__).parents[2]
NAMES = {
    "LICENSE",
    "MODEL_CARD.md",
    "README.md",
    "SHA256SUMS",
    "model.onnx",
    "requirements.txt",
    "run.py",
    "sample.png",
    "triton/tiny/1/model.onnx",
    "triton/tiny/config.pbtxt",
}
TINY = TritonOptions(name="tiny")
ModelOf = Callable[[str], Path]
Package = Callable[..., Path]


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def own_names(folder: Path) -> set[str]:
    """The files of a package, except the modules of polyexport that run.py imports."""
    return {name for name in tree(folder) if not name.startswith("runtime_modules/polyexport/")}


def test_the_folder_holds_what_it_says(model_of: ModelOf, tmp_path: Path) -> None:
    result = write_package(model_of("rgb"), tmp_path / "made" / "here", triton=TINY)
    files = tree(result.output)
    rows = [*COLOR_MODULES.values(), *CONDITION_MODULES.values()]
    rows += [PROVIDER_MODULES[name] for name in ("cpu", "cuda")]
    modules = vendored_modules(["polyexport.package.runner", *rows], root=ROOT)

    assert own_names(result.output) == NAMES
    assert set(files) - NAMES == {f"runtime_modules/{name}" for name in modules}
    assert files["model.onnx"] == files["triton/tiny/1/model.onnx"] == model_of("rgb").read_bytes()
    assert files["LICENSE"] == (ROOT / "LICENSE").read_bytes()
    assert files["run.py"] == (ROOT / "polyexport" / "package" / "bootstrap.py").read_bytes()
    assert {file.name: (file.sha256, file.size_bytes) for file in result.files} == {
        name: (hashlib.sha256(data).hexdigest(), len(data)) for name, data in files.items()
    }
    assert result.size_bytes == sum(map(len, files.values()))
    assert result.sha256 == hashlib.sha256(files["model.onnx"]).hexdigest()
    assert sorted(path.name for path in tmp_path.rglob(f"*{TEMPORARY_SUFFIX}")) == []


def test_a_package_of_a_signed_model_carries_its_signature(
    model_of: ModelOf, keys: KeyPair, key_pair: Callable[..., KeyPair], tmp_path: Path
) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(model_of("rgb").read_bytes())
    with pytest.raises(SignatureError, match=r"m\.onnx\.sig cannot be read"):
        write_package(model, tmp_path / "package", signed_by=keys.public)
    signature_path(model).write_bytes(SigningKey.read(keys.private, str).sign(model.read_bytes(), name="m"))
    with pytest.raises(SignatureError, match="made with the key"):
        write_package(model, tmp_path / "package", signed_by=key_pair().public)
    write_package(model, tmp_path / "package", triton=TINY, signed_by=keys.public)

    assert own_names(tmp_path / "package") == NAMES | {"model.onnx.sig"}
    packaged = tmp_path / "package" / "model.onnx"
    assert check_signature(packaged, packaged.read_bytes(), key=keys.public).file.name == "model.onnx.sig"
    assert "model.onnx.sig" in (tmp_path / "package" / "README.md").read_text()
    write_package(model, tmp_path / "unasked", triton=TINY)  # nothing carries a signature that was not checked
    assert own_names(tmp_path / "unasked") == NAMES


def test_the_same_model_gives_the_same_bytes(model_of: ModelOf, tmp_path: Path) -> None:
    one = write_package(model_of("vocabulary"), tmp_path / "one")
    two = write_package(model_of("vocabulary"), tmp_path / "two")
    assert one.files == two.files
    assert one.name == "vocabulary"


def test_the_systems_sha256sum_reads_the_manifest(package: Package) -> None:
    folder = package()
    command = ["sha256sum", "--strict", "-c", MANIFEST]
    assert subprocess.run(command, cwd=folder, capture_output=True).returncode == 0
    listed = [line.split("  ")[1] for line in (folder / MANIFEST).read_text().splitlines()]
    assert listed == sorted(set(tree(folder)) - {MANIFEST})
    (folder / "README.md").write_text("other")
    failed = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert failed.returncode == 1
    assert "README.md: FAILED" in failed.stdout


def test_the_requirements_are_those_of_this_project(package: Package) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    floors = {requirement.partition(";")[0].strip() for requirement in project["dependencies"]}
    required = [line for line in (package() / "requirements.txt").read_text().splitlines() if line[0] != "#"]
    assert [re.split("[>=]", line)[0] for line in required] == ["numpy", "onnxruntime", "pillow"]
    assert set(required) <= floors


def test_a_tampered_model_is_refused(model_of: ModelOf, tmp_path: Path) -> None:
    data = bytearray(model_of("rgb").read_bytes())
    position = data.index(b"Unsqueeze")
    data[position] ^= 1
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(ContractError, match=r"m\.onnx is refused"):
        write_package(tmp_path / "m.onnx", tmp_path / "package")
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


@pytest.mark.parametrize("wrong", ["missing", "folder", "garbage"])
def test_what_is_no_model_is_refused(wrong: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    if wrong == "folder":
        path.mkdir()
    elif wrong == "garbage":
        path.write_bytes(b"garbage")
    with pytest.raises(ContractError, match=r"m\.onnx"):
        write_package(path, tmp_path / "package")
    assert not (tmp_path / "package").exists()


def test_an_occupied_folder_is_refused(model_of: ModelOf, tmp_path: Path) -> None:
    folder = tmp_path / "package"
    (folder / "empty").mkdir(parents=True)
    with pytest.raises(UsageError, match="not empty"):
        write_package(model_of("rgb"), folder)
    with pytest.raises(UsageError, match="holds empty, which is not part of a package"):
        write_package(model_of("rgb"), folder, overwrite=True)
    (folder / "empty").rmdir()
    write_package(model_of("rgb"), folder)
    with pytest.raises(UsageError, match="--overwrite"):
        write_package(model_of("rgb"), folder)


def test_overwrite_replaces_a_package_and_nothing_else(model_of: ModelOf, tmp_path: Path) -> None:
    folder = tmp_path / "package"
    write_package(model_of("rgb"), folder, triton=TritonOptions(name="old"))
    write_package(model_of("vocabulary"), folder, triton=TINY, overwrite=True)
    assert own_names(folder) == NAMES
    assert [path.name for path in tmp_path.iterdir()] == ["package"]

    (folder / "colored").mkdir()
    (folder / "colored" / "mine.png").write_bytes(b"mine")
    before = tree(folder)
    with pytest.raises(UsageError, match=r"colored/mine\.png"):
        write_package(model_of("rgb"), folder, overwrite=True)
    assert tree(folder) == before


def test_overwrite_takes_no_manifest_that_climbs_out(model_of: ModelOf, tmp_path: Path) -> None:
    folder = tmp_path / "package"
    folder.mkdir()
    (tmp_path / "mine").write_text("mine")
    (folder / MANIFEST).write_text(f"{'0' * 64}  ../mine\n")
    write_package(model_of("rgb"), folder, overwrite=True)
    assert (tmp_path / "mine").read_text() == "mine"


def test_links_are_not_followed(model_of: ModelOf, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "link").symlink_to(elsewhere)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("link", "dangling"):
        for overwrite in (False, True):
            with pytest.raises(OutputError, match="is a link"):
                write_package(model_of("rgb"), tmp_path / name, overwrite=overwrite)
    assert not list(elsewhere.iterdir())

    folder = tmp_path / "package"
    write_package(model_of("rgb"), folder)
    (elsewhere / "mine").write_text("mine")
    (folder / "triton" / "linked").symlink_to(elsewhere)
    with pytest.raises(UsageError, match="triton/linked"):
        write_package(model_of("rgb"), folder, overwrite=True)
    assert (elsewhere / "mine").read_text() == "mine"


def test_a_file_is_no_folder(model_of: ModelOf, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="no folder"):
        write_package(model_of("rgb"), tmp_path / "file", overwrite=True)
    with pytest.raises(OutputError):
        write_package(model_of("rgb"), tmp_path / "file" / "below")
    assert (tmp_path / "file").read_text() == "mine"


def test_odd_spellings_of_the_output(model_of: ModelOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_package(model_of("rgb"), Path("a/../b/"), triton=TINY)
    assert own_names(tmp_path / "b") == NAMES
    with pytest.raises(OutputError, match="cannot look at"):
        write_package(model_of("rgb"), Path("null\0byte"))


class Failing:
    """A function like another one, that fails at its n-th call and at no other."""

    def __init__(self, real: Callable[..., object], call: int) -> None:
        self.real, self.left = real, call

    def __get__(self, owner: object, kind: type) -> Callable[..., object]:
        return lambda *arguments, **options: self(owner, *arguments, **options)

    def __call__(self, *arguments: object, **options: object) -> object:
        counts = options.get("mode") not in ("r", "rb")  # what is read is not the output
        self.left -= counts
        if counts and not self.left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.real(*arguments, **options)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    ("owner", "name", "at_least"), [(os, "fsync", 16), (Path, "mkdir", 10), (Path, "rename", 1), (Path, "open", 10)]
)
def test_a_disk_that_fills_up_leaves_what_was_there(
    owner: object,
    name: str,
    at_least: int,
    overwrite: bool,
    model_of: ModelOf,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Two modules stand for all: the model is loaded anew for every call that fails.
    few = {f"polyexport/{name}.py": name.encode() for name in ("one", "storage/two")}
    monkeypatch.setattr("polyexport.package.write.vendored_modules", lambda *_, **__: few)
    folder = tmp_path / "package"
    if overwrite:
        write_package(model_of("vocabulary"), folder, triton=TritonOptions(name="old"))
    before = tree(tmp_path)
    for call in range(1, 100):
        failing = Failing(getattr(owner, name), call)
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, failing)
            try:
                write_package(model_of("rgb"), folder, triton=TINY, overwrite=overwrite)
            except OutputError as error:
                assert "No space left on device" in error.message
                assert tree(tmp_path) == before, call
                assert [path.name for path in tmp_path.iterdir()] == (["package"] if overwrite else [])
                continue
        assert failing.left > 0  # every failure was reported
        break
    assert call > at_least
    assert own_names(folder) == NAMES  # a rerun completes
    assert [path.name for path in tmp_path.iterdir()] == ["package"]


def test_a_write_that_really_fails(model_of: ModelOf, tmp_path: Path) -> None:
    """A limit on the size of a file makes write() itself fail, half way."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1500, before[1]))
        with pytest.raises(OutputError, match="File too large"):
            write_package(model_of("rgb"), tmp_path / "package")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


def test_killed_at_every_write(model_of: ModelOf, tmp_path: Path) -> None:
    """SIGKILL in the middle: nothing under the final name, and a rerun completes."""
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom polyexport.package.write import write_package\n"
        "real, calls = os.fsync, 0\n"
        "def fsync(descriptor):\n"
        "    global calls\n"
        "    calls += 1\n"
        "    if calls == int(sys.argv[3]): os.kill(os.getpid(), signal.SIGKILL)\n"
        "    real(descriptor)\n"
        "os.fsync = fsync\n"
        "write_package(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    output = tmp_path / "package"
    for call in (2, 6, 12):
        command = [sys.executable, "-c", code, str(model_of("rgb")), str(output), str(call)]
        assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == -signal.SIGKILL
        assert not output.exists()
        assert all(path.name.endswith(TEMPORARY_SUFFIX) for path in tmp_path.iterdir())
    write_package(model_of("rgb"), output, triton=TINY)
    assert own_names(output) == NAMES


def test_a_read_only_output_fails_before_the_model_is_loaded() -> None:
    """As another user, because root may write anywhere; pytest's own folders are closed to others."""
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    if nobody and subprocess.run([*nobody, sys.executable, "-c", "import numpy"], capture_output=True).returncode:
        pytest.skip("another user cannot run this interpreter")
    code = (
        "import sys\nfrom pathlib import Path\nfrom polyexport.errors import OutputError\n"
        "from polyexport.package.write import write_package\n"
        "try: write_package(Path('no such model'), Path(sys.argv[1], 'package'))\n"
        "except OutputError as error: print(error)"
    )
    with tempfile.TemporaryDirectory() as locked:
        Path(locked).chmod(0o555)
        done = subprocess.run([*nobody, sys.executable, "-c", code, locked], cwd=ROOT, capture_output=True, text=True)
    assert "Permission denied" in done.stdout, done.stderr


def test_its_errors_have_the_projects_exit_codes() -> None:
    assert (OutputError.exit_code, ContractError.exit_code) == (ExitCode.OUTPUT_UNUSABLE, ExitCode.MODEL_REFUSED)


def test_it_loads_neither_torch_nor_onnx() -> None:
    code = (
        "import sys\nimport polyexport.package.write, polyexport.package.runner\n"
        "assert not {'torch', 'onnx', 'typer'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
