"""Writing packages: folders with everything that is needed to run a model where polyexport is not installed."""

import base64
from dataclasses import dataclass
from pathlib import Path

import polyexport
from polyexport.model.conditions import COLOR_MODULES, CONDITION_MODULES
from polyexport.model.file import read_model
from polyexport.model.loading.limits import DEFAULT_LIMITS, LoadLimits
from polyexport.model.loading.load import open_model
from polyexport.model.model import Model
from polyexport.model.signature import check_signature, signature_path
from polyexport.package import runner
from polyexport.package.card import model_card
from polyexport.package.readme import readme, sample_name
from polyexport.package.triton import TritonOptions, triton_config, triton_name
from polyexport.package.vendor import vendored_modules
from polyexport.runtime.providers import PROVIDER_MODULES
from polyexport.runtime.session import SessionOptions
from polyexport.storage.folder import WrittenFile, check_free, write_folder

__all__ = ["PackageResult", "write_package"]

_KIND = "a package"

_MODEL = Path("model.onnx")

_MODULES = "runtime_modules"
"""Folder of a package that ``bootstrap.py`` imports modules from."""

_REQUIREMENTS = """\
# On an NVIDIA GPU: onnxruntime-gpu[cuda,cudnn] in place of onnxruntime, never both.
numpy>=2.0
onnxruntime>=1.31
pillow>=13.0
"""

_REQUIREMENTS_OF_FILLS = "opencv-python-headless>=4.12\n"
"""The regions of a drawing, which a model whose result is a fill needs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PackageResult:
    """The result of writing a package."""

    output: Path
    """The folder that was written."""

    name: str
    """Name of the model in the Triton repository."""

    sha256: str
    """SHA-256 of the model file, lowercase hex."""

    files: tuple[WrittenFile, ...]
    """The files of the package, sorted by name, and then the manifest."""

    @property
    def size_bytes(self) -> int:
        """Size of all files together, bytes."""
        return sum(file.size_bytes for file in self.files)


def write_package(
    model_path: Path,
    output: Path,
    *,
    triton: TritonOptions | None = None,
    signed_by: Path | None = None,
    overwrite: bool = False,
    limits: LoadLimits = DEFAULT_LIMITS,
) -> PackageResult:
    """Load a model and write its package; ``output`` appears only when every file of it is on the disk.

    Args:
        model_path: Model file that ``polyexport export`` wrote.
        output: Folder of the package. It must be missing or empty; with ``overwrite`` it may be an earlier package.
        triton: Settings of the model in Triton; the defaults, named after the model file, if None.
        signed_by: Public key, PEM, with which the model file must have been signed. The package then holds the
            signature beside the model.
        overwrite: Allow replacing an earlier package that nobody added files to.
        limits: Limits of the first load of an unknown model file.

    Raises:
        UsageError: ``output`` holds files that may not be replaced.
        ContractError: The model is refused.
        SignatureError: The signature of the model is missing, or does not hold for it and the key.
        OutputError: ``output`` is not a folder or cannot be written.
    """
    options = triton or TritonOptions(name=triton_name(model_path.stem))
    check_free(output, kind=_KIND, overwrite=overwrite)  # before the model is loaded
    data = read_model(model_path)
    signature = check_signature(model_path, data, key=signed_by).content if signed_by is not None else None
    model = open_model(data, SessionOptions(provider="cpu"), name=str(model_path), limits=limits)
    contents = _contents(model, data, signature, options)
    files = write_folder(output, contents, kind=_KIND, overwrite=overwrite)
    return PackageResult(output=output, name=options.name, sha256=model.sha256, files=files)


def _contents(model: Model, data: bytes, signature: bytes | None, options: TritonOptions) -> dict[str, bytes]:
    """Return the bytes of every file by its path in the package."""
    contract = model.contract
    card = model_card(contract, name=options.name, sha256=model.sha256, size_bytes=len(data))
    texts = {
        "MODEL_CARD.md": card,
        "README.md": readme(
            contract, name=options.name, signature=signature_path(_MODEL).name if signature is not None else None
        ),
        "requirements.txt": _REQUIREMENTS + (_REQUIREMENTS_OF_FILLS if contract.result.kind == "fill" else ""),
        f"triton/{options.name}/config.pbtxt": triton_config(contract, options),
    }
    return {name: text.encode() for name, text in texts.items()} | {
        "LICENSE": _license(),
        _MODEL.name: data,
        **({signature_path(_MODEL).name: signature} if signature is not None else {}),
        "run.py": Path(__file__).with_name("bootstrap.py").read_bytes(),
        "sample.png": base64.b64decode(contract.golden.image_png),
        **_samples(model),
        f"triton/{options.name}/1/model.onnx": data,
        **{f"{_MODULES}/{path}": source for path, source in _modules().items()},
    }


def _samples(model: Model) -> dict[str, bytes]:
    """Return the golden sample's values of the conditions that a command line does not hold, by their files' names."""
    found: dict[str, bytes] = {}
    for condition, value in zip(model.conditions, model.contract.golden.values, strict=True):
        if name := sample_name(condition):
            assert isinstance(value, str)
            row = condition.encode(value)
            found[name] = ",".join(map(str, row.tolist())).encode() if condition.textual else base64.b64decode(value)
    return found


def _modules() -> dict[str, bytes]:
    """Return the source files that ``run.py`` imports, by their path."""
    providers = [PROVIDER_MODULES[name] for name in runner.PROVIDERS]
    entries = [runner.__name__, *COLOR_MODULES.values(), *CONDITION_MODULES.values(), *providers]
    return vendored_modules(entries, root=Path(polyexport.__file__).parents[1])


def _license() -> bytes:
    """Return the license text, from the installed package or from the source tree."""
    installed = Path(__file__).with_name("LICENSE")
    return (installed if installed.exists() else Path(__file__).parents[2] / "LICENSE").read_bytes()
