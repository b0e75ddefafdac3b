"""Runs a task on the bytes of an untrusted model file in a process with limits, which ends after it.

Creating a session already computes: ONNX Runtime folds constants, in native code that holds the interpreter's lock and
cannot be interrupted. So whatever a graph asks for is asked of a process that the system stops.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any, Literal

from polyexport.errors import ContractError, PolyexportError
from polyexport.model.loading.limits import GrantedLimits
from polyexport.storage.strict_json import read_json

__all__ = ["TaskName", "run_confined"]

TaskName = Literal["check", "inspect", "open"]
"""A task of ``polyexport.model.loading.worker``."""

_MAX_ANSWER_BYTES = 4 << 20
_WORKER_CODE = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from polyexport.model.loading.worker import main; main(*sys.argv[2:])"
)
_LAST_WORDS_S = 1.0  # from the end of the answer to the end of the process
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_MORE_TIME = "--load-timeout raises the limit, if you trust the file"
_MORE_MEMORY = "--max-model-memory raises the limit, if you trust the file"
_SIGNALS_OF_TIME = ("SIGPROF", "SIGXCPU", "SIGALRM")


def run_confined(task: TaskName, model: bytes, limits: GrantedLimits) -> dict[str, Any]:
    """Run a task on a model file in a process of its own.

    Args:
        task: what the process does.
        model: bytes of the file.
        limits: its processor time and memory.

    Returns:
        The answer of the task, a JSON object. It comes from a process that had untrusted data.

    Raises:
        ContractError: the file is refused, the process met a limit, or it crashed.
        PolyexportError: no process can be started.
    """
    process = _started(task, model, limits)
    expired = threading.Event()
    timer = threading.Timer(limits.wall_s, _expire, (process, expired))
    timer.daemon = True
    try:
        timer.start()
        threading.Thread(target=_feed, args=(process.stdin, model), daemon=True).start()
        answer = process.stdout.read(_MAX_ANSWER_BYTES + 1)  # type: ignore[union-attr]
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LAST_WORDS_S)
    finally:  # also after Ctrl-C, which the process does not get: it has a session of its own
        timer.cancel()
        _kill(process)
        status = process.wait()
        process.stdout.close()  # type: ignore[union-attr]
    killed_by = "SIGALRM" if expired.is_set() else _signal_name(status)
    return _result(answer, killed_by if len(answer) <= _MAX_ANSWER_BYTES else "", limits)


def _started(task: str, model: bytes, limits: GrantedLimits) -> "subprocess.Popen[bytes]":
    # -I isolates: neither the working folder nor the environment decides which code reads the untrusted file.
    numbers = [str(len(model)), str(limits.seconds), str(limits.wall_s), str(limits.memory_mib)]
    command = [sys.executable or "", "-I", "-c", _WORKER_CODE, json.dumps(sys.path), task, *numbers]
    try:
        return subprocess.Popen(  # noqa: S603 - this interpreter, with arguments of ours
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | _ONE_THREAD,
            start_new_session=True,
        )
    except OSError as error:
        raise PolyexportError(
            f"cannot start a process to check the model ({error.strerror})",
            remedy=f"check that {Path(sys.executable or 'python')} can be run and that there is enough memory",
        ) from error


def _feed(stream: IO[bytes], model: bytes) -> None:
    with contextlib.suppress(OSError, ValueError):  # the process has ended
        stream.write(model)
    with contextlib.suppress(OSError, ValueError):
        stream.close()


def _expire(process: "subprocess.Popen[bytes]", expired: threading.Event) -> None:
    expired.set()
    _kill(process)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill the process and everything that it started, if it still runs."""
    if process.returncode is not None:
        return
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _result(answer: bytes, killed_by: str, limits: GrantedLimits) -> dict[str, Any]:
    if killed_by in _SIGNALS_OF_TIME:
        clock = "on the clock" if killed_by == "SIGALRM" else "of processor time"
        seconds = limits.wall_s if killed_by == "SIGALRM" else limits.seconds
        raise ContractError(f"its first check took more than {seconds:.3g} s {clock}", remedy=_MORE_TIME)
    try:
        value = read_json(answer)
        if value["state"] == "done":
            return dict(value["result"])
        refusal = ContractError(
            f"its first check took more than {limits.memory_mib} MiB of memory", remedy=_MORE_MEMORY
        )
        if value["state"] != "memory":
            refusal = ContractError(str(value["message"]), remedy=str(value["remedy"]))
    except (ValueError, KeyError, TypeError) as error:
        how = f"crashed with {killed_by}" if killed_by else "ended without an answer"
        raise ContractError(
            f"the process that checked it {how}, with {limits.memory_mib} MiB of memory for the model",
            remedy=_MORE_MEMORY,
        ) from error
    raise refusal


def _signal_name(status: int) -> str:
    try:
        return signal.Signals(-status).name if status < 0 else ""
    except ValueError:
        return f"signal {-status}"
