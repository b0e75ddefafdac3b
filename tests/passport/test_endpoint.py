"""What a passport says of the provider that a model was loaded on."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from polyexport.model.loading.load import load_model
from polyexport.passport.compare import compare_providers, parse_pair
from polyexport.passport.document import Endpoint, Entry, Passport, passport_path, write_passport
from polyexport.passport.endpoint import endpoint_of, passport_remark
from polyexport.runtime.session import SessionOptions

if not importlib.util.find_spec("openvino"):
    pytest.skip("OpenVINO is not installed", allow_module_level=True)


@pytest.fixture
def file(tiny: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny)
    return path


@pytest.fixture(scope="module")
def entry(tiny_model_path: Path) -> Entry:
    model = load_model(tiny_model_path, provider="cpu")
    return compare_providers(tiny_model_path.read_bytes(), model, parse_pair("openvino"))


def test_the_cpu_needs_none(file: Path) -> None:
    assert passport_remark(file, load_model(file, provider="cpu")) == ""


def test_without_a_passport_the_command_is_named(file: Path) -> None:
    said = passport_remark(file, load_model(file, provider="openvino"))
    assert "has no passport for openvino (openvino 20" in said
    assert f"`polyexport verify {file} --passport openvino`" in said


def test_a_passport_is_of_this_file_these_versions_and_this_machine(file: Path, entry: Entry) -> None:
    model = load_model(file, provider="openvino")

    def said(*entries: Entry, sha256: str = model.sha256) -> str:
        write_passport(file, Passport(model_sha256=sha256, entries=entries))
        return passport_remark(file, model)

    def other(**changes: object) -> Entry:
        return replace(entry, candidate=replace(entry.candidate, **changes))  # type: ignore[arg-type]

    assert said(entry).startswith("passport: openvino (openvino 20")
    assert said(entry).endswith("agrees with cpu")
    assert "warning: the passport of the model says that cpu gives other results" in said(replace(entry, agrees=False))
    assert "belongs to another file" in said(entry, sha256="b" * 64)
    wrong_bits = other(bits=30 - entry.candidate.bits)  # 7 for 23, and the other way round
    for wrong in (other(version="openvino 2020.1"), other(device="another CPU"), wrong_bits, other(provider="cuda")):
        assert "(it has others)" in said(wrong)
    passport_path(file).write_text("{")
    assert "is no passport of this version" in passport_remark(file, model)


def test_an_endpoint_names_the_machine() -> None:
    found = endpoint_of("openvino", SessionOptions(provider="openvino", use_tf32=False))
    assert found.bits == 23
    assert found.device
    assert isinstance(found, Endpoint)
