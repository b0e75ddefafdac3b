"""The import of a network's class and the building of its module from the arguments of its constructor.

The class is trusted: importing its module runs the module's code, from the current directory too, as ``python -m``
does. While it runs, the network connections of this process are closed, because weights come from the user's file.
"""

import argparse
import contextlib
import functools
import importlib
import inspect
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from polyexport.errors import UsageError, check_memory, reason_of
from polyexport.export.source.texts import ImportPath, expect

__all__ = ["construct", "signature_text"]


def construct(network: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Import a class or function and call it.

    Args:
        network: ``package.module:Class`` of a module, or ``package.module:function`` that makes one.
        arguments: Keyword arguments. An ``ImportPath`` becomes the object that it names; tables of the keys
            ``object``, ``partial``, ``call`` and ``namespace`` become what they describe.

    Returns:
        The module in float32 and evaluation mode.

    Raises:
        UsageError: The import fails, there is no such network, or it refuses its arguments.
    """
    with _offline() as hosts, _importable():
        kind = _find(network)
        known = {name: _made(value, name) for name, value in arguments.items()}
        try:
            # Random values outside of the state dict have to be equal in every export.
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                module = kind if isinstance(kind, nn.Module) and not known else kind(**known)
        except Exception as error:
            check_memory(error, f"building {network}")
            _refuse_download(network, hosts, error)
            raise UsageError(
                f"{network} refuses its arguments ({type(error).__name__}: {reason_of(error)})",
                remedy=f"it takes {signature_text(kind)}; give what it needs as NAME=VALUE or under [arguments]",
            ) from error
    expect(
        isinstance(module, nn.Module),
        f"{network} makes a {type(module).__name__}, expected a torch.nn.Module",
        "name the class of the network, or a function that returns one",
    )
    return module.float().eval()


def signature_text(function: Any) -> str:
    """Return the parameters of a class or function in one line."""
    try:
        text = " ".join(str(inspect.signature(function)).split()).replace("torch.Tensor", "Tensor")
        return reason_of(ValueError(text.partition(" -> ")[0]))
    except (TypeError, ValueError):
        return "arguments that it does not tell"


@contextlib.contextmanager
def _importable() -> Iterator[None]:
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)


def _find(network: str) -> Any:
    module_name, _, name = network.partition(":")
    found = _import(module_name)
    where = getattr(found, "__file__", None) or module_name
    own = [each for each, value in vars(found).items() if _is_network(value) and value.__module__ == module_name]
    remedy = f"the networks of {where} are {', '.join(own[:5])}" if own else f"there is no network in {where}"
    for part in name.split("."):
        expect(hasattr(found, part), f"{network} does not exist", remedy)
        found = getattr(found, part)
    expect(
        _is_network(found) or isinstance(found, nn.Module) or (callable(found) and not isinstance(found, type)),
        f"{network} is neither a class derived from torch.nn.Module nor a function",
        remedy,
    )
    return found


def _is_network(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, nn.Module)


def _import(name: str) -> Any:
    folder = str(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            fault, remedy = f"there is no module {error.name}", f"give one that is installed or stands in {folder}"
        else:
            fault, remedy = f"{name} needs {error.name or reason_of(error)}, which is missing", "install it"
        raise UsageError(fault, remedy=remedy) from error
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"importing {name} failed ({type(error).__name__}: {reason_of(error)})",
            remedy=f"see that `python -c 'import {name}'` works in {folder}",
        ) from error


# ---------------------------------------------------------------------------------------------------------------------
# Arguments that are objects


def _made(value: Any, name: str) -> Any:
    """Make an argument from what was said of it; ``name`` is its name, for messages."""
    if isinstance(value, ImportPath):
        try:
            return _object(value.text)
        except UsageError:
            return value.text  # text that only looks like an import path
    if isinstance(value, list):
        return [_made(each, name) for each in value]
    if not isinstance(value, dict):
        return value
    for key, make in _MAKERS.items():
        if key in value:
            rest = {other: _made(each, f"{name}.{other}") for other, each in value.items() if other != key}
            return make(value[key], rest, name)
    return {key: _made(each, f"{name}.{key}") for key, each in value.items()}


def _object(path: Any) -> Any:
    text = path.text if isinstance(path, ImportPath) else path
    expect(
        isinstance(text, str) and text.count(":") == 1 and all(text.split(":")),
        f"{str(text)[:60]!r} names no object",
        "give package.module:name, such as torch.nn:InstanceNorm2d",
    )
    module_name, _, name = text.partition(":")
    found = _import(module_name)
    for part in name.split("."):
        expect(hasattr(found, part), f"{text} does not exist", f"{module_name} has no {part}")
        found = getattr(found, part)
    return found


def _as_object(path: Any, rest: Mapping[str, Any], name: str) -> Any:
    expect(not rest, f"{name} is an object with {', '.join(rest)}", "give partial or call in place of object")
    return _object(path)


def _as_partial(path: Any, rest: Mapping[str, Any], _: str) -> Any:
    return functools.partial(_object(path), **rest)


def _as_call(path: Any, rest: Mapping[str, Any], name: str) -> Any:
    function = _object(path)
    try:
        return function(**rest)
    except Exception as error:
        raise UsageError(
            f"{path} refuses its arguments for {name} ({type(error).__name__}: {reason_of(error)})",
            remedy=f"it takes {signature_text(function)}",
        ) from error


def _as_namespace(values: Any, rest: Mapping[str, Any], name: str) -> Any:
    expect(
        isinstance(values, dict) and not rest,
        f"{name} is no namespace: {str(values)[:60]}",
        "give {namespace = {name = value}} and nothing beside it",
    )
    return argparse.Namespace(**{key: _made(each, f"{name}.{key}") for key, each in values.items()})


_MAKERS: Mapping[str, Callable[[Any, Mapping[str, Any], str], Any]] = {
    "object": _as_object,
    "partial": _as_partial,
    "call": _as_call,
    "namespace": _as_namespace,
}
"""Key of a table that describes an object -> the function that makes it of the key's value and the other keys."""


# ---------------------------------------------------------------------------------------------------------------------
# No downloads


@contextlib.contextmanager
def _offline() -> Iterator[list[str]]:
    """Refuse connections of this process to other machines, and yield the list of those that were asked for."""
    hosts: list[str] = []

    def refuse(host: object, *_: object, **__: object) -> Any:
        hosts.append(str(host))
        raise OSError(f"no connection to {host} while a network is built")

    def connect(self: socket.socket, address: Any) -> None:
        if self.family == socket.AF_UNIX:
            return kept_connect(self, address)
        return refuse(address[0])  # type: ignore[no-any-return]

    kept, kept_connect = socket.getaddrinfo, socket.socket.connect
    socket.getaddrinfo, socket.socket.connect = refuse, connect  # type: ignore[method-assign, assignment]
    try:
        yield hosts
    finally:
        socket.getaddrinfo, socket.socket.connect = kept, kept_connect  # type: ignore[method-assign]


def _refuse_download(network: str, hosts: list[str], error: BaseException) -> None:
    if hosts:
        raise UsageError(
            f"{network} wants to download something from {hosts[0]} while it is built",
            remedy="leave that out, such as with --argument pretrained=false; its weights come from --weights",
        ) from error
