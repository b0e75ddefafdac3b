"""ONNX Runtime's execution providers by our names, and the options that each one gets.

ONNX Runtime takes a misspelt option name without a word, so a test looks every name up in the provider's own library.
"""

import hashlib
import importlib.metadata
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import onnxruntime as ort

from polyexport.runtime.session import SessionOptions

__all__ = [
    "CPU",
    "DEVICES",
    "EXECUTION_PROVIDERS",
    "cuda_options",
    "engine_folder",
    "provider_list",
    "tensorrt_options",
]

CPU = "CPUExecutionProvider"

EXECUTION_PROVIDERS: Mapping[str, str] = MappingProxyType(
    {
        "cpu": CPU,
        "cuda": "CUDAExecutionProvider",
        "tensorrt": "TensorrtExecutionProvider",
        "openvino": "OpenVINO",  # its own runtime: ONNX Runtime's OpenVINO provider offers nothing on an AMD processor
        "webgpu": "WebGpuExecutionProvider",
    }
)

DEVICES: Mapping[str, str] = MappingProxyType({"cuda": "cuda", "tensorrt": "cuda", "webgpu": "webgpu"})
"""Where the tensors of a provider live, in ONNX Runtime's word."""


def provider_list(name: str, options: SessionOptions, model: bytes) -> list[Any]:
    """In ONNX Runtime's order of preference; the next one takes what the first leaves."""
    cuda = (EXECUTION_PROVIDERS["cuda"], cuda_options(options))
    if name == "cuda":
        return [cuda, CPU]
    if name == "tensorrt":
        return [(EXECUTION_PROVIDERS["tensorrt"], tensorrt_options(options, model)), cuda, CPU]
    return [CPU]


def cuda_options(options: SessionOptions) -> dict[str, str]:
    """Provider options for CUDA, each documented in ONNX Runtime's page on the CUDA execution provider."""
    return {
        "device_id": str(options.device_id),
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",  # EXHAUSTIVE tunes anew for every shape
        "use_tf32": str(int(options.use_tf32)),
        "enable_cuda_graph": str(int(options.cuda_graph and options.provider != "tensorrt")),
    }


def tensorrt_options(options: SessionOptions, model: bytes) -> dict[str, str]:
    """Provider options for TensorRT, each documented in ONNX Runtime's page on the TensorRT execution provider."""
    folder = engine_folder(model)
    settings = {
        "device_id": str(options.device_id),
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder.parent),  # of layers, whichever model they are in
        # What a precision of the graph does not say, TensorRT must not choose: its own would have no proof.
        "trt_fp16_enable": str(int(options.precision == "fp16")),
        "trt_int8_enable": str(int(options.precision == "int8")),  # with the scales of the graph's QDQ nodes
    }
    if options.shapes:
        smallest = ",".join(f"{one.name}:{_times(one.smallest)}" for one in options.shapes)
        largest = ",".join(f"{one.name}:{_times(one.largest)}" for one in options.shapes)
        settings |= {
            "trt_profile_min_shapes": smallest,
            "trt_profile_opt_shapes": largest,  # most batches are full
            "trt_profile_max_shapes": largest,
        }
    return settings


def engine_folder(model: bytes) -> Path:
    """Where the engines of a model are kept: building one takes minutes.

    ONNX Runtime's page asks to throw engines away when the model, ONNX Runtime, TensorRT or the GPU changes. The first
    three are in the name of the folder, and ONNX Runtime writes the GPU's compute capability into a file's name.
    """
    versions = f"{ort.__version__}-{_version('tensorrt-cu13-libs')}"
    return _cache_folder() / "tensorrt" / f"{hashlib.sha256(model).hexdigest()[:32]}-{versions}"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # of the system
        return "system"


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _cache_folder() -> Path:
    """Where this system keeps what a program can make again."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "polyexport"
