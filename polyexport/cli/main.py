"""Entry point: the commands, and what every one of them does with errors and signals."""

import signal
import sys
import traceback
from types import FrameType
from typing import Annotated, NoReturn

import typer

from polyexport import __version__
from polyexport.cli.bench import bench
from polyexport.cli.console import console
from polyexport.cli.dataset import dataset
from polyexport.cli.doctor import doctor
from polyexport.cli.evaluate import evaluate
from polyexport.cli.export import export
from polyexport.cli.infer import infer
from polyexport.cli.train import train
from polyexport.errors import ExitCode, PolyexportError

__all__ = ["app", "main"]

app = typer.Typer(
    name="polyexport",
    help="A conditional image-to-image network from a PyTorch checkpoint to a folder of finished images.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (train, dataset, export, infer, evaluate, bench, doctor):
    app.command()(command)


class Stopped(BaseException):
    """A signal asked the process to end. Not an ``Exception``: nothing on the way may take it for a failure."""

    def __init__(self, exit_code: ExitCode) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        console.data(f"polyexport {__version__}")
        raise typer.Exit


def _stop(number: int, _frame: FrameType | None) -> None:
    # The second signal gets the system's default: at once.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_DFL)
    raise Stopped(ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.TERMINATED)


def main() -> NoReturn:
    """Run one command and exit with its code."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, _stop)
    try:
        app()
    except PolyexportError as error:
        if console.verbose:
            traceback.print_exc()
        console.error(f"error: {error}")
        sys.exit(error.exit_code)
    except Stopped as stopped:
        console.error("interrupted" if stopped.exit_code is ExitCode.INTERRUPTED else "terminated")
        sys.exit(stopped.exit_code)
    except ModuleNotFoundError as error:
        if console.verbose:
            traceback.print_exc()
        console.error(f"error: the package {error.name} is missing; install it with pip install 'polyexport[train]'")
        sys.exit(ExitCode.FATAL)
    except Exception as error:  # noqa: BLE001 - the last resort: a bug still ends in one line
        if console.verbose:
            traceback.print_exc()
        reason = f"{type(error).__name__}: {error}"
        console.error(f"internal error: {reason}; run again with -v and report the traceback")
        sys.exit(ExitCode.FATAL)
    raise AssertionError("typer exits by itself")


if __name__ == "__main__":
    main()
