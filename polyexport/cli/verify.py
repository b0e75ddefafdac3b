"""polyexport verify: does a model file still compute what was proven of it, here and on this provider?"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from polyexport.cli.console import console
from polyexport.cli.options import DeviceId, JsonFlag, ProviderOption, Quiet, Verbose
from polyexport.runtime.providers import AUTO

__all__ = ["verify"]


def verify(
    model: Annotated[Path, typer.Argument(help="Model file.")],
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
    provider: ProviderOption = AUTO,
    device_id: DeviceId = 0,
    json_report: JsonFlag = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Check a model file: its hash, its contract and its golden sample, on this machine and this provider."""
    console.set(verbose=verbose, quiet=quiet)

    from polyexport.model.file import read_model
    from polyexport.model.model import Model
    from polyexport.runtime.session import SessionOptions

    data = read_model(model)
    options = SessionOptions(provider=provider, device_id=device_id, use_tf32=False)
    loaded = Model.from_bytes(data, options, name=str(model))
    session = loaded.session
    if session.fallback_reason:
        console.info(f"running on {session.execution_provider} ({session.fallback_reason})")
    document = {
        "model": str(model),
        "sha256": loaded.sha256,
        "graph_sha256": loaded.contract.graph_sha256,
        "execution_provider": session.execution_provider,
        "golden_difference_levels": loaded.golden_difference,
    }
    console.info(f"contract and graph SHA-256 {loaded.contract.graph_sha256} hold")
    console.info(f"golden sample: {loaded.golden_difference:.4f} levels off on {session.execution_provider}")
    if against is not None:
        from polyexport.cli.sources import load, read_images
        from polyexport.export.proof.verify import verify_against

        stage, fidelity = verify_against(data, load(against), options, images=read_images(images), report=console.info)
        document |= {"parity": asdict(stage), "fidelity": [asdict(one) for one in fidelity]}
    if json_report:
        console.json(document)
    elif not quiet:
        proven = f"equal to {against}" if against else "as it was exported"
        console.data(f"{model}: verified, {proven}, on {session.execution_provider}")
