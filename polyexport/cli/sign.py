"""The command ``polyexport sign``: write a detached signature of a model file."""

from pathlib import Path
from typing import Annotated

import typer

from polyexport.cli.console import console
from polyexport.cli.options import JsonFlag, Quiet, Verbose
from polyexport.errors import UsageError

__all__ = ["sign"]


def sign(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Model file that `polyexport export` wrote.")],
    key: Annotated[
        Path,
        typer.Option(
            help="Private key, PEM, on the curve P-256, P-384 or P-521. The passphrase of an encrypted key comes from "
            "POLYEXPORT_KEY_PASSPHRASE or from the terminal.",
            metavar="PRIVATE_KEY",
        ),
    ],
    signature: Annotated[
        Path | None, typer.Option(help="Signature to write.", show_default="MODEL.sig", metavar="FILE")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file with the signature's name.")] = False,
    json_report: JsonFlag = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Sign a model file: write a detached signature of all its bytes, in the format of OpenSSF Model Signing."""
    console.set(verbose=verbose, quiet=quiet)

    from polyexport.cli.signing import read_signing_key
    from polyexport.model.file import read_contract, read_model
    from polyexport.model.signature import signature_path
    from polyexport.storage.files import check_output_file, write_atomic

    target = signature if signature is not None else signature_path(model)
    for taken, name in ((model, "the model"), (key, "the private key")):
        if target.exists() and taken.exists() and target.samefile(taken):
            raise UsageError(f"the signature {target} is {name}", remedy="name another file with --signature")
    if not overwrite and target.is_file():
        raise UsageError(f"the signature {target} exists already", remedy="add --overwrite or give another --signature")
    check_output_file(target)
    signing_key = read_signing_key(key)
    data = read_model(model)
    read_contract(data)  # nothing is signed that this program would refuse
    write_atomic(target, signing_key.sign(data, name=model.name))
    if json_report:
        console.json({"model": model, "signature": target, "key_sha256": signing_key.public.sha256})
    elif not quiet:
        console.data(
            f"{target}: signature of {model}, made with the key whose public part has SHA-256 "
            f"{signing_key.public.sha256}"
        )
