"""ONNX Runtime's CUDA provider: NVIDIA GPUs."""

import ctypes
import sys

import onnxruntime as ort

from polyexport.runtime.onnxruntime_session import DeviceSession, create_session
from polyexport.runtime.provider import Provider
from polyexport.runtime.session import SessionOptions

__all__ = ["PROVIDER", "CudaProvider", "cuda_entry"]

_CUDA = "CUDAExecutionProvider"


def cuda_entry(options: SessionOptions) -> tuple[str, dict[str, str]]:
    """CUDA's entry in ONNX Runtime's list of providers: its name and its options.

    ONNX Runtime's page on the CUDA execution provider documents each option. ONNX Runtime accepts a misspelled option
    without an error, so a test looks every name up in the provider's library.
    """
    return _CUDA, {
        "device_id": str(options.device_id),
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",  # EXHAUSTIVE tunes again for every shape
        "use_tf32": str(int(options.use_tf32)),
    }


class CudaProvider(Provider):
    """CUDA, and the base of TensorRT, which needs the same libraries and driver and the same place for tensors."""

    name = "cuda"
    execution_provider = _CUDA
    remedy = (
        "install the GPU libraries with `pip install 'polyexport[cuda]'` and an NVIDIA driver, or use --provider cpu"
    )
    auto_rank: int | None = 100
    on_device = True
    reserves_gpu = True
    precision_advice = "give an fp16 or fp32 model"  # ONNX Runtime has no int8 convolution for CUDA

    def preload(self) -> None:
        """Load the libraries of CUDA and cuDNN from the packages that the extra installs; failures are printed."""
        ort.preload_dlls()

    def open(self, model: bytes, options: SessionOptions) -> DeviceSession:
        """Open a session with CUDA first and the CPU behind it."""
        session = create_session(model, options, [cuda_entry(options)])
        return DeviceSession(session, device="cuda", device_id=options.device_id)

    def float_bits(self, options: SessionOptions) -> int:
        """Return 10, the bits of TensorFloat-32, unless the options forbid it."""
        return 10 if options.use_tf32 else 23

    def driver_fault(self) -> str:
        """Report a missing NVIDIA driver; empty if it is there."""
        try:
            ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        except OSError:
            return "no NVIDIA driver"
        return ""


PROVIDER = CudaProvider()
