"""polyexport: image-to-image networks from PyTorch or ONNX to finished images.

    import polyexport

    model = polyexport.load_model()
    [[red, blue]] = model.colorize(["outline.png"], ["red", "blue"])  # uint8 [H, W, 3] each

    denoiser = polyexport.load_model("denoiser.onnx")
    [clean] = denoiser.apply(["noisy.png"], {"sigma": 25})

    report = polyexport.infer_folder("drawings", colors="red")  # -> drawings-colored/red/*.png

Importing it, and running a model, needs neither torch nor onnx.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polyexport.errors import (
        CheckpointError,
        ColorError,
        ContractError,
        DatasetError,
        ExitCode,
        ImageError,
        ModelError,
        OutputError,
        ParityError,
        PolyexportError,
        ProviderError,
        SignatureError,
        UsageError,
    )
    from polyexport.imaging.color import Color, parse_color
    from polyexport.model.contract import Contract
    from polyexport.model.loading.limits import LoadLimits
    from polyexport.model.loading.load import load_model
    from polyexport.model.model import Model
    from polyexport.pipeline.events import (
        Event,
        ImageFinished,
        NotificationsFailed,
        ProviderChosen,
        RunFinished,
        RunStarted,
        WatchWaiting,
    )
    from polyexport.pipeline.infer_folder import infer_folder
    from polyexport.pipeline.results import ItemResult, RunReport

__version__ = "0.1.0"

# ONNX Runtime 1.31 keeps an identity of the machine in the home folder and has an address to report to. It looks for
# this when it is imported, so it is said here, before any module does that.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = [
    "CheckpointError",
    "Color",
    "ColorError",
    "Contract",
    "ContractError",
    "DatasetError",
    "Event",
    "ExitCode",
    "ImageError",
    "ImageFinished",
    "ItemResult",
    "LoadLimits",
    "Model",
    "ModelError",
    "NotificationsFailed",
    "OutputError",
    "ParityError",
    "PolyexportError",
    "ProviderChosen",
    "ProviderError",
    "RunFinished",
    "RunReport",
    "RunStarted",
    "SignatureError",
    "UsageError",
    "WatchWaiting",
    "__version__",
    "infer_folder",
    "load_model",
    "parse_color",
]

_HOMES = {
    "Color": "polyexport.imaging.color",
    "parse_color": "polyexport.imaging.color",
    "Contract": "polyexport.model.contract",
    "Model": "polyexport.model.model",
    "LoadLimits": "polyexport.model.loading.limits",
    "load_model": "polyexport.model.loading.load",
    "infer_folder": "polyexport.pipeline.infer_folder",
    "Event": "polyexport.pipeline.events",
    "ImageFinished": "polyexport.pipeline.events",
    "NotificationsFailed": "polyexport.pipeline.events",
    "ProviderChosen": "polyexport.pipeline.events",
    "RunFinished": "polyexport.pipeline.events",
    "RunStarted": "polyexport.pipeline.events",
    "WatchWaiting": "polyexport.pipeline.events",
    "ItemResult": "polyexport.pipeline.results",
    "RunReport": "polyexport.pipeline.results",
}


def __getattr__(name: str) -> Any:
    # On first use: `polyexport --help` should not wait for ONNX Runtime.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES.get(name, "polyexport.errors")), name)


def __dir__() -> list[str]:
    return sorted(__all__)
