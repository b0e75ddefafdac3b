"""One run of a program as a process of its own: its time, the CPU time of all that it started, and why it failed."""

import contextlib
import os
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from polyexport.errors import PolyexportError
from polyexport.storage.streams import one_line

__all__ = ["ProcessTime", "run_process"]

_SHOWN_BYTES = 4096
"""Bytes at the end of standard error that are read for a message."""

_SHOWN_CHARACTERS = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessTime:
    """Time that a process took from its start to its end."""

    wall_s: float
    cpu_s: float
    """CPU time of the process and of all processes that it started and waited for, in user and system mode, seconds."""

    exit_code: int


def run_process(command: Sequence[str], *, timeout_s: float, accepted: Sequence[int] = (0,)) -> ProcessTime:
    """Run a command to its end, without a shell, without input and in a process group of its own.

    What it prints is dropped, except the last line of standard error, which a message of failure quotes.

    Args:
        command: program and arguments.
        timeout_s: time after which the group is killed, seconds.
        accepted: exit codes that are no failure.

    Raises:
        PolyexportError: the program cannot be started, has another exit code, or takes longer.
    """
    with tempfile.TemporaryFile() as errors:
        before, started = _children_cpu_s(), time.perf_counter()
        try:
            process = subprocess.Popen(  # noqa: S603 - the user's own command line
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise PolyexportError(f"{command[0]} cannot be started ({reason})", remedy="check the command") from error
        try:
            exit_code = process.wait(timeout_s)
            wall_s = time.perf_counter() - started
        except subprocess.TimeoutExpired as error:
            raise PolyexportError(
                f"it did not end within {timeout_s:g} s{_quoted(errors)}", remedy="give a longer --compare-timeout"
            ) from error
        finally:
            _kill_group(process)
        cpu_s = _children_cpu_s() - before
        if exit_code not in accepted:
            how = f"exit code {exit_code}" if exit_code >= 0 else f"signal {_name(-exit_code)}"
            raise PolyexportError(
                f"it ended with {how}{_quoted(errors)}", remedy="run the command by hand, and check its arguments"
            )
    return ProcessTime(wall_s=wall_s, cpu_s=cpu_s, exit_code=exit_code)


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    """End what is left of a process group: after a timeout or an interrupt, and children that nobody waits for."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _quoted(errors: IO[bytes]) -> str:
    """Last line that a program wrote to standard error, to be put behind a message; empty without one."""
    size = errors.seek(0, os.SEEK_END)
    errors.seek(max(0, size - _SHOWN_BYTES))
    lines = [line.strip() for line in errors.read().decode(errors="replace").splitlines() if line.strip()]
    return f": {one_line(lines[-1])[:_SHOWN_CHARACTERS]}" if lines else ""


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
