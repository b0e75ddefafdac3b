"""Loading a model file that may come from anybody: checked in a process with limits first, then used here."""

from pathlib import Path

from polyexport.model.file import default_model_path, read_model
from polyexport.model.loading.limits import DEFAULT_LIMITS, LoadLimits
from polyexport.model.loading.verdicts import passed_before, remember
from polyexport.model.model import Model
from polyexport.runtime.session import SessionOptions

__all__ = ["load_model", "open_model"]


def load_model(
    path: str | Path | None = None,
    *,
    provider: str = "auto",
    threads: int = 0,
    streams: int = 1,
    images: int = 0,
    device_id: int = 0,
    signed_by: str | Path | None = None,
    limits: LoadLimits = DEFAULT_LIMITS,
    cache: bool = True,
) -> Model:
    """Load a model file.

    A file that has not been loaded before is first loaded in a process with limits of time and memory.

    Args:
        path: a file that ``polyexport export`` wrote; the shipped model if None.
        provider: ``auto`` takes the best provider that works; a named one is required.
        threads: number of threads of one call on the CPU; 0 shares all available cores among the streams.
        streams: number of calls at a time.
        images: number of images to come, 0 if unknown; for few, ``auto`` passes over a provider that starts slowly.
        device_id: number of the GPU.
        signed_by: public key, PEM, with which the file must have been signed; its signature stands beside it.
        limits: limits of the first load of an unknown file.
        cache: keep the compiled model in the user's cache folder, and take it from there, with a provider that
            compiles for long.

    Raises:
        ContractError: missing, damaged, without the contract, or beyond the limits.
        SignatureError: the signature is missing, or does not hold for this file and this key.
        ProviderError: the named provider cannot be used.
        OutOfMemoryError: the model needs more memory than there is.
    """
    file = Path(path) if path is not None else default_model_path()
    options = SessionOptions(
        provider=provider, threads=threads, streams=streams, images=images, device_id=device_id, cache=cache
    )
    data = read_model(file, signed_by=Path(signed_by) if signed_by is not None else None)
    return open_model(data, options, name=str(file), limits=limits)


def open_model(
    data: bytes, options: SessionOptions | None = None, *, name: str = "", limits: LoadLimits = DEFAULT_LIMITS
) -> Model:
    """Load a model from the bytes of its file, which may come from anybody.

    Args:
        data: bytes of the file.
        options: where it runs; the best provider that works if None.
        name: name of the file for messages.
        limits: limits of the first load of an unknown file.

    Raises:
        ContractError: refused as in ``Model.from_bytes``, or beyond the limits.
        ProviderError: the named provider cannot be used.
        PolyexportError: no process can be started to check the file.
    """
    granted = limits.granted(len(data))

    def admit(sha256: str) -> None:
        if not passed_before(sha256, granted):
            from polyexport.model.loading.confinement import run_confined  # not needed at most starts

            run_confined("check", data, granted)
            remember(sha256, granted)

    return Model.from_bytes(data, options, name=name, admit=admit)
