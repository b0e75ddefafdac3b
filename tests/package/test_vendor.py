from collections.abc import Callable
from pathlib import Path

import pytest

from polyexport.package.vendor import vendored_modules

ROOT = Path(__file__).parents[2]

FILES = {
    "house/__init__.py": "",
    "house/entry.py": "import os\nfrom house.room import door\nfrom house.room.door import handle\n",
    "house/room/__init__.py": "import house.wall",
    "house/room/door.py": "def handle():\n    from house import late\n    import house.nowhere, numpy",
    "house/wall.py": "import house.entry",
    "house/late.py": "import typing\nif typing.TYPE_CHECKING:\n    import house.types\nelse:\n    import house.other",
    "house/other.py": "",
    "house/types.py": "",
    "house/row.py": "import house.unused_by_others",
    "house/unused_by_others.py": "",
}


@pytest.fixture
def house(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_every_import_is_followed(house: Path) -> None:
    left_out = {"house/types.py", "house/row.py", "house/unused_by_others.py"}
    expected = {name: text.encode() for name, text in sorted(FILES.items()) if name not in left_out}
    found = vendored_modules(["house.entry"], root=house)
    assert found == expected
    assert list(found) == list(expected)


def test_a_row_of_a_registry_is_an_entry_of_its_own(house: Path) -> None:
    found = vendored_modules(["house.entry", "house.row"], root=house)
    assert set(FILES) - set(found) == {"house/types.py"}


def test_an_entry_that_is_no_module(house: Path) -> None:
    with pytest.raises(ValueError, match=r"house\.cellar is not a module below"):
        vendored_modules(["house.entry", "house.cellar"], root=house)


def test_a_package_carries_the_very_bytes_of_the_project(package: Callable[..., Path]) -> None:
    folder = package() / "runtime_modules"
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert files == {name: (ROOT / name).read_bytes() for name in files}
    assert {"polyexport/package/runner.py", "polyexport/model/canvas.py", "polyexport/imaging/pixels.py"} <= set(files)
    providers = {name for name in files if name.startswith("polyexport/runtime/providers/")}
    assert providers == {f"polyexport/runtime/providers/{name}.py" for name in ("__init__", "cpu", "cuda")}
    rooms = {name.split("/")[1] for name in files}
    assert rooms == {"__init__.py", "errors.py", "imaging", "model", "package", "runtime", "storage"}
