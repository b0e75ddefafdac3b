"""The API reference of ``make docs`` can be made of every module."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_reference_is_made_without_warnings(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "docs/api.py", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    modules = [path.relative_to(ROOT) for name in ("polyexport", "trainer") for path in (ROOT / name).rglob("*.py")]
    assert len(modules) > 200
    for module in modules:
        page = module.parent if module.name == "__init__.py" else module.with_suffix("")
        assert (tmp_path / f"{page}.html").stat().st_size > 0, module
