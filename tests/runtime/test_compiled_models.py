"""Keys of compiled models: everything that decides what is compiled."""

import pytest

from polyexport.runtime import compiled_models as module
from polyexport.runtime.compiled_models import compiled_key, compiled_models

OPTIONS = {"NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "bf16"}


def test_equal_causes_have_equal_keys() -> None:
    assert compiled_key(b"model", "numpy", OPTIONS) == compiled_key(b"model", "numpy", dict(reversed(OPTIONS.items())))


def test_other_causes_have_other_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [
        compiled_key(b"model", "numpy", OPTIONS),
        compiled_key(b"another", "numpy", OPTIONS),
        compiled_key(b"model", "pillow", OPTIONS),
        compiled_key(b"model", "no such package", OPTIONS),
        compiled_key(b"model", "numpy", OPTIONS | {"NUM_STREAMS": 2}),
    ]
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    keys.append(compiled_key(b"model", "numpy", OPTIONS))
    monkeypatch.setattr(module, "cpu_identity", lambda: "another processor")
    keys.append(compiled_key(b"model", "numpy", OPTIONS))
    assert len(set(keys)) == len(keys)


def test_they_stand_in_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYEXPORT_CACHE_DIR", "/somewhere")
    assert str(compiled_models().folder) == "/somewhere/compiled-models"
    monkeypatch.setenv("POLYEXPORT_CACHE_DIR", "off")
    assert compiled_models().folder is None
