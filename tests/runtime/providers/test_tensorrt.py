"""The TensorRT provider: its options, libraries and folder of engines. No test opens a session on it."""

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnxruntime as ort
import pytest

from polyexport.runtime.providers import tensorrt as module
from polyexport.runtime.providers.tensorrt import PROVIDER, engine_folder, tensorrt_options
from polyexport.runtime.session import SessionOptions


@pytest.fixture(autouse=True)
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_engines_of_each_model_are_kept_apart(cache_home: Path) -> None:
    options = tensorrt_options(SessionOptions(device_id=2, cache=True), b"one model")

    assert options["device_id"] == "2"
    folder = engine_folder(b"one model")
    assert folder is not None
    assert options["trt_engine_cache_path"] == str(folder)
    assert cache_home in folder.parents
    assert ort.__version__ in folder.name
    assert folder != engine_folder(b"another")


def test_engines_are_kept_only_where_others_cannot_write(cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache_home / "polyexport" / "tensorrt").mkdir(parents=True)
    (cache_home / "polyexport" / "tensorrt").chmod(0o777)
    assert engine_folder(b"one model") is None
    assert not any("cache" in name for name in tensorrt_options(SessionOptions(cache=True), b"one model"))
    (cache_home / "polyexport" / "tensorrt").chmod(0o755)
    assert engine_folder(b"one model") is not None
    assert not any("cache" in name for name in tensorrt_options(SessionOptions(), b"one model"))
    monkeypatch.setenv("POLYEXPORT_CACHE_DIR", "off")
    assert engine_folder(b"one model") is None


@pytest.mark.parametrize(("precision", "fp16", "int8"), [("fp32", "0", "0"), ("fp16", "1", "0"), ("int8", "0", "1")])
def test_it_computes_in_the_precision_of_the_model(precision: str, fp16: str, int8: str) -> None:
    options = tensorrt_options(SessionOptions(precision=precision), b"")
    assert (options["trt_fp16_enable"], options["trt_int8_enable"]) == (fp16, int8)


def test_its_library_knows_every_option() -> None:
    """ONNX Runtime accepts a misspelled name without an error."""
    found = [*(Path(ort.__file__).parent / "capi").glob("*onnxruntime_providers_tensorrt.*")]
    if not found:
        pytest.skip("this ONNX Runtime has no TensorRT provider")
    content = found[0].read_bytes()
    assert b"\0trt_no_such_option\0" not in content
    for name in tensorrt_options(SessionOptions(cache=True), b""):
        assert f"\0{name}\0".encode() in content, name


def test_cuda_stands_behind_it_and_the_folder_of_engines_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def create(model: bytes, options: SessionOptions, entries: Sequence[tuple[str, Any]]) -> ort.InferenceSession:
        asked.extend(name for name, _ in entries)
        folder = engine_folder(model)
        assert folder is not None
        assert folder.is_dir()
        return None

    monkeypatch.setattr(module, "create_session", create)
    PROVIDER.open(b"one model", SessionOptions(cache=True))
    assert asked == ["TensorrtExecutionProvider", "CUDAExecutionProvider"]


def test_its_libraries_are_loaded_from_where_pip_puts_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "tensorrt_libs"
    folder.mkdir()
    for name in ("__init__.py", "libnvinfer.so.10", "libnvonnxparser.so.10", "libnvinfer_builder_resource.so.10"):
        (folder / name).touch()
    monkeypatch.syspath_prepend(tmp_path)
    loaded: list[str] = []
    monkeypatch.setattr(ort, "preload_dlls", lambda: loaded.append("CUDA's"))
    monkeypatch.setattr(ctypes, "CDLL", lambda path, mode: loaded.append(Path(path).name))
    PROVIDER.preload()
    assert loaded == ["CUDA's", "libnvinfer.so.10", "libnvonnxparser.so.10"]
