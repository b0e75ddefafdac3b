"""Probes: which execution providers work on this machine, and what the others lack."""

import contextlib
import functools
import io
import os
import re
from dataclasses import dataclass

from polyexport.errors import OutOfMemoryError, PolyexportError, check_memory, reason_of
from polyexport.runtime.native_log import captured_stderr
from polyexport.runtime.provider import Provider, auto_order, load_provider
from polyexport.runtime.session import SessionOptions

__all__ = ["PROBE_MODEL", "ProviderStatus", "auto_choice", "probe_provider"]

PROBE_MODEL = bytes.fromhex(
    "08083a390a0c0a0178120179220452656c75120570726f62655a100a0178120b0a09080112050a0312016e"
    "62100a0179120b0a09080112050a0312016e42040a001011"
)
"""ONNX file with one Relu on float[n], opset 17, IR version 8: the smallest graph that every provider takes. It is
written out because inference does not depend on the onnx package."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderStatus:
    """Whether an execution provider works on this machine."""

    name: str
    execution_provider: str
    works: bool
    reason: str = ""
    """Missing part or failure, in one line; empty if it works."""
    remedy: str = ""
    """Advice that makes it work; empty if it works."""


def auto_choice() -> str:
    """The provider that ``auto`` tries first on this machine."""
    return next(provider.name for provider in auto_order() if probe_provider(provider.name).works)


@functools.cache
def probe_provider(name: str) -> ProviderStatus:
    """Try a provider with a real session of one node, and say what it lacks.

    The result is kept: a machine does not change under a running process.

    Args:
        name: name of a registered provider.

    Raises:
        OutOfMemoryError: memory ran out before it was known whether the provider works.
    """
    provider = load_provider(name)
    reason = provider.missing() or _fault(provider)
    return ProviderStatus(
        name=name,
        execution_provider=provider.execution_provider,
        works=not reason,
        reason=reason,
        remedy=provider.remedy if reason else "",
    )


def _fault(provider: Provider) -> str:
    """Why no session on the provider can be opened; empty if one can."""
    printed = io.StringIO()
    fault = ""
    with captured_stderr() as log:
        with contextlib.redirect_stdout(printed):
            provider.preload()
        try:
            session = provider.open(PROBE_MODEL, SessionOptions(threads=1))
            works = session.execution_provider == provider.execution_provider
        except OutOfMemoryError:
            raise
        except PolyexportError as error:
            works, fault = False, error.message
        except Exception as error:  # noqa: BLE001 - whatever a driver raises, the provider does not work
            check_memory(error, f"trying the {provider.name} execution provider")
            works, fault = False, _plain(error)
    if works:
        return ""
    missing = re.findall(r"Failed to load (\S+?\.(?:so|dll)[\w.]*)", printed.getvalue())
    lacking = re.findall(r"(\S+\.(?:so|dll)[\w.]*): cannot open shared object", log.getvalue())
    names = sorted({os.path.basename(path) for path in missing + lacking})  # noqa: PTH119 - names inside a message
    if names:
        return f"missing {', '.join(names)}"
    return fault or provider.driver_fault() or "ONNX Runtime gave a CPU session"


def _plain(error: Exception) -> str:
    """The message of an exception, without the places in ONNX Runtime's source code at its beginning."""
    return reason_of(RuntimeError(str(error).rpartition(" was false. ")[2]))
