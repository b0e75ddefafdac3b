"""Model files: the contract, the conditions, the canvas, and the object that runs a model."""

from typing import Any

__all__: list[str] = []


def __getattr__(name: str) -> Any:
    # In version 0.1.0 this was the module that knew where the shipped model is; scripts import it from here.
    if name != "default_model_path":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import warnings

    from polyexport.model.file import default_model_path

    warnings.warn(
        "polyexport.model.default_model_path is deprecated; import it from polyexport.model.file",
        DeprecationWarning,
        stacklevel=2,
    )
    return default_model_path
