"""polyexport bench: latency and throughput of a model here, against a target."""

from dataclasses import asdict
from typing import Annotated

import typer

from polyexport.cli.console import build, console
from polyexport.cli.options import DeviceId, JsonFlag, ModelOption, Provider, ProviderOption, Quiet, Threads, Verbose
from polyexport.errors import ExitCode

__all__ = ["bench"]


def bench(
    model: ModelOption = None,
    batch_size: Annotated[
        list[int] | None,
        typer.Option("-b", "--batch-size", min=1, max=1024, help="Repeat it for several.", show_default="1 and 8"),
    ] = None,
    size: Annotated[int, typer.Option(min=0, max=4096, help="Height and width; 0 is the model's own.")] = 0,
    seconds: Annotated[float, typer.Option(min=0.01, help="Time spent on each batch size.")] = 5.0,
    target_ms: Annotated[float, typer.Option(min=1e-6, help="Largest p50 per image that passes.")] = 50.0,
    provider: ProviderOption = Provider.AUTO,
    device_id: DeviceId = 0,
    threads: Threads = 0,
    json_report: JsonFlag = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Time the network on this machine: uint8 batch in memory to uint8 batch in memory."""
    console.set(verbose=verbose, quiet=quiet)

    from polyexport.bench.environment import environment
    from polyexport.bench.scenarios import BenchOptions
    from polyexport.bench.scenarios import bench as run
    from polyexport.model import load_model

    options = build(
        BenchOptions, batch_sizes=tuple(batch_size or (1, 8)), size=size, seconds=seconds, target_ms=target_ms
    )
    loaded = load_model(model, provider=provider.value, threads=threads, device_id=device_id)
    machine = environment()
    if loaded.session.fallback_reason:
        console.info(f"running on {loaded.session.execution_provider} ({loaded.session.fallback_reason})")
    report = run(loaded, options, report=console.info)
    if json_report:
        document = {"environment": asdict(machine), "model_sha256": loaded.sha256}
        console.json({**document, **asdict(report), "target_met": report.target_met})
    elif not quiet:
        console.data(
            f"{report.execution_provider}, {machine.cores_granted} cores of {machine.cpu}, "
            f"ONNX Runtime {machine.onnxruntime}"
        )
        console.data(
            f"{'batch':>5} {'size':>9} {'calls':>6} {'p50 ms':>9} {'p90 ms':>9} {'p99 ms':>9} "
            f"{'ms/image':>9} {'images/s':>9}"
        )
        for scenario in report.scenarios:
            latency = scenario.latency
            console.data(
                f"{scenario.batch_size:>5} {f'{scenario.size}x{scenario.size}':>9} {latency.samples:>6} "
                f"{latency.p50_ms:>9.3f} {latency.p90_ms:>9.3f} {latency.p99_ms:>9.3f} "
                f"{scenario.p50_per_image_ms:>9.3f} {scenario.images_per_s:>9.1f}"
            )
        slowest = max(scenario.p50_per_image_ms for scenario in report.scenarios)
        verdict = "met" if report.target_met else "MISSED"
        console.data(f"target of {options.target_ms:g} ms per image: {verdict} (largest p50 {slowest:.3f} ms)")
    if not report.target_met:
        raise typer.Exit(ExitCode.TARGET_MISSED)
