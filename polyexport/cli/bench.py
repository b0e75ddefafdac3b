"""polyexport bench: how fast a model is here, beside the machine's limit, a target, an older run and other ways."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from polyexport.cli.console import build, console
from polyexport.cli.options import DeviceId, JsonFlag, ModelOption, Provider, ProviderOption, Quiet, Threads, Verbose
from polyexport.errors import ExitCode, UsageError

__all__ = ["bench"]


class Scenario(StrEnum):
    """What can be measured."""

    LATENCY = "latency"
    THROUGHPUT = "throughput"
    END_TO_END = "end-to-end"
    PALETTE = "palette"
    COLD_START = "cold-start"


def bench(
    scenarios: Annotated[
        list[Scenario] | None,
        typer.Argument(metavar="SCENARIO", help="What to measure.", show_default="latency throughput"),
    ] = None,
    model: ModelOption = None,
    batch_size: Annotated[
        list[int] | None,
        typer.Option("-b", "--batch-size", min=1, max=1024, help="For throughput; repeat it.", show_default="1 and 8"),
    ] = None,
    size: Annotated[int, typer.Option(min=0, max=4096, help="Height and width; 0 is the model's own.")] = 0,
    seconds: Annotated[float, typer.Option(min=0.01, help="Of each of the three windows of a measurement.")] = 2.0,
    rate: Annotated[
        float, typer.Option(min=0, max=10_000, help="latency: requests a second; 0 for one after the other.")
    ] = 0.0,
    colors: Annotated[int, typer.Option(min=1, max=1024, help="palette: how many.")] = 8,
    images: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="end-to-end: what to color.", show_default="generated drawings"),
    ] = None,
    processes: Annotated[int, typer.Option(min=3, max=1000, help="cold-start: how many.")] = 21,
    compare: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="With commas between: torch, torch-compile, openvino, onnxruntime-loop, seed-style.",
            show_default=False,
        ),
    ] = "",
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What the model was exported from, for --compare torch.")
    ] = None,
    frontier: Annotated[
        list[Path] | None,
        typer.Option(metavar="MODEL", help="Fidelity against speed of this model on every provider; repeat it."),
    ] = None,
    profile: Annotated[bool, typer.Option("--profile", help="Layer by layer, on ONNX Runtime's CPU provider.")] = False,
    target_ms: Annotated[float, typer.Option(min=1e-6, help="Most milliseconds per image that pass.")] = 50.0,
    percentile: Annotated[float, typer.Option(min=1, max=99.99, help="That the target is held against.")] = 50.0,
    baseline: Annotated[
        Path | None, typer.Option(metavar="OLD.json", help="A report to compare with; exit code 7 if this is worse.")
    ] = None,
    tolerance: Annotated[float, typer.Option(min=0, max=10, help="Growth that is none: 0.05 is 5 %.")] = 0.05,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE.json", help="Keep the report.")] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a page with charts, with everything in it.")
    ] = None,
    provider: ProviderOption = Provider.AUTO,
    device_id: DeviceId = 0,
    threads: Threads = 0,
    json_report: JsonFlag = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Measure a model on this machine: three windows that must agree, or no figure."""
    console.set(verbose=verbose, quiet=quiet)
    if report is not None and (report.suffix.lower() not in (".html", ".htm") or report.is_dir()):
        raise UsageError(f"{report} is no name for a page", remedy="give a file that ends in .html")

    from polyexport.bench.compare import CONTENDERS
    from polyexport.bench.document import read_report
    from polyexport.bench.options import BenchOptions
    from polyexport.bench.run import Extras
    from polyexport.bench.run import bench as run
    from polyexport.bench.table import lines
    from polyexport.model.model import default_model_path
    from polyexport.storage.files import check_writable, write_atomic

    names = tuple(dict.fromkeys(name for name in compare.split(",") if name))
    unknown = [name for name in names if name not in CONTENDERS]
    if unknown:
        raise UsageError(f"cannot compare with {unknown[0]!r}", remedy=f"give some of {', '.join(CONTENDERS)}")
    options = build(
        BenchOptions,
        scenarios=tuple(dict.fromkeys(scenario.value for scenario in scenarios or ())) or ("latency", "throughput"),
        batch_sizes=tuple(dict.fromkeys(batch_size or (1, 8))),
        size=size,
        seconds=seconds,
        rate=rate,
        colors=colors,
        images=images,
        processes=processes,
        target_ms=target_ms,
        percentile=percentile,
    )
    extras = build(
        Extras,
        compare=names,
        checkpoint=checkpoint,
        frontier=tuple(frontier or ()),
        profile=profile,
        baseline=read_report(baseline) if baseline else None,
        baseline_name=baseline.name if baseline else "",
        tolerance=tolerance,
    )
    for file in (output, report):  # before minutes of work, not after
        if file is not None:
            check_writable(file.parent)
    if report is not None:
        from polyexport.bench.page import render
    done = run(
        model or default_model_path(),
        options,
        extras,
        provider=provider.value,
        device_id=device_id,
        threads=threads,
        report=console.info,
    )
    if output is not None:
        write_atomic(output, done.to_json().encode())
        console.info(f"report: {output}")
    if report is not None:
        write_atomic(report, render(done).encode())
        console.info(f"page: {report}")
    if json_report:
        console.data(done.to_json().rstrip("\n"))
    elif not quiet:
        console.data("\n".join(lines(done, extras.baseline)))
    if not done.gate.met or any(change.worse for change in done.changes):
        raise typer.Exit(ExitCode.TARGET_MISSED)
