"""The process that has an untrusted model file first: it loads the file under limits, answers, and ends.

It reads the file from stdin and writes one JSON object to stdout. ``loading.confinement`` starts and watches it.
"""

import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from polyexport.errors import PolyexportError, out_of_memory, reason_of
from polyexport.model.model import Model
from polyexport.model.samples import read_samples
from polyexport.runtime.open import open_session
from polyexport.runtime.session import SessionOptions

__all__ = ["main"]

_SAMPLES_S = 1.0
"""Processor time of a check after which no further golden sample is begun, so that a slow model keeps its limit, which
is 3 s or more. `polyexport verify` repeats all of them."""


def main(task: str, size_bytes: str, seconds: str, wall_s: str, memory_mib: str) -> None:
    """Run one task on the model file that comes from stdin.

    Args:
        task: a key of ``_TASKS``.
        size_bytes: size of the file.
        seconds: limit of the processor time from now on.
        wall_s: limit of the time on the clock, after which a process without a parent ends, too.
        memory_mib: limit of the memory that is allocated from now on.
    """
    answers = os.fdopen(os.dup(1), "wb")
    # Native libraries may print to stdout, so the answer goes to a descriptor that they do not have.
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)
    work = _TASKS[task]()
    model = sys.stdin.buffer.read(int(size_bytes))
    _limit(float(seconds), float(wall_s), int(memory_mib))
    try:
        answer: dict[str, Any] = {"state": "done", "result": work(model)}
    except Exception as error:  # noqa: BLE001 - whatever a model raises, it is refused
        answer = _refusal(error)
    answers.write(json.dumps(answer).encode())
    answers.close()
    os._exit(0)  # no library gets to fail at the end


def _refusal(error: Exception) -> dict[str, str]:
    if out_of_memory(error):
        return {"state": "memory"}
    if isinstance(error, PolyexportError):
        return {"state": "refused", "message": error.message, "remedy": error.remedy}
    return {
        "state": "refused",
        "message": reason_of(error),
        "remedy": "give a model that `polyexport export` wrote",
    }


def _limit(seconds: float, wall_s: float, memory_mib: int) -> None:
    """Limit this process from now on; the system ends it with a signal when its time is over."""
    for number in ("SIGPROF", "SIGALRM", "SIGXCPU"):
        if hasattr(signal, number):
            signal.signal(getattr(signal, number), signal.SIG_DFL)
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_REAL, wall_s)
    try:
        import resource
    except ImportError:  # a system without such limits: the parent ends the process after the time on the clock
        return
    spent = resource.getrusage(resource.RUSAGE_SELF)
    whole_s = math.ceil(spent.ru_utime + spent.ru_stime + seconds) + 1
    _lower(resource.RLIMIT_CPU, whole_s)  # the second line behind ITIMER_PROF
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, 0)
    held = _private_bytes()
    if held:
        _lower(resource.RLIMIT_DATA, held + memory_mib * 2**20)


def _lower(limit: int, wanted: int) -> None:
    import resource

    _, hard = resource.getrlimit(limit)
    lowered = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(limit, (lowered, lowered))


def _private_bytes() -> int:
    """Private memory that this process may write, which is what RLIMIT_DATA counts; 0 where that is not known."""
    try:
        with open("/proc/self/status", "rb") as status:  # noqa: PTH123 - a file of the kernel
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith(b"VmData"))
    except (OSError, StopIteration):
        return 0


def _check() -> Callable[[bytes], dict[str, Any]]:
    import onnxruntime  # noqa: F401 - before the limits
    from PIL import PngImagePlugin  # noqa: F401 - the same

    def work(model: bytes) -> dict[str, Any]:
        started = time.process_time()
        loaded = Model.from_bytes(model, SessionOptions(provider="cpu", threads=1))
        for sample in read_samples(model):  # later loads repeat the first golden sample alone
            if time.process_time() - started > _SAMPLES_S:
                break
            loaded.repeat_golden(sample)
        return {}

    return work


def _inspect() -> Callable[[bytes], dict[str, Any]]:
    import onnx.shape_inference  # noqa: F401 - the same
    import onnxruntime  # noqa: F401 - before the limits
    from PIL import PngImagePlugin  # noqa: F401 - the same

    from polyexport.model.inspect import inspect_graph

    return lambda model: asdict(inspect_graph(model))


def _open() -> Callable[[bytes], dict[str, Any]]:
    import numpy as np
    import onnxruntime  # noqa: F401 - before the limits

    def work(model: bytes) -> dict[str, Any]:
        session = open_session(model, SessionOptions(provider="cpu", threads=1))
        feeds = {
            name: np.zeros(
                [(_TRIAL_SIDE if axis else 1) if extent is None else extent for axis, extent in enumerate(value.shape)],
                _DTYPES.get(value.dtype, "float32"),
            )
            for name, value in session.inputs.items()
        }
        try:
            session.run_all(tuple(session.outputs), feeds)
        except Exception as error:
            if out_of_memory(error):
                raise
        return {}  # a run that fails is no refusal: not every graph takes such inputs

    return work


_TRIAL_SIDE = 64
_DTYPES = {"tensor(uint8)": "uint8", "tensor(float16)": "float16", "tensor(int64)": "int64", "tensor(int32)": "int32"}

_TASKS: dict[str, Callable[[], Callable[[bytes], dict[str, Any]]]] = {
    "check": _check,
    "inspect": _inspect,
    "open": _open,
}
"""Tasks by their names: a function that imports what the task needs, and returns the task."""
