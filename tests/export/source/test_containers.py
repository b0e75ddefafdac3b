"""Objects beside the tensors: harmless ones are read without being made, all others are refused."""

import argparse
import builtins
import collections
import datetime
import io
import os
import pathlib
import pickle
import subprocess
import sys
import types
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.fabric.utilities.data import AttributeDict

from polyexport.errors import CheckpointError
from polyexport.export.source import containers
from polyexport.export.source.containers import STAND_INS
from polyexport.export.source.weights import read_weights
from polyexport.export.source.weights_file import read_file

NAMES = [one[1] for one in STAND_INS if isinstance(one, tuple)]
STATE = {"layer.weight": torch.ones(2)}

HARMLESS: dict[str, Callable[[], Any]] = {
    "torch version": lambda: torch.__version__,
    "Namespace": lambda: argparse.Namespace(lr=1e-4, norm=int, inner=argparse.Namespace(path=Path("a") / "b")),
    "SimpleNamespace": lambda: types.SimpleNamespace(lr=1e-4),
    "defaultdict": lambda: collections.defaultdict(list, losses=[0.5, 0.25]),
    "Counter": lambda: collections.Counter([1, 1]),
    "AttributeDict": lambda: AttributeDict(lr=1e-4),
    "numpy scalar": lambda: np.float64(31.25),
    "numpy array": lambda: np.arange(3.0),
    "numpy texts": lambda: np.array(["a", "b"]),
    "random states": lambda: (np.random.get_state(), torch.get_rng_state()),
    "paths": lambda: [pathlib.PurePosixPath("a"), pathlib.PureWindowsPath("a"), Path("a")],
    "size": lambda: STATE["layer.weight"].shape,
    "dates": lambda: [datetime.datetime.now(tz=datetime.UTC).replace(tzinfo=None), datetime.timedelta(1)],
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_objects_stand_beside_weights(tmp_path: Path, name: str, legacy: bool) -> None:
    content = {"extra": HARMLESS[name](), "state_dict": STATE}
    before = set(torch.serialization.get_safe_globals())
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
    assert "state_dict.layer.weight" in read_weights(tmp_path / "w.pth").tensors
    assert set(torch.serialization.get_safe_globals()) == before


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    numbers = [np.float64(31.25), np.float32(-2), np.float16(0.5), np.int64(-7), np.uint8(200), np.bool_(True)]
    torch.save({"numbers": numbers, "epoch": np.int64(42), **STATE}, tmp_path / "w.pth")
    assert read_file(tmp_path / "w.pth").values["numbers"] == [31.25, -2, 0.5, -7, 200, True]
    assert read_weights(tmp_path / "w.pth").progress == "epoch 42"


def rewritten(path: Path, old: bytes, new: bytes) -> Path:
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(path.with_name("new.pth"), "w") as target:
        assert any(old in source.read(entry) for entry in source.infolist())
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry).replace(old, new))
    return path.with_name("new.pth")


def test_names_of_numpy_1(tmp_path: Path) -> None:
    """numpy 1 spells its module ``numpy.core``."""
    torch.save({"psnr": np.float64(31.25), "array": np.ones(2), **STATE}, tmp_path / "w.pth")
    assert read_file(rewritten(tmp_path / "w.pth", b"numpy._core.", b"numpy.core.")).values["psnr"] == 31.25


def test_numbers_of_machines_with_the_other_order_of_bytes(tmp_path: Path) -> None:
    torch.save({"number": np.int32(258), **STATE}, tmp_path / "w.pth")
    swapped = rewritten(tmp_path / "w.pth", b"X\x01\x00\x00\x00<", b"X\x01\x00\x00\x00>")
    assert read_file(swapped).values["number"] == 0x02010000


def test_packages_that_are_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {}
    for module, name in (("omegaconf.dictconfig", "DictConfig"), ("easydict", "EasyDict")):
        assert module not in sys.modules
        base = dict if name == "EasyDict" else object
        made[name] = type(name, (base,), {"__module__": module})
        monkeypatch.setitem(sys.modules, module.partition(".")[0], types.ModuleType("package"))
        monkeypatch.setitem(sys.modules, module, types.ModuleType(module))
        setattr(sys.modules[module], name, made[name])
    config, easy = made["DictConfig"](), made["EasyDict"](lr=1)
    config.__dict__["_content"] = {"lr": 1}
    easy.__dict__["lr"] = 1
    torch.save({"hyper_parameters": config, "easy": easy, **STATE}, tmp_path / "w.ckpt")
    monkeypatch.undo()
    values = read_file(tmp_path / "w.ckpt").values
    assert type(values["hyper_parameters"]).__module__ == containers.__name__
    assert values["easy"] == {"lr": 1}


# ---------------------------------------------------------------------------------------------------------------------
# Hostile files


class Call:
    """Pickled as a call of a function, and then as state and items for what it returns."""

    def __init__(
        self, function: Any, *arguments: Any, state: Any = None, items: Mapping[str, Any] | None = None
    ) -> None:
        self.reduced = (function, arguments, state, None)
        self.items = items or {}

    def __reduce__(self) -> Any:
        return (*self.reduced, iter(self.items.items()))


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda marker: Call(os.system, f"touch {marker}"), "posix.system"),
        (lambda marker: Call(builtins.eval, f"open({str(marker)!r}, 'w')"), "eval"),
        (lambda marker: Call(builtins.exec, f"open({str(marker)!r}, 'w')"), "exec"),
        (lambda marker: Call(builtins.open, str(marker), "w"), "open"),
        (lambda marker: Call(subprocess.Popen, ["touch", str(marker)]), "Popen"),
        (lambda marker: Call(os.mkdir, str(marker)), "posix.mkdir"),
        (lambda marker: Call(getattr, Path(str(marker)), "touch"), "getattr"),
        (lambda marker: Call(np.save, str(marker), 1), "numpy.save"),
    ],
)
@pytest.mark.parametrize("place", ["beside", "Namespace", "defaultdict", "AttributeDict"])
def test_a_call_is_refused_wherever_it_stands(tmp_path: Path, call: Any, name: str, place: str) -> None:
    hostile = call(tmp_path / "marker")
    places = {
        "beside": hostile,
        "Namespace": argparse.Namespace(lr=hostile),
        "defaultdict": collections.defaultdict(list, lr=hostile),
        "AttributeDict": AttributeDict(lr=hostile),
    }
    torch.save({"args": places[place], **STATE}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=f"asks for .*{name}"):
        read_file(tmp_path / "w.pth")
    assert not (tmp_path / "marker").exists()


def pickled(body: bytes) -> bytes:
    """An archive whose pickle is written by hand: protocol 2, one object, and a tensor's worth of nothing."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + body + b".")
        archive.writestr("archive/version", b"3")
    return file.getvalue()


NAMESPACE = b"cargparse\nNamespace\n)\x81"


@pytest.mark.parametrize(
    "state",
    [
        {"__setstate__": 1, "__class__": 2, "__dict__": 3},
        (None, {"__class__": 1, "x": 2}),
        ({"x": 1}, {"__setstate__": 2}),
        "text",
    ],
)
def test_a_namespace_keeps_no_state(tmp_path: Path, state: Any) -> None:
    body = pickle.dumps(state, protocol=2)[2:-1]
    (tmp_path / "w.pth").write_bytes(pickled(b"}X\x01\x00\x00\x00a" + NAMESPACE + body + b"b" + body + b"bs"))
    found = read_file(tmp_path / "w.pth").values["a"]
    assert type(found).__name__ == "Namespace"
    assert not hasattr(found, "__dict__")
    assert not hasattr(found, "x")


def test_attributes_do_not_hide_the_methods_of_a_dictionary(tmp_path: Path) -> None:
    """``torch.load`` gives an ordered dictionary every attribute that a pickle names."""
    hidden = dict.fromkeys(("items", "keys", "get", "__iter__"), 0)
    inner = Call(collections.OrderedDict, state=hidden, items=STATE)
    content = Call(collections.OrderedDict, state=hidden, items={**STATE, "inner": inner, "color_map": inner})
    torch.save(content, tmp_path / "w.pth")
    assert list(read_weights(tmp_path / "w.pth").tensors) == [
        "layer.weight",
        "inner.layer.weight",
        "color_map.layer.weight",
    ]


@given(st.binary(max_size=40), st.sampled_from(NAMES))
def test_no_bytes_make_more_than_one_line(tmp_path_factory: pytest.TempPathFactory, junk: bytes, name: str) -> None:
    path = tmp_path_factory.mktemp("any") / "w.pth"
    module, _, kind = name.rpartition(".")
    path.write_bytes(pickled(f"}}X\x01\x00\x00\x00ac{module}\n{kind}\n".encode() + junk + b"s"))
    try:
        read_file(path)
    except CheckpointError as error:
        assert len(str(error).splitlines()) == 1


def test_only_stand_ins_are_allowed() -> None:
    for stand_in in STAND_INS:
        assert isinstance(stand_in, tuple)
        assert stand_in[0].__module__ == containers.__name__
    assert len(set(NAMES)) == len(NAMES)
