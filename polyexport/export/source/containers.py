"""Harmless objects that trainings save beside their tensors, such as an ``argparse.Namespace``: read, but never made.

``torch.load`` with ``weights_only`` refuses every name that it does not know. Each name allowed here leads to a
stand-in of this module, never to the class or function of that name. A stand-in keeps nothing of what a pickle hands to
it, or only a number, and has no attributes that a pickle could set: so no code of argparse, numpy or another package
runs, whatever the file says, and the packages need not be installed.
"""

import struct
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Self

__all__ = ["STAND_INS"]


class _Unread:
    """An object whose contents are of no use here. Its subclasses are named after what they stand for."""

    __slots__ = ()  # without a dictionary of its own, no state can put another function in the place of a method

    def __new__(cls, *_: object) -> Self:
        return super().__new__(cls)

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class _Dictionary:
    """A kind of dictionary, read as the ordered one that ``torch.load`` fills with items."""

    def __new__(cls, *_: object) -> Any:
        """Return the dictionary, without what makes the values of missing keys."""
        return OrderedDict()


_FORMATS = {
    "b1": "?", "i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I", "u8": "Q",
    "f2": "e", "f4": "f", "f8": "d",
}  # fmt: skip
"""Letters of the ``struct`` module for the types of numpy."""


class _NumberType:
    """The type of a numpy scalar: two letters and the order of its bytes."""

    __slots__ = ("code", "order")
    code: str
    order: str

    def __new__(cls, code: object = "", *_: object) -> Self:
        self = super().__new__(cls)
        self.code = code if isinstance(code, str) else ""
        self.order = "<"
        return self

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] == ">":
            self.order = ">"


def _number(kind: object = None, data: object = None, *_: object) -> object:
    """Return a numpy scalar as a number of Python; scalars that are no plain numbers are not read."""
    if isinstance(kind, _NumberType) and kind.code in _FORMATS and isinstance(data, bytes):
        form = kind.order + _FORMATS[kind.code]
        if len(data) == struct.calcsize(form):
            return struct.unpack(form, data)[0]
    return _NumpyScalar()


def _unread(name: str) -> type[_Unread]:
    return type(name.rpartition(".")[2], (_Unread,), {"__slots__": ()})


_NumpyScalar = _unread("numpy.scalar")
_NumpyArray = _unread("numpy.ndarray")

_UNREAD = (
    "torch.torch_version.TorchVersion",
    "argparse.Namespace", "types.SimpleNamespace",
    "pathlib.Path", "pathlib.PosixPath", "pathlib.WindowsPath", "pathlib.PurePosixPath", "pathlib.PureWindowsPath",
    "pathlib._local.PosixPath", "pathlib._local.WindowsPath",
    "datetime.datetime", "datetime.date", "datetime.timedelta",
    # The types of arguments in a Namespace, and of the missing values of a defaultdict.
    "builtins.int", "builtins.float", "builtins.str", "builtins.bool", "builtins.list", "builtins.dict", "typing.Any",
    # Configurations of trainings and what they consist of.
    "omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig", "omegaconf.nodes.AnyNode",
    "omegaconf.base.ContainerMetadata", "omegaconf.base.Metadata",
    # Keys of the callbacks in files of PyTorch Lightning before 1.5.
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    "pytorch_lightning.callbacks.early_stopping.EarlyStopping",
)  # fmt: skip

_DICTIONARIES = (
    "collections.defaultdict",
    "easydict.EasyDict",
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
)

STAND_INS: list[Callable[..., object] | tuple[Callable[..., object], str]] = [
    *((_unread(name), name) for name in _UNREAD),
    *((_Dictionary, name) for name in _DICTIONARIES),
    (_NumberType, "numpy.dtype"),
    (_NumpyArray, "numpy.ndarray"),
    # numpy 1 and numpy 2 spell their modules differently.
    *((_NumpyArray, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
    *((_number, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
]
"""Each stand-in, and the full name of what it stands for, as ``torch.serialization.safe_globals`` takes them."""
