from pathlib import Path

import numpy as np
import pytest

from polyexport.bench import compare as module
from polyexport.bench.compare import CONTENDERS, compare
from polyexport.bench.scenarios.scenario import Settings
from polyexport.errors import UsageError
from polyexport.model.model import Model

SETTINGS = Settings(size=16, seconds=0.02)


def test_every_contender_does_the_same_work(tiny_model: Model, tiny_model_path: Path, tiny_checkpoint: Path) -> None:
    names = [name for name in CONTENDERS if name != "torch-compile"]
    found = compare(tiny_model, tiny_model_path, names, checkpoint=tiny_checkpoint, macs=1000, settings=SETTINGS)
    assert [one.name for one in found] == ["polyexport", *names]
    assert [one.ratio is None for one in found] == [True] + [False] * len(names)
    exact = {one.name: one.max_difference for one in found if one.name != "openvino"}
    assert max(exact.values()) <= 1
    assert all(one.mean_difference < 0.5 for one in found)
    assert all(one.versions for one in found)


def test_without_pytorch_the_reference_is_onnx_runtime(tiny_model: Model, tiny_model_path: Path) -> None:
    ours, plain = compare(
        tiny_model, tiny_model_path, ["onnxruntime-loop"], checkpoint=None, macs=1000, settings=SETTINGS
    )
    assert ours.max_difference == plain.max_difference == 0
    assert plain.ratio is not None
    assert plain.ratio.low <= plain.ratio.estimate <= plain.ratio.high


def test_a_wrong_result_is_seen(tiny_model: Model, tiny_model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = module._BUILD["onnxruntime-loop"]

    def wrong(name: module.ContenderName, work: module._Work) -> module._Contender:
        built = real(name, work)
        return module._Contender(built.name, built.how, built.versions, lambda: np.zeros_like(built.call()))

    monkeypatch.setitem(module._BUILD, "onnxruntime-loop", wrong)
    _, plain = compare(tiny_model, tiny_model_path, ["onnxruntime-loop"], checkpoint=None, macs=1000, settings=SETTINGS)
    assert plain.max_difference > 100


def test_pytorch_needs_a_checkpoint(tiny_model: Model, tiny_model_path: Path) -> None:
    with pytest.raises(UsageError, match="exported from") as refusal:
        compare(tiny_model, tiny_model_path, ["torch"], checkpoint=None, macs=1000, settings=SETTINGS)
    assert refusal.value.remedy == "give --checkpoint"


def test_a_vocabulary_and_its_pytorch(vocabulary_model: Model, vocabulary_checkpoint: Path) -> None:
    path = vocabulary_checkpoint.with_suffix(".onnx")
    found = compare(vocabulary_model, path, ["torch"], checkpoint=vocabulary_checkpoint, macs=1000, settings=SETTINGS)
    assert found[0].max_difference <= 1
