"""polyexport evaluate: a model's scores on data sets, the flood fill's beside them."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from polyexport.cli.console import console
from polyexport.cli.infer import parse_size
from polyexport.cli.options import DeviceId, JsonFlag, Provider, ProviderOption, Quiet, SizeOption, Threads, Verbose

__all__ = ["evaluate"]


def evaluate(
    model: Annotated[Path, typer.Argument(help="Model file.")],
    data: Annotated[list[Path], typer.Argument(metavar="DATA...", help="Data sets: folders with a data.json.")],
    size: SizeOption = "fit",
    provider: ProviderOption = Provider.AUTO,
    device_id: DeviceId = 0,
    threads: Threads = 0,
    json_report: JsonFlag = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Score a model on data sets, with a flood fill beside it."""
    console.set(verbose=verbose, quiet=quiet)
    wanted = parse_size(size)

    from polyexport.dataset import read_pairs
    from polyexport.evaluate.score import evaluate as score
    from polyexport.model import load_model

    sets = {folder: read_pairs(folder) for folder in data}
    loaded = load_model(model, provider=provider.value, threads=threads, device_id=device_id)
    if loaded.session.fallback_reason:
        console.info(f"running on {loaded.session.execution_provider} ({loaded.session.fallback_reason})")
    results = {folder: score(loaded, pairs, size=wanted) for folder, pairs in sets.items()}
    if json_report:
        console.json({str(folder): asdict(result) for folder, result in results.items()})
        return
    console.data(f"{'data':<24} {'method':<11} {'images':>6} {'PSNR dB':>8} {'min dB':>8} {'within 8':>9} {'exact':>6}")
    for folder, result in results.items():
        for method, summary in (("model", result.model), ("flood fill", result.flood_fill)):
            console.data(
                f"{folder.resolve().name[-24:]:<24} {method:<11} {summary.images:>6} {summary.psnr_mean_db:>8.2f} "
                f"{summary.psnr_min_db:>8.2f} {summary.within_8:>9.4%} {summary.exact:>6}"
            )
