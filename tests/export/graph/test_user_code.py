import runpy
from pathlib import Path

import pytest

from polyexport.export.graph.user_code import cause_of


def _error_of(file: Path) -> Exception:
    try:
        runpy.run_path(str(file))
    except (AttributeError, KeyError, RuntimeError, ValueError) as error:
        assert error.__traceback__ is not None
        return error.with_traceback(error.__traceback__.tb_next)  # without the line of this function
    raise AssertionError(f"{file} raises nothing")


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of networks in a folder of installed packages, whose constructor fails."""
    packages = tmp_path / "env" / "site-packages"
    file = packages / "networks" / "unet.py"
    file.parent.mkdir(parents=True)
    file.write_text("def build(depth):\n    raise ValueError(f'no depth {depth}')\n")
    monkeypatch.syspath_prepend(str(packages))
    return file


def test_the_innermost_line_of_the_users_own_code_is_named(tmp_path: Path, library: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text("from networks.unet import build\n\nbuild(\n    7\n)\n")
    assert cause_of(_error_of(own)) == f"ValueError: no depth 7 ({own}, line 3: build()"


def test_a_file_below_this_folder_is_named_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own.py").write_text("x = 1\nx.y\n")
    monkeypatch.chdir(tmp_path)
    assert cause_of(_error_of(tmp_path / "own.py")).endswith("(own.py, line 2: x.y)")


def test_without_one_the_line_of_a_library_is_named_without_the_folders_of_the_environment(library: Path) -> None:
    library.write_text("{}['depth']\n")
    assert cause_of(_error_of(library)) == "KeyError: 'depth' (networks/unet.py, line 1: {}['depth'])"


def test_the_innermost_cause_counts(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text("try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    raise RuntimeError from error\n")
    assert cause_of(_error_of(own)) == f"ZeroDivisionError: division by zero ({own}, line 2: 1 / 0)"
