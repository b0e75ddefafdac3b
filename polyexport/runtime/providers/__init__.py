"""The registry of execution providers: one row each, from the name on the command line to the module that holds it.

``polyexport/runtime/provider.py`` says what a module in the table contains, and how to add one. This module imports
nothing, so that ``polyexport infer --help`` can list the names without loading ONNX Runtime.
"""

from collections.abc import Mapping

__all__ = ["AUTO", "PROVIDER_MODULES", "provider_choices"]

AUTO = "auto"
"""Value of ``--provider`` that takes the best provider that works on this machine."""

PROVIDER_MODULES: Mapping[str, str] = {
    "cpu": "polyexport.runtime.providers.cpu",
    "cuda": "polyexport.runtime.providers.cuda",
    "tensorrt": "polyexport.runtime.providers.tensorrt",
    "openvino": "polyexport.runtime.providers.openvino",
    "webgpu": "polyexport.runtime.providers.webgpu",
}
"""Name of each provider and the module that defines its ``PROVIDER``, in the order in which they are listed."""


def provider_choices() -> tuple[str, ...]:
    """Every value of ``--provider``: ``auto`` and the name of each provider."""
    return (AUTO, *PROVIDER_MODULES)
