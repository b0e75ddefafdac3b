"""ONNX Runtime's TensorRT provider: NVIDIA GPUs, with an engine that TensorRT builds for each model."""

import contextlib
import ctypes
import hashlib
import importlib.metadata
import importlib.util
from pathlib import Path

import onnxruntime as ort

from polyexport.runtime.onnxruntime_session import DeviceSession, create_session
from polyexport.runtime.providers.cuda import CudaProvider, cuda_entry
from polyexport.runtime.session import SessionOptions
from polyexport.storage.cache_folder import cache_folder, folder_fault

__all__ = ["PROVIDER", "engine_folder", "tensorrt_options"]

_LIBRARIES_PACKAGE = "tensorrt-cu13-libs"
_WRITE = 0o022  # permission of others to write


class _TensorRt(CudaProvider):
    name = "tensorrt"
    execution_provider = "TensorrtExecutionProvider"
    remedy = (
        "install TensorRT with `pip install 'polyexport[tensorrt]'` and an NVIDIA driver, or use --provider cuda or cpu"
    )
    packages = (_LIBRARIES_PACKAGE,)
    auto_rank = None  # it builds engines for minutes before its first image
    precision_advice = "give an fp32, fp16 or int8 model whose layers TensorRT has"

    def preload(self) -> None:
        """Load CUDA's libraries, and TensorRT's from where `pip` puts them and no loader looks."""
        super().preload()
        found = importlib.util.find_spec("tensorrt_libs")
        for folder in (found.submodule_search_locations or ()) if found else ():
            for pattern in ("libnvinfer.so.*", "libnvonnxparser.so.*", "nvinfer_[0-9]*.dll", "nvonnxparser_[0-9]*.dll"):
                for library in sorted(Path(folder).glob(pattern)):
                    with contextlib.suppress(OSError):  # the session says what is missing
                        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)

    def float_bits(self, options: SessionOptions) -> int:
        """Return 10: ONNX Runtime has no option that turns TensorFloat-32 off in TensorRT."""
        del options
        return 10

    def open(self, model: bytes, options: SessionOptions) -> DeviceSession:
        folder = engine_folder(model) if options.cache else None
        if folder is not None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # CUDA takes what TensorRT leaves: the uint8 ends of the graph.
        entries = [(self.execution_provider, tensorrt_options(options, model)), cuda_entry(options)]
        return DeviceSession(create_session(model, options, entries), device="cuda", device_id=options.device_id)


def tensorrt_options(options: SessionOptions, model: bytes) -> dict[str, str]:
    """TensorRT's options, each documented in ONNX Runtime's page on the TensorRT execution provider."""
    folder = engine_folder(model) if options.cache else None
    kept = (
        {}
        if folder is None
        else {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(folder),
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(folder.parent),  # timings of layers serve every model
        }
    )
    return {
        "device_id": str(options.device_id),
        **kept,
        # TensorRT must not choose a lower precision than the graph's: nothing would have proven its results.
        "trt_fp16_enable": str(int(options.precision == "fp16")),
        "trt_int8_enable": str(int(options.precision == "int8")),  # with the scales of the graph's QDQ nodes
    }


def engine_folder(model: bytes) -> Path | None:
    """The folder that keeps the engines of a model: building one takes minutes. None if the cache cannot be used.

    ONNX Runtime's page asks to delete engines when the model, ONNX Runtime, TensorRT or the GPU changes. The first
    three are in the name of the folder, and ONNX Runtime writes the GPU's compute capability into a file's name.
    """
    versions = f"{ort.__version__}-{_tensorrt_version()}"
    folder = cache_folder()
    if folder is None or folder_fault(folder / "tensorrt", others=_WRITE):
        return None
    return folder / "tensorrt" / f"{hashlib.sha256(model).hexdigest()[:32]}-{versions}"


def _tensorrt_version() -> str:
    try:
        return importlib.metadata.version(_LIBRARIES_PACKAGE)
    except importlib.metadata.PackageNotFoundError:  # installed by the system's own package manager
        return "system"


PROVIDER = _TensorRt()
