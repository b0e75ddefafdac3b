import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from polyexport.model.file import SHIPPED_SHA256, default_model_path
from polyexport.model.loading import verdicts
from polyexport.model.loading.limits import GrantedLimits
from polyexport.model.loading.verdicts import MAX_VERDICTS, passed_before, remember, verdicts_folder

SHA = "a" * 64
LIMITS = GrantedLimits(seconds=3.5, memory_mib=256)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the verdicts, which does not exist yet; this process has forgotten all."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(verdicts, "_passed", {})
    return tmp_path / "polyexport" / "checked-models"


@pytest.fixture
def forget(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Forget what this process knows without the folder."""
    return lambda: monkeypatch.setattr(verdicts, "_passed", {})


def test_a_verdict_is_remembered_for_its_limits_and_wider_ones(folder: Path, forget: Callable[[], None]) -> None:
    assert not passed_before(SHA, LIMITS)
    remember(SHA, LIMITS)
    forget()
    assert passed_before(SHA, LIMITS)
    assert passed_before(SHA, GrantedLimits(seconds=4, memory_mib=257))
    assert not passed_before(SHA, GrantedLimits(seconds=3, memory_mib=256))
    assert not passed_before("b" * 64, LIMITS)
    assert [path.name for path in folder.iterdir()] == [f"{SHA}.json"]
    assert oct(folder.stat().st_mode & 0o777) == "0o700"


def test_the_process_remembers_without_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (tmp_path / "file").write_text("")
    remember(SHA, LIMITS)
    assert passed_before(SHA, LIMITS)


def test_without_a_home_nothing_is_kept(monkeypatch: pytest.MonkeyPatch, forget: Callable[[], None]) -> None:
    def homeless() -> Path:
        raise RuntimeError("no home")

    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    monkeypatch.setattr(Path, "home", homeless)
    assert verdicts_folder() is None
    remember(SHA, LIMITS)
    forget()
    assert not passed_before(SHA, LIMITS)


def test_the_default_folder_is_below_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert verdicts_folder() == tmp_path / ".cache" / "polyexport" / "checked-models"


def _changed(entry: str, value: object) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        file.write_text(json.dumps(json.loads(file.read_text()) | {entry: value}))

    return change


def _linked(file: Path) -> None:
    file.rename(file.with_name("other"))
    file.symlink_to("other")


def _piped(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize(
    "change",
    [
        _changed("polyexport", "0.0.9"),
        _changed("onnxruntime", "1.0"),
        _changed("format", 2),
        _changed("sha256", "b" * 64),
        _changed("limits", {"seconds": 1e9, "memory_mib": 1e9}),
        _changed("limits", {"seconds": "1", "memory_mib": 1}),
        _changed("more", 1),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(b"[" * 9999),
        lambda file: file.write_bytes(b"\xff\xfe"),
        lambda file: file.chmod(0o620),
        lambda file: file.chmod(0o602),
        lambda file: file.parent.chmod(0o770),
        _linked,
        _piped,
    ],
)
def test_a_verdict_that_another_could_have_written_does_not_count(
    change: Callable[[Path], None], folder: Path, forget: Callable[[], None]
) -> None:
    remember(SHA, LIMITS)
    forget()
    change(folder / f"{SHA}.json")
    assert not passed_before(SHA, LIMITS)


def test_a_verdict_of_another_user_does_not_count(forget: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    remember(SHA, LIMITS)
    forget()
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    assert not passed_before(SHA, LIMITS)


def test_a_folder_that_others_may_write_is_left_alone(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    remember(SHA, LIMITS)
    assert list(folder.iterdir()) == []


def test_a_full_disk_costs_only_the_next_check(
    folder: Path, forget: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    remember(SHA, LIMITS)
    forget()
    assert not passed_before(SHA, LIMITS)
    assert list(folder.iterdir()) == []


def test_the_oldest_are_forgotten(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(parents=True, mode=0o700)
    now = time.time()
    for number in range(MAX_VERDICTS):
        file = folder / f"{number:064x}.json"
        file.touch()
        os.utime(file, (now - 1000 + number, now - 1000 + number))
    remember(SHA, LIMITS)
    left = {path.name for path in folder.iterdir()}
    assert len(left) == MAX_VERDICTS // 2
    assert f"{SHA}.json" in left
    assert f"{0:064x}.json" not in left


def test_the_shipped_models_are_known() -> None:
    """After a new training, the hashes in ``polyexport/model/file.py`` are those of the new files."""
    import hashlib

    artifacts = default_model_path().parent.glob("*.onnx")
    assert {hashlib.sha256(path.read_bytes()).hexdigest() for path in artifacts} == SHIPPED_SHA256
    assert all(passed_before(sha256, GrantedLimits(seconds=0, memory_mib=0)) for sha256 in SHIPPED_SHA256)
