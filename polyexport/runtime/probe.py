"""Which execution providers work on this machine, and what the others lack."""

import contextlib
import ctypes
import functools
import importlib.util
import io
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import onnxruntime as ort

from polyexport.errors import reason_of
from polyexport.runtime.native_log import captured_stderr
from polyexport.runtime.onnxruntime_session import CpuSession, create_session, webgpu_devices
from polyexport.runtime.openvino_session import OpenVinoSession
from polyexport.runtime.provider_options import EXECUTION_PROVIDERS
from polyexport.runtime.session import Session, SessionOptions

__all__ = ["AUTO_ORDER", "REMEDIES", "ProviderStatus", "auto_choice", "probe_provider"]

AUTO_ORDER = ("cuda", "openvino", "cpu")
"""What ``auto`` tries, best first. Not TensorRT, which builds for minutes before its first image, and not WebGPU, which
is there for GPUs that nothing else reaches."""

REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        "cpu": "install ONNX Runtime again",
        "cuda": "install the GPU libraries with `pip install 'polyexport[cuda]'` and an NVIDIA driver, "
        "or use --provider cpu",
        "tensorrt": "install TensorRT with `pip install 'polyexport[tensorrt]'` and an NVIDIA driver, "
        "or use --provider cuda or cpu",
        "openvino": "install it with `pip install 'polyexport[openvino]'`, or use --provider cpu",
        "webgpu": "install it with `pip install 'polyexport[webgpu]'`, a GPU's driver and, on Linux, libvulkan1, "
        "or use --provider cpu",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderStatus:
    """Whether an execution provider works on this machine."""

    name: str
    execution_provider: str
    works: bool
    reason: str = ""
    """What it lacks, in one line."""
    remedy: str = ""
    """How to get it."""


def auto_choice() -> str:
    """The provider that ``auto`` tries first here."""
    return next(name for name in AUTO_ORDER if probe_provider(name).works)


@functools.cache
def probe_provider(name: str) -> ProviderStatus:
    """Try a provider with a real one-node session, and say what it lacks.

    The result is kept: a machine does not change under a running process.
    """
    missing = _missing_part(name)
    if not missing:
        missing = _fault(name)
    return ProviderStatus(
        name=name,
        execution_provider=EXECUTION_PROVIDERS[name],
        works=not missing,
        reason=missing,
        remedy=REMEDIES[name] if missing else "",
    )


def _missing_part(name: str) -> str:
    """What is not there to be tried."""
    package = {"openvino": "openvino", "webgpu": "onnxruntime_ep_webgpu"}.get(name)
    if package is not None:
        return "" if importlib.util.find_spec(package) else f"the package {package} is not installed"
    if EXECUTION_PROVIDERS[name] not in ort.get_available_providers():
        return f"this ONNX Runtime ({ort.__version__}) was built without it"
    return ""


def _fault(name: str) -> str:
    """Why a session on the provider does not come to be; empty if it does."""
    printed = io.StringIO()
    fault = ""
    with captured_stderr() as log:
        if name in ("cuda", "tensorrt"):
            with contextlib.redirect_stdout(printed):
                ort.preload_dlls()
        if name == "tensorrt":
            _preload_tensorrt()
        try:
            if name == "webgpu" and not webgpu_devices():
                return "it finds no GPU that it can use"
            works = _probe_session(name).execution_provider == EXECUTION_PROVIDERS[name]
        except Exception as error:  # noqa: BLE001 - whatever a driver raises, the provider does not work
            works, fault = False, _plain(error)
    if works:
        return ""
    missing = re.findall(r"Failed to load (\S+?\.(?:so|dll)[\w.]*)", printed.getvalue())
    lacking = re.findall(r"(\S+\.(?:so|dll)[\w.]*): cannot open shared object", log.getvalue())
    names = sorted({os.path.basename(path) for path in missing + lacking})  # noqa: PTH119 - names inside a message
    if names:
        return f"missing {', '.join(names)}"
    return fault or _cuda_driver_fault() or "ONNX Runtime gave a CPU session"


def _probe_session(name: str) -> Session:
    options = SessionOptions(threads=1)
    if name == "openvino":
        return OpenVinoSession(_PROBE_MODEL, options)
    session: CpuSession = create_session(_PROBE_MODEL, name, options, metadata={})
    return session


def _plain(error: Exception) -> str:
    """The message of an exception without the places in ONNX Runtime's source that it begins with."""
    return reason_of(RuntimeError(str(error).rpartition(" was false. ")[2]))


def _preload_tensorrt() -> None:
    """`pip` puts TensorRT's libraries where no loader looks."""
    found = importlib.util.find_spec("tensorrt_libs")
    for folder in (found.submodule_search_locations or ()) if found else ():
        for pattern in ("libnvinfer.so.*", "libnvonnxparser.so.*", "nvinfer_[0-9]*.dll", "nvonnxparser_[0-9]*.dll"):
            for library in sorted(Path(folder).glob(pattern)):
                with contextlib.suppress(OSError):  # the session says what is missing
                    ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


def _cuda_driver_fault() -> str:
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return "no NVIDIA driver"
    return ""


# Relu on float[n], opset 17, IR version 8: the smallest graph that every provider takes. Written out, because the
# inference side does not depend on the onnx package.
_PROBE_MODEL = bytes.fromhex(
    "08083a390a0c0a0178120179220452656c75120570726f62655a100a0178120b0a09080112050a0312016e"
    "62100a0179120b0a09080112050a0312016e42040a001011"
)
