"""The Typer application with its commands, each imported from the file of its name when it is to run."""

from collections.abc import Container
from importlib import import_module
from typing import Annotated

import typer

from polyexport import __version__
from polyexport.cli.console import console

__all__ = ["COMMANDS", "make_app"]

COMMANDS = {
    "train": "Train a UNet to fill drawings, or to make a data set's outputs of its inputs, and write a checkpoint.",
    "dataset": "Draw outlines and sketches and their filled counterparts: inputs/, outputs/ and data.json.",
    "export": "Export a network to ONNX, and prove the file equal to the PyTorch model before it gets its name.",
    "sign": "Sign a model file: write a detached signature of all its bytes, in the format of OpenSSF Model Signing.",
    "verify": "Check a model file: that it is consistent with itself here, who signed it, and what it was made from.",
    "inspect": "Show the inputs and outputs of a model, its proof, and the contents of its graph.",
    "package": "Write a folder that runs the model where polyexport is not installed.",
    "infer": "Run a model over images: the shipped one colors outline drawings.",
    "serve": "Run a model on images over HTTP: POST /infer, GET /health, /info, /metrics and /openapi.json.",
    "demo": "Serve an HTML page to draw on, with the model in the browser and its conditions beside the drawing.",
    "evaluate": "Score a model on data sets, beside two fills that need no network.",
    "bench": "Measure the speed of a model on this machine, in three windows that must agree within 10 %.",
    "doctor": "Show versions, granted cores, execution providers and the shipped model.",
}
"""The commands in the order of ``--help``, with their summaries; ``polyexport/cli/NAME.py`` has the function NAME."""


def make_app(loaded: Container[str] = COMMANDS) -> typer.Typer:
    """Make the application.

    Args:
        loaded: names of the commands that can run. The others are only listed, so that their modules are not imported.
    """
    app = typer.Typer(
        name="polyexport",
        help="A conditional image-to-image network from a PyTorch checkpoint to a folder of finished images.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name, summary in COMMANDS.items():
        if name in loaded:
            app.command()(getattr(import_module(f"polyexport.cli.{name}"), name))
        else:
            app.command(name, help=summary)(_listed)
    return app


def _listed() -> None:
    """Stand for a command that is listed and cannot run."""


def _print_version(wanted: bool) -> None:
    if wanted:
        console.data(f"polyexport {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Handle the options that come before the command."""
