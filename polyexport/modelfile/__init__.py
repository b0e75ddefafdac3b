"""Deprecated: the name that a module of version 0.1.0 had. Scripts that import it keep running until version 0.3."""

from typing import Any

__all__: list[str] = []


def __getattr__(name: str) -> Any:
    if name != "graph_sha256":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import warnings

    from polyexport.runtime.onnx_bytes import graph_sha256

    warnings.warn(
        "polyexport.modelfile is deprecated; import graph_sha256 from polyexport.runtime.onnx_bytes",
        DeprecationWarning,
        stacklevel=2,
    )
    return graph_sha256
