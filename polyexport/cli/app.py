"""The Typer application with every command."""

from typing import Annotated

import typer

from polyexport import __version__
from polyexport.cli.bench import bench
from polyexport.cli.console import console
from polyexport.cli.dataset import dataset
from polyexport.cli.demo import demo
from polyexport.cli.doctor import doctor
from polyexport.cli.evaluate import evaluate
from polyexport.cli.export import export
from polyexport.cli.infer import infer
from polyexport.cli.inspect import inspect
from polyexport.cli.package import package
from polyexport.cli.serve import serve
from polyexport.cli.train import train
from polyexport.cli.verify import verify

__all__ = ["app"]

app = typer.Typer(
    name="polyexport",
    help="A conditional image-to-image network from a PyTorch checkpoint to a folder of finished images.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (train, dataset, export, verify, inspect, package, infer, serve, demo, evaluate, bench, doctor):
    app.command()(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        console.data(f"polyexport {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Handle the options that come before the command."""
