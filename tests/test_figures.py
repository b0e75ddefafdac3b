"""The figures that the documentation shows are the recorded ones."""

import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def tables() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "benchmarks" / "tables.py"))


def test_the_pages_show_what_was_recorded(tables: dict[str, Any]) -> None:
    pages = "".join((ROOT / page).read_text() for page in tables["PAGES"])
    assert tables["redrawn"](pages) == pages, "run python benchmarks/tables.py"
    for part in tables["PARTS"]:
        assert f"<!-- figures: {part} -->" in pages


def test_a_changed_figure_is_seen(tables: dict[str, Any]) -> None:
    text = (ROOT / "docs" / "performance.md").read_text()
    changed = text.replace(" ms |", "9 ms |", 1)
    assert changed != text
    assert tables["redrawn"](changed) == text


def test_the_picture_shows_what_was_recorded(tables: dict[str, Any]) -> None:
    assert (ROOT / "docs" / "frontier.svg").read_text() == tables["frontier_svg"](), "run python benchmarks/tables.py"
