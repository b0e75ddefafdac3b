"""Names of providers, and what they may be compared on."""

import importlib.util
from pathlib import Path

import pytest
from two_sides import Disturb, convolutions

from polyexport.errors import ContractError, PolyexportError, ProviderError, UsageError
from polyexport.model.model import Model
from polyexport.passport.compare import Pair, check_pair, compare_providers, parse_pair
from polyexport.runtime.probe import probe_provider

SELF = Pair(reference="cpu", candidate="cpu")


def test_one_name_is_compared_with_cpu() -> None:
    assert parse_pair("openvino") == Pair(reference="cpu", candidate="openvino")
    assert parse_pair("openvino, cuda") == Pair(reference="openvino", candidate="cuda")


@pytest.mark.parametrize("text", ["", ",", "cpu,", "cpu,openvino,cuda", "nothing", "auto", "cpu;openvino", "CPU"])
def test_other_texts_are_refused_with_the_names(text: str) -> None:
    with pytest.raises(UsageError, match="cpu, cuda, tensorrt, openvino, webgpu"):
        parse_pair(text)


def test_a_provider_that_is_not_here() -> None:
    if probe_provider("cuda").works:
        pytest.skip("CUDA works")
    with pytest.raises(ProviderError, match="cuda execution provider cannot be used"):
        check_pair(Pair(reference="cpu", candidate="cuda"), two_files=False)


def test_a_provider_is_not_compared_with_itself_on_one_file() -> None:
    with pytest.raises(UsageError, match="itself"):
        check_pair(SELF, two_files=False)
    check_pair(SELF, two_files=True)


def test_the_onnx_package_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("polyexport.passport.compare.find_spec", lambda name: None if name == "onnx" else find(name))
    with pytest.raises(PolyexportError, match=r"polyexport\[inspect\]"):
        check_pair(SELF, two_files=True)


def test_an_entry_says_what_was_compared(tiny: bytes, tiny_model: Model, disturb: Disturb) -> None:
    node = convolutions(tiny)[4]
    entry = compare_providers(tiny, tiny_model, SELF, other=disturb(tiny, node, 0.02), other_name="other.onnx")
    assert (entry.agrees, entry.candidate) == (False, entry.reference)
    assert entry.reference.version.startswith("onnxruntime ")
    assert entry.cause is not None
    assert entry.cause.node == node
    assert len(entry.examples) == 3


def test_a_second_file_is_as_untrusted_as_the_first(tiny: bytes, tiny_model: Model, tmp_path: Path) -> None:
    for other in (b"", b"no model", tiny[:-100], bytes(1000)):
        with pytest.raises(ContractError, match=r"other\.onnx is refused|no tensor|unreadable|not"):
            compare_providers(tiny, tiny_model, SELF, other=other, other_name="other.onnx")
