"""The gallery's pictures: drawn again from their seed they are the same."""

import io
import re
import runpy
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "polyexport" / "demo" / "page"


def test_the_pictures_are_small_and_drawn_by_the_generator() -> None:
    pytest.importorskip("lucide", reason="needs the drawings extra")
    script = runpy.run_path(str(ROOT / "docs" / "gallery.py"))
    names = sorted(script["GALLERY"])
    assert names == sorted(path.name for path in (PAGE / "gallery").iterdir())
    assert names == sorted(re.findall(r'file: "(.+?)"', (PAGE / "gallery.mjs").read_text()))
    assert sum(path.stat().st_size for path in (PAGE / "gallery").iterdir()) < 300_000
    for name in names:
        kept = Image.open(PAGE / "gallery" / name)
        assert kept.tobytes() == Image.open(io.BytesIO(script["encoded"](name))).tobytes()
        assert kept.size == (512, 512)
