"""The machine and the software versions that a measurement was taken on."""

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import onnxruntime as ort
import PIL

from polyexport import __version__
from polyexport.runtime.cores import granted_cores
from polyexport.runtime.machine import cpu_name

__all__ = ["Environment", "environment"]

_RUNTIMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "torch": "PyTorch"}
_COMPARED = ("cpu", "cores_granted", "python", "onnxruntime", "openvino", "numpy")


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """A machine and the versions of the software on it.

    The names of the fields are keys of the reports that ``bench`` writes. A version is empty if the package is not
    installed.
    """

    cpu: str
    """Name of the processor."""

    cores_granted: int
    """Number of cores that this process may use."""

    cores_visible: int
    """Number of cores of the machine."""

    load_1min: float
    """Mean number of running or waiting processes over the last minute; 0 where the system does not tell."""

    system: str
    python: str
    polyexport: str
    onnxruntime: str
    numpy: str
    pillow: str
    openvino: str
    torch: str
    """Version of PyTorch; empty if it is not installed."""

    gpu: str
    """Name, memory and driver of each GPU that NVIDIA's driver knows; empty without one."""

    def runtimes(self) -> tuple[tuple[str, str], ...]:
        """Full name and version of each installed runtime that can compute a network."""
        return tuple((label, getattr(self, name)) for name, label in _RUNTIMES.items() if getattr(self, name))

    def differences(self, earlier: "Environment") -> list[str]:
        """Fields that can change a measured time and differ from those of an earlier environment, one line each."""
        return [
            f"{name}: {getattr(earlier, name)} then, {getattr(self, name)} now"
            for name in _COMPARED
            if getattr(earlier, name) != getattr(self, name)
        ]


def environment() -> Environment:
    """Describe this machine."""
    return Environment(
        cpu=cpu_name(),
        cores_granted=granted_cores(),
        cores_visible=os.cpu_count() or 1,
        load_1min=os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0,
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        polyexport=__version__,
        onnxruntime=ort.__version__,
        numpy=np.__version__,
        pillow=PIL.__version__,
        openvino=_version("openvino"),
        torch=_version("torch"),
        gpu=_gpu(),
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _gpu() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    query = [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout  # noqa: S603 - a fixed command
    except (OSError, subprocess.SubprocessError):
        return ""
    return "; ".join(line.strip() for line in told.splitlines())
