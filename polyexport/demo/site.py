"""The files of the page: its own files, the runtime that a build fetches, and the model."""

import hashlib
import json
import mimetypes
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from polyexport.errors import PolyexportError
from polyexport.model.file import read_model
from polyexport.model.loading.limits import DEFAULT_LIMITS, LoadLimits
from polyexport.model.loading.load import open_model
from polyexport.runtime.session import SessionOptions
from polyexport.storage.folder import WrittenFile, check_free, write_folder

__all__ = ["HEADERS", "export_site", "media_type", "site_files"]

_MODEL_NAME = "model.onnx"

HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""HTTP headers of every file. The first two allow WASM threads
(https://developer.mozilla.org/en-US/docs/Web/API/Window/crossOriginIsolated)."""

_KIND = "an exported page"
_MEDIA_TYPES = {
    ".mjs": "text/javascript",
    ".wasm": "application/wasm",
    ".onnx": "application/octet-stream",
    ".webp": "image/webp",
}


def site_files(model: Path, *, limits: LoadLimits = DEFAULT_LIMITS) -> dict[str, bytes]:
    """Collect the files of the page by their paths.

    Args:
        model: a file that ``polyexport export`` wrote; it is checked as for ``infer``, and served unchanged.
        limits: limits of the first load of an unknown model file.

    Raises:
        ContractError: the model is refused.
        PolyexportError: this installation was built without the runtime.
    """
    here = files("polyexport.demo")
    contents = {f"runtime/{name}": data for name, data in _runtime(here).items()}
    contents |= _files_below(here.joinpath("page"))
    data = read_model(model)
    open_model(data, SessionOptions(provider="cpu"), name=str(model), limits=limits)
    return contents | {_MODEL_NAME: data}


def export_site(
    model: Path, output: Path, *, overwrite: bool = False, limits: LoadLimits = DEFAULT_LIMITS
) -> tuple[WrittenFile, ...]:
    """Write the page into a folder for any static web host.

    Hosts that read ``_headers`` (Netlify, Cloudflare Pages) send ``HEADERS``. On other hosts, without these headers,
    the page runs on one thread.

    Args:
        model: a file that ``polyexport export`` wrote.
        output: a folder that is missing or empty; with ``overwrite`` also an earlier export.
        overwrite: replace an earlier export, if no files were added to it.
        limits: limits of the first load of an unknown model file.

    Raises:
        UsageError: ``output`` is not empty.
        ContractError: the model is refused.
        OutputError: ``output`` is not a folder or cannot be written.
        PolyexportError: this installation was built without the runtime.
    """
    check_free(output, kind=_KIND, overwrite=overwrite)
    headers = "".join(f"  {name}: {value}\n" for name, value in HEADERS.items())
    contents = site_files(model, limits=limits) | {"_headers": f"/*\n{headers}".encode()}
    return write_folder(output, contents, kind=_KIND, overwrite=overwrite)


def media_type(name: str) -> str:
    """Return the media type of a file; browsers run scripts and WASM only with the right one."""
    suffix = f".{name.rpartition('.')[2]}"
    kind = _MEDIA_TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def _files_below(folder: Traversable, prefix: str = "") -> dict[str, bytes]:
    contents: dict[str, bytes] = {}
    for entry in folder.iterdir():
        if entry.is_dir():
            contents |= _files_below(entry, f"{prefix}{entry.name}/")
        else:
            contents[f"{prefix}{entry.name}"] = entry.read_bytes()
    return contents


def _runtime(here: Traversable) -> dict[str, bytes]:
    described = json.loads(here.joinpath("runtime.json").read_text(encoding="utf-8"))
    contents: dict[str, bytes] = {}
    for name, sha256 in described["files"].items():
        try:
            data = here.joinpath("runtime", name).read_bytes()
        except OSError:
            data = b""
        if hashlib.sha256(data).hexdigest() != sha256:
            state = "has another SHA-256 than expected" if data else "is missing"
            raise PolyexportError(
                f"this installation was built without {described['package']} {described['version']}: {name} {state}",
                remedy="install npm and then polyexport again, or in a source tree run python hatch_build.py",
            )
        contents[name] = data
    return contents | {"LICENSE.txt": here.joinpath("RUNTIME_LICENSE.txt").read_bytes()}
