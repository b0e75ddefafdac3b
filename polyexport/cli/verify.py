"""polyexport verify: is a model file consistent with itself here, is it signed, does it equal its source?"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from polyexport.cli.console import console
from polyexport.cli.options import DeviceId, JsonFlag, LoadTimeout, MaxModelMemory, ProviderOption, Quiet, Verbose
from polyexport.errors import ContractError, UsageError
from polyexport.model.loading.limits import LoadLimits
from polyexport.runtime.providers import AUTO

__all__ = ["verify"]


def verify(
    model: Annotated[Path, typer.Argument(help="Model file.")],
    key: Annotated[
        Path | None,
        typer.Option(help="Public key of whoever should have signed the file.", metavar="PUBLIC_KEY"),
    ] = None,
    signature: Annotated[
        Path | None,
        typer.Option(help="Signature of the file, for --key.", show_default="MODEL.sig", metavar="FILE"),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            help="The checkpoint, or the .toml file of the network, that it was exported from: repeats the whole "
            "proof, with TensorFloat-32 off. Needs torch.",
            metavar="SOURCE",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of images for the proof.", show_default="generated drawings", metavar="DIR"),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Value of a condition for --images. May be repeated.", metavar="NAME=VALUE"),
    ] = None,
    with_: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            help="Folder of second pictures that have the names of the images. May be repeated.",
            show_default="made from the images",
            metavar="NAME=DIR",
        ),
    ] = None,
    passport: Annotated[
        str | None,
        typer.Option(
            help="Compare two execution providers node by node, and put the result beside the model, as "
            "MODEL.passport.json: REFERENCE,PROVIDER, or one PROVIDER to compare it with cpu.",
            metavar="[REFERENCE,]PROVIDER",
        ),
    ] = None,
    passport_model: Annotated[
        Path | None,
        typer.Option(
            help="Another file of the same network, which the second provider of --passport runs instead of MODEL; "
            "the first node that differs is printed, and nothing is written.",
            metavar="FILE",
        ),
    ] = None,
    provider: ProviderOption = AUTO,
    device_id: DeviceId = 0,
    load_timeout: LoadTimeout = 0.0,
    max_model_memory: MaxModelMemory = 0,
    json_report: JsonFlag = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Check a model file: that it is consistent with itself here, who signed it, and what it was made from.

    Consistent with itself means that its hash holds and that its golden samples repeat on this machine and provider.
    Hash and samples are in the file, so whoever changes the file can change them as well. Only --key proves who signed
    it, and only --against proves that it equals its source.
    """
    console.set(verbose=verbose, quiet=quiet)
    if signature is not None and key is None:
        raise UsageError("--signature was given without --key", remedy="add --key with the public key of the signer")
    if passport_model is not None and passport is None:
        raise UsageError("--passport-model was given without --passport", remedy="add --passport with two providers")
    pair = None
    if passport is not None:
        from polyexport.passport.compare import check_pair, parse_pair

        pair = parse_pair(passport)
        check_pair(pair, two_files=passport_model is not None)

    from polyexport.model.file import read_model
    from polyexport.model.loading.load import open_model
    from polyexport.model.samples import read_samples
    from polyexport.runtime.session import SessionOptions

    data = read_model(model)
    signed: dict[str, Any] | None = None
    if key is not None:
        from polyexport.model.signature import check_signature

        checked = check_signature(model, data, key=key, signature=signature)
        signed = {"signature": checked.file, "key": key, "key_sha256": checked.key_sha256}
        console.info(f"signature {checked.file} holds for {key}, which has SHA-256 {checked.key_sha256}")
    options = SessionOptions(provider=provider, device_id=device_id, use_tf32=False, cache=True)
    limits = LoadLimits(seconds=load_timeout, memory_mib=max_model_memory)
    loaded = open_model(data, options, name=str(model), limits=limits)
    session = loaded.session
    if session.fallback_reason:
        console.info(f"running on {session.execution_provider} ({session.fallback_reason})")
    try:
        differences = [loaded.golden_difference, *map(loaded.repeat_golden, read_samples(data))]
    except ContractError as error:
        raise ContractError(f"model {model} is refused: {error.message}", remedy=error.remedy) from error
    document = {
        "model": str(model),
        "sha256": loaded.sha256,
        "graph_sha256": loaded.contract.graph_sha256,
        "execution_provider": session.execution_provider,
        "golden_samples": len(differences),
        "golden_difference_levels": max(differences),
        "signed": signed,
    }
    console.info(f"contract and graph SHA-256 {loaded.contract.graph_sha256} hold")
    console.info(f"golden samples: {len(differences)}, at most {max(differences):.4f} levels off")
    if against is not None:
        from polyexport.cli.sources import load, read_images
        from polyexport.export.precision import REFERENCE
        from polyexport.export.proof.own_images import MAX_OWN_IMAGES
        from polyexport.export.proof.verify import verify_against

        network = load(against)
        own = read_images(
            network,
            images,
            assignments=set_ or (),
            pictures=with_ or (),
            limit=None if loaded.contract.precision == REFERENCE.name else MAX_OWN_IMAGES,
        )
        stage, fidelity = verify_against(data, network, options, images=own, report=console.info)
        document |= {"parity": asdict(stage), "fidelity": [asdict(one) for one in fidelity]}
    entry = None
    if pair is not None:
        from polyexport.cli.passport_lines import describe_entry
        from polyexport.cli.verify_passport import check_passport, make_passport

        entry = make_passport(model, data, loaded, pair, other=passport_model, device_id=device_id, limits=limits)
        document |= {"passport": asdict(entry)}
    if json_report:
        console.json(document)
    elif not quiet:
        consistent = f"consistent with itself (hash and {_counted(len(differences))})"
        shown = (
            [] if signed is None else [f"signed with the private key of {key} (SHA-256 {signed['key_sha256'][:12]}...)"]
        )
        shown.append(consistent if against is None else f"verified, equal to {against}")
        if signed is None and against is None:
            shown.append("which does not prove where it comes from (--key and --against do)")
        console.data(f"{model}: {', '.join(shown)}, on {session.execution_provider}")
        for line in describe_entry(entry) if entry is not None else ():
            console.data(line)
    if entry is not None:
        check_passport(entry, passport_model)


def _counted(samples: int) -> str:
    return f"{samples} golden sample{'' if samples == 1 else 's'}"
