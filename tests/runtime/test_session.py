"""What every provider's session promises about memory, measured in a process of its own."""

import subprocess
import sys

import pytest

from polyexport.runtime.probe import probe_provider
from polyexport.runtime.providers import PROVIDER_MODULES

_MIB = 1024**2

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads resident memory from /proc")

_BEGIN = """
import sys, numpy as np
from polyexport.model.file import default_model_path
from polyexport.model.model import Model
from polyexport.runtime.session import SessionOptions

options = SessionOptions(provider=sys.argv[1], threads=1, releases_memory=sys.argv[2] == "True")
model = Model.from_bytes(default_model_path().read_bytes(), options)

def held():
    return int(open("/proc/self/statm").read().split()[1])

def call(height, width):
    model.run(np.zeros((1, height, width, 3), np.uint8), np.zeros((1, 3), np.uint8))
"""

_MANY_SIZES = """
sizes = [(64 * rows, 64 * columns) for rows in range(1, 4) for columns in range(1, 14)]
for size in [sizes[-1], *sizes[:18]]:
    call(*size)
before = held()
for size in sizes[18:]:
    call(*size)
print(held() - before)
"""

_LARGE_CALL = """
before = held()
call(1024, 1024)
print(held() - before)
"""


def grown_bytes(provider: str, code: str, *, releases_memory: bool = False) -> int:
    if not probe_provider(provider).works:
        pytest.skip(probe_provider(provider).reason)
    command = [sys.executable, "-c", _BEGIN + code, provider, str(releases_memory)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(done.stdout) * 4096


# WebGPU is left out: only its own tests name a software driver.
@pytest.mark.parametrize("provider", sorted(set(PROVIDER_MODULES) - {"webgpu"}))
def test_memory_follows_the_largest_image_and_not_the_number_of_sizes(provider: str) -> None:
    # Before kernels were bounded, 40 sizes took 68 MiB on OpenVINO.
    assert grown_bytes(provider, _MANY_SIZES) < 20 * _MIB


@pytest.mark.parametrize("provider", ["cpu", pytest.param("openvino", marks=pytest.mark.slow)])
def test_memory_of_a_large_call_is_given_back(provider: str) -> None:
    kept, released = (grown_bytes(provider, _LARGE_CALL, releases_memory=on) for on in (False, True))
    assert released < kept / 4
