"""What each execution provider is given, and what is said of one that does not work."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import onnxruntime as ort
import pytest

from polyexport.runtime import probe as module
from polyexport.runtime.probe import AUTO_ORDER, REMEDIES, ProviderStatus, auto_choice, probe_provider
from polyexport.runtime.provider_options import (
    CPU,
    DEVICES,
    EXECUTION_PROVIDERS,
    cuda_options,
    engine_folder,
    provider_list,
    tensorrt_options,
)
from polyexport.runtime.session import PROVIDERS, InputRange, SessionOptions

SHAPES = (
    InputRange(name="image", smallest=(1, 16, 16, 3), largest=(8, 128, 128, 3)),
    InputRange(name="color", smallest=(1, 3), largest=(8, 3)),
)


@pytest.fixture(autouse=True)
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_cuda_options_are_the_documented_ones() -> None:
    assert cuda_options(SessionOptions(device_id=1, use_tf32=False)) == {
        "device_id": "1",
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",
        "use_tf32": "0",
        "enable_cuda_graph": "0",
    }
    assert cuda_options(SessionOptions(provider="cuda", cuda_graph=True))["enable_cuda_graph"] == "1"


def test_tensorrt_keeps_engines_of_each_model_apart(cache_home: Path) -> None:
    options = tensorrt_options(SessionOptions(device_id=2), b"one model")

    assert options["device_id"] == "2"
    assert options["trt_engine_cache_path"] == str(engine_folder(b"one model"))
    assert cache_home in engine_folder(b"one model").parents
    assert ort.__version__ in engine_folder(b"one model").name
    assert engine_folder(b"one model") != engine_folder(b"another")
    assert not any(name.startswith("trt_profile") for name in options)


@pytest.mark.parametrize(("precision", "fp16", "int8"), [("fp32", "0", "0"), ("fp16", "1", "0"), ("int8", "0", "1")])
def test_tensorrt_computes_in_the_precision_of_the_model(precision: str, fp16: str, int8: str) -> None:
    options = tensorrt_options(SessionOptions(precision=precision), b"")  # type: ignore[arg-type]
    assert (options["trt_fp16_enable"], options["trt_int8_enable"]) == (fp16, int8)


def test_tensorrt_gets_a_profile_for_every_input() -> None:
    options = tensorrt_options(SessionOptions(shapes=SHAPES), b"")
    assert options["trt_profile_min_shapes"] == "image:1x16x16x3,color:1x3"
    assert options["trt_profile_opt_shapes"] == options["trt_profile_max_shapes"] == "image:8x128x128x3,color:8x3"


@pytest.mark.parametrize(
    ("library", "options"),
    [
        ("cuda", cuda_options(SessionOptions())),
        ("tensorrt", tensorrt_options(SessionOptions(shapes=SHAPES), b"")),
    ],
)
def test_every_option_has_a_name_that_its_provider_knows(library: str, options: dict[str, str]) -> None:
    """ONNX Runtime takes a misspelt name without a word."""
    folder = Path(ort.__file__).parent / "capi"
    found = [*folder.glob(f"*onnxruntime_providers_{library}.*")]
    if not found:
        pytest.skip(f"this ONNX Runtime has no {library} provider")
    content = found[0].read_bytes()
    assert b"\0trt_no_such_option\0" not in content
    for name in options:
        assert f"\0{name}\0".encode() in content, name


def test_cuda_stands_behind_tensorrt_and_the_cpu_behind_all() -> None:
    def names(provider: str) -> list[str]:
        return [one if isinstance(one, str) else one[0] for one in provider_list(provider, SessionOptions(), b"")]

    assert names("cpu") == [CPU]
    assert names("cuda") == ["CUDAExecutionProvider", CPU]
    assert names("tensorrt") == ["TensorrtExecutionProvider", "CUDAExecutionProvider", CPU]


def test_every_provider_has_its_remedy_and_its_place() -> None:
    named = set(PROVIDERS) - {"auto"}
    assert named == set(EXECUTION_PROVIDERS) == set(REMEDIES)
    assert set(DEVICES) == named - {"cpu", "openvino"}
    assert AUTO_ORDER == ("cuda", "openvino", "cpu")
    for name in named - {"cpu"}:
        assert f"polyexport[{name}]" in REMEDIES[name]
        assert "--provider " in REMEDIES[name]


def test_auto_takes_the_first_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    def works(*working: str) -> str:
        def probe(name: str) -> ProviderStatus:
            return ProviderStatus(name=name, execution_provider=name, works=name in working)

        monkeypatch.setattr(module, "probe_provider", probe)
        return auto_choice()

    assert works("cpu", "tensorrt", "webgpu") == "cpu"
    assert works("cpu", "openvino") == "openvino"
    assert works("cpu", "openvino", "cuda") == "cuda"


def test_the_cpu_works() -> None:
    assert probe_provider("cpu") == ProviderStatus(name="cpu", execution_provider=CPU, works=True)


@pytest.mark.parametrize("name", ["cuda", "tensorrt"])
def test_the_probe_tells_an_unknown_build_from_a_missing_library(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here = probe_provider.__wrapped__(name)
    assert here.works or here.reason
    assert here.works or here.remedy == REMEDIES[name]
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CPU])
    status = probe_provider.__wrapped__(name)
    assert not status.works
    assert "built without it" in status.reason


@pytest.mark.parametrize(("name", "package"), [("openvino", "openvino"), ("webgpu", "onnxruntime_ep_webgpu")])
def test_a_missing_package_is_named(name: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda wanted: None if wanted == package else find(wanted))
    status = probe_provider.__wrapped__(name)
    assert (status.works, status.reason) == (False, f"the package {package} is not installed")
    assert f"polyexport[{name}]" in status.remedy


def test_a_probe_that_raises_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object, **keywords: object) -> None:
        raise RuntimeError("/a/place/in/its/source.cc:1 " + "x" * 300 + " was false. No supported adapters\nmore")

    monkeypatch.setattr(module, "_missing_part", lambda name: "")
    monkeypatch.setattr(module, "_probe_session", fails)
    assert probe_provider.__wrapped__("openvino").reason == "No supported adapters"


def test_tensorrts_libraries_are_loaded_from_where_pip_puts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tensorrt_libs"
    folder.mkdir()
    for name in ("__init__.py", "libnvinfer.so.10", "libnvonnxparser.so.10", "libnvinfer_builder_resource.so.10"):
        (folder / name).touch()
    monkeypatch.syspath_prepend(tmp_path)
    loaded: list[str] = []
    monkeypatch.setattr(module.ctypes, "CDLL", lambda path, mode: loaded.append(Path(path).name))
    module._preload_tensorrt()
    assert loaded == ["libnvinfer.so.10", "libnvonnxparser.so.10"]
