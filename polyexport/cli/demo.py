"""polyexport demo: an HTML page to draw on, with the model in the browser."""

from pathlib import Path
from typing import Annotated

import typer

from polyexport.cli.console import console
from polyexport.cli.options import (
    AllowHost,
    Host,
    HostOption,
    LoadTimeout,
    MaxModelMemory,
    ModelOption,
    Quiet,
    Verbose,
)
from polyexport.errors import UsageError
from polyexport.model.loading.limits import LoadLimits

__all__ = ["demo"]


def demo(
    model: ModelOption = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 takes any free port.")] = 8080,
    host: HostOption = Host.LOOPBACK,
    allow_host: AllowHost = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in this machine's browser.")] = False,
    export: Annotated[
        Path | None,
        typer.Option(
            help="Write the page into this folder for a static web host instead of serving it.", metavar="DIR"
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the folder of an earlier --export.")] = False,
    load_timeout: LoadTimeout = 0.0,
    max_model_memory: MaxModelMemory = 0,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Serve an HTML page to draw on, with the model in the browser and its conditions beside the drawing.

    A model that takes a color fills the drawing beside a flood fill. No drawing leaves the browser, and the page loads
    files from this server only.
    """
    console.set(verbose=verbose, quiet=quiet)
    if overwrite and export is None:
        raise UsageError("--overwrite was given without --export", remedy="add --export DIR, or leave --overwrite out")

    from polyexport.demo.site import export_site, site_files
    from polyexport.model.file import default_model_path

    file = model if model is not None else default_model_path()
    limits = LoadLimits(seconds=load_timeout, memory_mib=max_model_memory)
    if export is not None:
        written = export_site(file, export, overwrite=overwrite, limits=limits)
        total = sum(one.size_bytes for one in written)
        console.info(f"{len(written)} files, {total / 1e6:.1f} MB; serve them over HTTP, with the headers in _headers")
        console.data(str(export))
        return

    from polyexport.demo.server import serve_site

    def ready(url: str) -> None:
        console.info("press Ctrl-C to stop the server")
        if host is not Host.LOOPBACK:
            console.info(
                "other machines open the page by this machine's name; without HTTPS their browsers use one thread"
            )
        console.data(url)
        if open_browser:
            typer.launch(url)

    serve_site(
        site_files(file, limits=limits),
        host=host.value,
        port=port,
        allow_hosts=allow_host or (),
        on_ready=ready,
    )
