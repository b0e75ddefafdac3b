"""What a measurement was taken on."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
import PIL

from polyexport import __version__
from polyexport.cores import granted_cores

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
    )


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
