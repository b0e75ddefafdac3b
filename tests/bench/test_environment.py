from dataclasses import replace

from polyexport.bench.environment import environment


def test_other_versions_are_named() -> None:
    now = environment()
    assert now.differences(now) == []
    assert now.differences(replace(now, onnxruntime="1.0")) == [f"onnxruntime: 1.0 then, {now.onnxruntime} now"]


def test_only_installed_runtimes_are_named() -> None:
    now = replace(environment(), onnxruntime="1.0", openvino="", torch="2.0")
    assert now.runtimes() == (("ONNX Runtime", "1.0"), ("PyTorch", "2.0"))
