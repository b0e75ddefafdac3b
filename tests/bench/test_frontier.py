from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyexport.bench.document import Variant
from polyexport.bench.frontier import dominated, frontier
from polyexport.errors import UsageError


def variant(name: str, psnr_db: float | None, image_ms: float | None) -> Variant:
    return Variant(
        model=name, precision="fp32", provider="cpu", psnr_db=psnr_db, image_ms=image_ms, dominated_by="", note=""
    )


def test_who_is_dominated_and_by_whom() -> None:
    good, fast, slow, worse, same, unknown = dominated(
        [
            variant("good", 50.0, 4.0),
            variant("fast", 45.0, 1.0),
            variant("slow", 50.0, 5.0),
            variant("worse", 44.0, 4.5),
            variant("same", 50.0, 4.0),
            variant("unknown", 60.0, None),
        ]
    )
    assert [one.dominated_by for one in (good, fast, same, unknown)] == [""] * 4
    assert slow.dominated_by == "good on cpu"
    assert worse.dominated_by == "fast on cpu"


@given(st.lists(st.tuples(st.floats(1, 100), st.floats(0.1, 100)), min_size=1, max_size=12))
def test_somebody_is_never_dominated_and_on_the_frontier_faster_is_worse(places: list[tuple[float, float]]) -> None:
    judged = dominated([variant(str(number), *place) for number, place in enumerate(places)])
    best = sorted({(one.image_ms, one.psnr_db) for one in judged if not one.dominated_by})
    assert best
    qualities = [quality for _, quality in best if quality is not None]
    assert len(qualities) == len(best)
    assert qualities == sorted(qualities)


def test_models_on_every_provider_that_is_there(tiny_model_path: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    found = frontier([tiny_model_path, broken], size=16, seconds=0.02)
    loaded = [one for one in found if not one.note]
    assert {one.provider for one in loaded} >= {"cpu", "openvino"}
    assert all(one.psnr_db is not None and 0 < one.psnr_db < 100 for one in loaded)
    assert any("broken" in one.model and "not a whole ONNX model" in one.note for one in found)


def test_no_model_at_all(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no model"):
        frontier([tmp_path / "missing.onnx"], size=0, seconds=0.02)
