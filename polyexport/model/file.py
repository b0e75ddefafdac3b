"""A model file as bytes: where the shipped one is, how one is read, and how its contract is read and checked."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polyexport.errors import ContractError
from polyexport.model.contract import METADATA_KEY, Contract
from polyexport.runtime.graph_limits import refuse_unbounded
from polyexport.runtime.onnx_bytes import graph_sha256, metadata_props, refuse_external_data
from polyexport.storage.files import read_limited

__all__ = [
    "DEFAULT_MODEL",
    "MAX_MODEL_BYTES",
    "SHIPPED_SHA256",
    "default_model_path",
    "peek_contract",
    "read_contract",
    "read_model",
    "refusals_named",
]

DEFAULT_MODEL = "small.onnx"
"""File name of the model that is shipped with polyexport."""

SHIPPED_SHA256 = frozenset(
    (
        "24aba33bc8d4fe2beb062527adcc84873202f7e4ec72024ab4750d8435276995",  # small.onnx
        "a1619e6cc0aa2e6a4ce3e827dbcfb4aee9778db482c60fcd613f593e47d740c5",  # small-int8.onnx
    )
)
"""SHA-256 of the models that come with polyexport, which are trusted as its code is."""

MAX_MODEL_BYTES = 2**31 - 1
"""Largest model file that is read: the limit of protocol buffers."""

_REMEDY = "give a model that `polyexport export` wrote"


def default_model_path() -> Path:
    """Return the path of the shipped model: inside an installed package, or in ``artifacts/`` of a source tree."""
    package = Path(__file__).parents[1]
    installed = package / "models" / DEFAULT_MODEL
    return installed if installed.exists() else package.parent / "artifacts" / DEFAULT_MODEL


def read_model(file: Path, *, signed_by: Path | None = None) -> bytes:
    """Read the bytes of a model file.

    Args:
        file: path of the model file.
        signed_by: public key, PEM; if it is given, the bytes must have the signature beside the file.

    Raises:
        ContractError: the file is missing, is not a regular file, or is too large.
        SignatureError: the signature is missing, or does not hold for these bytes and this key.
    """
    try:
        data = read_limited(file, MAX_MODEL_BYTES)
    except OSError as error:
        raise ContractError(f"model {file} cannot be read ({error.strerror})", remedy=_REMEDY) from error
    if signed_by is not None:
        from polyexport.model.signature import check_signature

        check_signature(file, data, key=signed_by)
    return data


@contextmanager
def refusals_named(name: str) -> Iterator[None]:
    """Turn what refuses a model file inside the block into a ContractError with the file's name, if it has one."""
    try:
        yield
    except UnicodeDecodeError as error:  # protobuf and ONNX Runtime hand out names and metadata as they are
        called = f"model {name}" if name else "the model"
        raise ContractError(f"{called} is refused: it holds text that is not UTF-8", remedy=_REMEDY) from error
    except ContractError as error:
        if not name:
            raise
        raise ContractError(f"model {name} is refused: {error.message}", remedy=error.remedy) from error


def peek_contract(file: Path, *, signed_by: Path | None = None) -> Contract:
    """Read the contract of a model file without its graph, to tell how the model is to be called.

    Its graph is not compared with the contract; loading the model does that.

    Raises:
        ContractError: the file cannot be read, or has no contract that this version reads.
        SignatureError: the signature is missing, or does not hold for the file and the key.
    """
    data = read_model(file, signed_by=signed_by)
    with refusals_named(str(file)):
        return _contract_of(data)


def read_contract(data: bytes) -> Contract:
    """Read the contract from the bytes of a model file, without loading the graph.

    Raises:
        ContractError: not a whole ONNX file, one that refers to other files, one whose graph may run without end, one
            without a contract that this version reads, or a graph whose SHA-256 is not the one in the contract.
        UnicodeDecodeError: metadata that is not UTF-8.
    """
    refuse_unbounded(data)
    found = graph_sha256(data)
    refuse_external_data(data)
    contract = _contract_of(data)
    if found != contract.graph_sha256:
        raise ContractError(
            f"its graph was changed: it has SHA-256 {found[:12]}..., the contract {contract.graph_sha256[:12]}...",
            remedy="fetch or export it again",
        )
    return contract


def _contract_of(data: bytes) -> Contract:
    text = metadata_props(data).get(METADATA_KEY)
    if text is None:
        raise ContractError(f"its metadata has no {METADATA_KEY}", remedy=_REMEDY)
    return Contract.from_json(text)
