"""The folder of the page, and what a build fetches for it."""

import hashlib
import json
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polyexport.demo import site
from polyexport.demo.site import export_site, media_type, site_files
from polyexport.errors import ContractError, OutputError, PolyexportError, UsageError
from polyexport.storage.folder import MANIFEST

ROOT = Path(__file__).parents[2]
DESCRIBED = json.loads((ROOT / "polyexport" / "demo" / "runtime.json").read_text())


def test_it_has_everything_and_the_very_model(runtime: None, shipped_path: Path) -> None:
    contents = site_files(shipped_path)
    assert contents["model.onnx"] == shipped_path.read_bytes()
    assert {"index.html", "app.mjs", "worker.mjs", "style.css", "gallery/cut-gaps.png", "runtime/LICENSE.txt"} < set(
        contents
    )
    for name, sha256 in DESCRIBED["files"].items():
        assert hashlib.sha256(contents[f"runtime/{name}"]).hexdigest() == sha256
    # What the page names is there, and nowhere else.
    text = b"".join(contents[name] for name in contents if name.endswith((".mjs", ".html", ".css")) and "/" not in name)
    assert b"http://" not in text
    assert {one.split(b"/")[2] for one in text.split() if one.startswith((b"https://", b"(https://"))} <= {
        b"protobuf.dev"
    }


def test_an_exported_folder_is_whole_and_its_own(
    runtime: None, model_of: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "site"
    written = export_site(model_of("rgb"), folder)
    assert {file.name for file in written} == {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    }
    subprocess.run(["sha256sum", "--quiet", "-c", MANIFEST], cwd=folder, check=True)
    assert "Cross-Origin-Embedder-Policy: require-corp" in (folder / "_headers").read_text()
    with pytest.raises(UsageError, match="--overwrite"):
        export_site(model_of("rgb"), folder)
    export_site(model_of("vocabulary"), folder, overwrite=True)
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"mine\.txt, which is not part of an exported page"):
        export_site(model_of("rgb"), folder, overwrite=True)
    assert (folder / "mine.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_what_cannot_be_exported(runtime: None, model_of: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"no model")
    with pytest.raises(ContractError, match=r"no\.onnx is refused"):
        export_site(tmp_path / "no.onnx", tmp_path / "site")
    with pytest.raises(OutputError):
        export_site(model_of("rgb"), tmp_path / "no.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["no.onnx"]


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_a_runtime_that_is_not_the_one_is_named(
    damage: str, runtime: None, shipped_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "demo"
    shutil.copytree(ROOT / "polyexport" / "demo", copy, copy_function=os.link)
    file = copy / "runtime" / "ort-wasm-simd-threaded.mjs"
    file.unlink()
    if damage == "changed":
        file.write_bytes(b"export default 1;")
    monkeypatch.setattr(site, "files", lambda package: copy)
    said = "is missing" if damage == "missing" else "has another SHA-256 than expected"
    with pytest.raises(PolyexportError, match=f"ort-wasm-simd-threaded.mjs {said}") as refused:
        site_files(shipped_path)
    assert "python hatch_build.py" in refused.value.remedy


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.mjs", "text/javascript; charset=utf-8"),
        ("a.wasm", "application/wasm"),
        ("index.html", "text/html; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
        ("gallery/photo.webp", "image/webp"),
        ("runtime/a.b.wasm", "application/wasm"),
        ("model.onnx", "application/octet-stream"),
        ("_headers", "application/octet-stream"),
    ],
)
def test_media_types(name: str, kind: str) -> None:
    assert media_type(name) == kind


# ---- the hook of the build


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source tree that has fetched nothing."""
    demo = tmp_path / "tree" / "polyexport" / "demo"
    demo.mkdir(parents=True)
    (demo / "runtime.json").write_text(json.dumps({"package": "page", "version": "1.2.3", "files": {"a.mjs": SHA256}}))
    return tmp_path / "tree"


CONTENT = b"export const a = 1;\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()

# Stands in for npm where the registry would answer: the hook is given what a registry might give.
NPM = """#!{python}
import io, os, sys, tarfile
if os.environ["GIVES"] == "error":
    sys.exit("npm error network")
assert sys.argv[1:3] == ["pack", "page@1.2.3"], sys.argv
path = os.path.join(sys.argv[sys.argv.index("--pack-destination") + 1], "page-1.2.3.tgz")
content = {{"right": {content!r}, "wrong": b"evil", "nothing": None, "link": b"", "garbage": b""}}[os.environ["GIVES"]]
if os.environ["GIVES"] == "garbage":
    open(path, "wb").write(b"no archive")
    sys.exit()
with tarfile.open(path, "w:gz") as archive:
    if content is not None:
        info = tarfile.TarInfo("package/dist/a.mjs")
        info.size = len(content)
        if os.environ["GIVES"] == "link":
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(info, io.BytesIO(content))
"""


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def gives(what: str) -> None:
        program = tmp_path / "bin" / "npm"
        program.parent.mkdir(exist_ok=True)
        program.write_text(NPM.format(python=sys.executable, content=CONTENT))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent))
        monkeypatch.setenv("GIVES", what)

    return gives


@pytest.fixture(scope="module")
def hook() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "hatch_build.py"))


def test_a_build_fetches_what_is_missing_and_no_more(
    hook: dict[str, Any], tree: Path, npm: Callable[[str], None]
) -> None:
    npm("right")
    hook["fetch"](tree)
    file = tree / "polyexport" / "demo" / "runtime" / "a.mjs"
    assert file.read_bytes() == CONTENT
    npm("error")
    hook["fetch"](tree)  # nothing is missing: nobody is asked
    file.write_bytes(b"changed since")
    npm("right")
    hook["fetch"](tree)
    assert file.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("gives", "said"),
    [
        ("error", "npm error network"),
        ("wrong", "SHA-256"),
        ("nothing", "SHA-256"),
        ("link", "SHA-256"),
        ("garbage", "cannot be read"),
    ],
)
def test_what_a_registry_must_not_give_is_not_kept(
    gives: str, said: str, hook: dict[str, Any], tree: Path, npm: Callable[[str], None]
) -> None:
    npm(gives)
    with pytest.raises(RuntimeError, match=said):
        hook["fetch"](tree)
    assert list((tree / "polyexport" / "demo").rglob("*.*js*")) == [tree / "polyexport" / "demo" / "runtime.json"]


def test_without_npm_a_build_goes_on_unless_it_must_not(
    hook: dict[str, Any], tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="npm, which fetches page, is not installed"):
        hook["fetch"](tree)

    warned: list[str] = []

    class App:
        def display_warning(self, message: str) -> None:
            warned.append(message)

    build = hook["RuntimeHook"](str(tree), {}, None, None, str(tree), "wheel", App())
    build.initialize("standard", {})
    assert "will not work: npm" in warned[0]
    monkeypatch.setenv("POLYEXPORT_RUNTIME", "required")
    with pytest.raises(RuntimeError, match="npm"):
        build.initialize("standard", {})
