"""What a measurement was taken on."""

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import onnxruntime as ort
import PIL

from polyexport import __version__
from polyexport.runtime.cores import granted_cores

__all__ = ["Environment", "environment"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """The machine and the versions."""

    cpu: str
    cores_granted: int
    cores_visible: int
    load_1min: float
    """Processes that were running or waiting, mean of the minute before; 0 where the system does not tell."""

    system: str
    python: str
    polyexport: str
    onnxruntime: str
    numpy: str
    pillow: str
    openvino: str
    """Empty where it is not installed; so are the next two."""

    torch: str
    gpu: str
    """Name, memory and driver of each GPU that NVIDIA's driver knows."""


def environment() -> Environment:
    """Look at this machine."""
    return Environment(
        cpu=_cpu_name(),
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


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
