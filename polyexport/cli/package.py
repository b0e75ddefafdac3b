"""The command ``polyexport package``: write a folder that runs a model without polyexport."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from polyexport.cli.console import build, console
from polyexport.cli.options import JsonFlag, LoadTimeout, MaxModelMemory, Quiet, RequireSignature, Verbose
from polyexport.model.loading.limits import LoadLimits

__all__ = ["package"]


def package(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Model file that `polyexport export` wrote.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the package.", metavar="DIR")],
    name: Annotated[
        str | None,
        typer.Option(
            help="Name of the model in Triton: letters, digits, '.', '_' and '-'.", show_default="MODEL's name"
        ),
    ] = None,
    require_signature: RequireSignature = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier package that nobody added files to.")
    ] = False,
    load_timeout: LoadTimeout = 0.0,
    max_model_memory: MaxModelMemory = 0,
    json_report: JsonFlag = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Write a folder that runs the model where polyexport is not installed.

    The folder holds the model, its model card, a script that needs no polyexport, a Triton model
    repository, and the SHA-256 of every file.
    """
    console.set(verbose=verbose, quiet=quiet)

    from polyexport.package.triton import TritonOptions
    from polyexport.package.write import write_package

    triton = build(TritonOptions, name=name) if name is not None else None
    limits = LoadLimits(seconds=load_timeout, memory_mib=max_model_memory)
    result = write_package(
        model, output, triton=triton, signed_by=require_signature, overwrite=overwrite, limits=limits
    )
    if json_report:
        console.json({**asdict(result), "size_bytes": result.size_bytes})
    elif not quiet:
        console.data(f"{result.output}: {len(result.files)} files, {result.size_bytes} bytes, model {result.sha256}")
        console.data(f"try it: cd {result.output} && sha256sum -c SHA256SUMS")
