"""Entry point of the program: handling of signals and errors for every command."""

import atexit
import contextlib
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from polyexport.errors import ExitCode, OutOfMemoryError, OutputError, PolyexportError, out_of_memory, reason_of

__all__ = ["main", "program"]

_EXTRAS = {
    "lightning": "train",
    "ray": "ray",
    "cryptography": "sign",
    **dict.fromkeys(("fastapi", "h11", "prometheus_client", "python_multipart", "uvicorn"), "serve"),
    **dict.fromkeys(("torch", "onnx", "onnxscript", "onnxsim", "safetensors"), "export"),
    **dict.fromkeys(("skimage", "matplotlib", "jinja2", "markupsafe"), "evaluate"),
    **dict.fromkeys(("fontTools", "fonticon_mdi7", "lucide", "svgelements"), "drawings"),
}


class Stopped(BaseException):
    """Raised when a signal asks the process to end. Not an ``Exception``, so that no code takes it for a failure."""

    def __init__(self, exit_code: ExitCode) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


_RAISE_AGAIN_DELAY_S = 0.01

_signals: list[Stopped] = []


def _stop(number: int, _frame: FrameType | None) -> None:
    # A second signal gets the system's default action and ends the process at once.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_DFL)
    _signals.append(Stopped(ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.TERMINATED))
    raise _signals[0]


def _raise_again(unraisable: "sys.UnraisableHookArgs") -> None:
    """Raise ``Stopped`` anew after Python dropped it, as it does in callbacks of weak references."""
    if isinstance(unraisable.exc_value, Stopped) and hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, _RAISE_AGAIN_DELAY_S)
    else:
        sys.__unraisablehook__(unraisable)


def _on_timer(_number: int, _frame: FrameType | None) -> None:
    raise _signals[0]


def program() -> NoReturn:
    """Run one command as a process of its own: exit with its code as soon as all exit functions have run.

    The interpreter would go on to take down every package that was imported, which takes two seconds of PyTorch.
    """
    exit_code: int | None = None

    def leave() -> None:
        # With an error here, such as of a full disk, the interpreter ends as it always does, and says so.
        with contextlib.suppress(OSError):
            for stream in filter(None, (sys.stdout, sys.stderr)):
                stream.flush()
            if exit_code is not None:
                os._exit(exit_code)

    atexit.register(leave)  # the first one, so that it runs after all others
    try:
        main()
    except SystemExit as end:
        exit_code = end.code if isinstance(end.code, int) else 0
        raise


def main() -> NoReturn:
    """Run one command and exit with its code."""
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, _on_timer)
        sys.unraisablehook = _raise_again
    for each in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(each) is not signal.SIG_IGN:  # ignored under nohup, and in background jobs of scripts
            signal.signal(each, _stop)
    os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")  # the stages of a run share the cores among themselves
    sys.exit(_run())


def _run() -> int:
    try:
        from polyexport.cli.console import console
    except Stopped as stopped:
        return stopped.exit_code
    try:
        # Imported under the signal handlers, because importing the commands takes a noticeable time.
        import warnings

        from polyexport.cli.app import make_app

        warnings.filterwarnings("ignore", module=r"PIL\.")  # the results have the warnings that matter
        make_app(loaded=sys.argv[1:])()  # the command that runs is one of the arguments
    except PolyexportError as error:
        told = error
        if out_of_memory(error) and not isinstance(error, OutOfMemoryError | OutputError):
            # Some callers of libraries take every exception for a fault of the file or of the network. An output has
            # reasons of its own: a lock that another run holds is EAGAIN, too.
            told = OutOfMemoryError(f"running {_command()}", reason_of(error))
        _explain(error, f"error: {told}", verbose=console.verbose)
        return told.exit_code
    except Stopped as stopped:
        return _stopped(stopped)
    except Exception as error:  # noqa: BLE001 - the last resort: a bug still ends in one line
        if _signals:  # native code, such as a module being imported, may replace the exception by its own
            return _stopped(_signals[0])
        extra = _EXTRAS.get((error.name or "").partition(".")[0]) if isinstance(error, ModuleNotFoundError) else None
        if out_of_memory(error) or (isinstance(error, SystemError) and _is_limited()):
            message = f"error: {OutOfMemoryError(f'running {_command()}', reason_of(error))}"
        elif extra:
            message = f"error: this command needs more packages; install them with pip install 'polyexport[{extra}]'"
        else:
            message = f"internal error: {type(error).__name__}: {error}; run again with -v and report the traceback"
        _explain(error, message, verbose=console.verbose)
        return ExitCode.FATAL
    return ExitCode.OK


def _stopped(stopped: Stopped) -> int:
    from polyexport.cli.console import console

    console.error("interrupted" if stopped.exit_code is ExitCode.INTERRUPTED else "terminated")
    return stopped.exit_code


def _is_limited() -> bool:
    """Whether this process has a limited address space, under which native modules fail without saying why."""
    try:
        import resource
    except ImportError:  # no such limits on this system
        return False
    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def _command() -> str:
    """Name the command that runs, as the user typed it."""
    return " ".join(("polyexport", *sys.argv[1:2]))


def _explain(error: Exception, message: str, *, verbose: bool) -> None:
    from polyexport.cli.console import console

    if verbose:
        import traceback

        traceback.print_exception(error)
    console.error(message)


if __name__ == "__main__":
    program()
