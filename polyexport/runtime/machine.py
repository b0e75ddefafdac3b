"""The processor and the GPUs of this machine, by what the system tells without starting a program."""

import functools
import platform
from collections.abc import Mapping
from pathlib import Path

__all__ = ["cpu_identity", "cpu_name", "gpu_names"]

_CPU = Path("/proc/cpuinfo")
_NVIDIA = Path("/proc/driver/nvidia")

_IDENTITY = (
    "vendor_id",
    "cpu family",
    "model",
    "model name",
    "stepping",
    "flags",
    "CPU implementer",
    "CPU part",
    "Features",
)
_MAX_BLOCK_LINES = 64


def cpu_name() -> str:
    """Return the name of the processor."""
    return _first_cpu().get("model name") or platform.processor() or platform.machine()


def cpu_identity() -> str:
    """Return everything that decides which instructions the processor has: names, numbers and flags, in one text.

    Empty where the system does not tell.
    """
    told = _first_cpu()
    return "\n".join(f"{key}: {told[key]}" for key in _IDENTITY if key in told)


def gpu_names(nvidia: Path = _NVIDIA) -> str:
    """Return the names of NVIDIA's GPUs and the version of the driver; empty where the system does not tell.

    Args:
        nvidia: Folder in which the driver describes itself.
    """
    try:
        models = [
            line.partition(":")[2].strip()
            for file in sorted(nvidia.glob("gpus/*/information"))
            for line in file.read_text().splitlines()
            if line.startswith("Model:")
        ]
        driver = next(iter((nvidia / "version").read_text().splitlines()), "")
    except OSError:
        return ""
    version = driver.partition("Kernel Module")[2].split()[:1] or driver.split()[-1:]
    return "; ".join([*models, f"driver {version[0]}"] if version else models)


@functools.cache
def _first_cpu(path: Path = _CPU) -> Mapping[str, str]:
    """Read what Linux says of the first processor. A file of all processors of a large machine takes a while."""
    told: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for _, line in zip(range(_MAX_BLOCK_LINES), file, strict=False):
                if not line.strip():
                    break
                key, _, value = line.partition(":")
                told[key.strip()] = value.strip()
    except OSError:
        return {}
    return told
