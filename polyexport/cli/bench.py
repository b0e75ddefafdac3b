"""polyexport bench: the speed of a model on this machine, beside a target, an older report and other programs."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_origin

import typer

from polyexport.bench.scenarios import SCENARIOS, SharedOption, build_scenario, default_scenarios, scenario_options
from polyexport.bench.scenarios.capacity import CapacitySearch
from polyexport.bench.scenarios.scenario import Scenario
from polyexport.cli.console import build, console
from polyexport.cli.options import (
    DeviceId,
    JsonFlag,
    LoadTimeout,
    MaxModelMemory,
    ModelOption,
    ProviderOption,
    Quiet,
    Threads,
    Verbose,
)
from polyexport.errors import ExitCode, UsageError
from polyexport.model.loading.limits import LoadLimits
from polyexport.runtime.providers import AUTO

__all__ = ["bench"]

_DESCRIPTIONS = " ".join(f"{name}: {scenario.description}" for name, scenario in SCENARIOS.items())


def _parameter(shared: SharedOption) -> inspect.Parameter:
    """The parameter of a command for an option that scenarios declare."""
    declared, option = shared.declared, shared.declared.option
    repeated = get_origin(declared.kind) is tuple
    kind = list[declared.kind.__args__[0]] | None if repeated else declared.kind  # type: ignore[name-defined]
    limits = {"min": option.minimum, "max": option.maximum} if option.minimum is not None else {}
    info = typer.Option(
        *option.flags,
        help=f"{option.help} For {' and '.join(shared.scenarios)}.",
        metavar=option.metavar,
        show_default=option.shown_default or True,
        **limits,  # type: ignore[arg-type]
    )
    return inspect.Parameter(
        declared.field,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=None if repeated else declared.default,
        annotation=Annotated[kind, info],
    )


def _with_scenario_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that the scenarios declare, in place of its ``**values``."""
    signature = inspect.signature(command)
    parameters = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    place = 1 + [each.name for each in parameters].index("seconds")
    parameters[place:place] = [_parameter(shared) for shared in scenario_options()]
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return command


def _service_of(chosen: Sequence[Scenario], url: object, others: Mapping[str, object]) -> CapacitySearch | None:
    """The scenario that measures a running service; None if no address is given.

    Args:
        chosen: all scenarios.
        url: address of the service; None without one.
        others: values of the options that are about a model in this process, by their names.

    Raises:
        UsageError: other scenarios or options do not apply to a service.
    """
    if url is None:
        return None
    served = [each for each in chosen if isinstance(each, CapacitySearch)]
    if not served or len(chosen) > 1:
        raise UsageError(
            "--url measures a running service, and only the scenario capacity does that", remedy="name capacity alone"
        )
    given = [name for name, value in others.items() if value]
    if given:
        raise UsageError(f"--url measures a running service, which has its own {given[0]}", remedy="leave it out")
    return served[0]


@_with_scenario_options
def bench(
    scenarios: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SCENARIO",
            help=f"Scenarios to measure. {_DESCRIPTIONS}",
            show_default=" ".join(default_scenarios()),
        ),
    ] = None,
    model: ModelOption = None,
    size: Annotated[
        int, typer.Option(min=0, max=4096, help="Height and width of the images, pixels; 0 is the model's own size.")
    ] = 0,
    seconds: Annotated[
        float, typer.Option(min=0.01, help="Length of each of the three windows of a measurement, seconds.")
    ] = 2.0,
    compare: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Other programs to compare with, separated by commas: torch, torch-compile, openvino, torch-per-image "
            "and the ONNX file of another exporter call by call; onnxruntime-pool and openvino-queue by images per "
            "second on all cores; a folder or ZIP file that `polyexport package` wrote from files to files.",
            show_default=False,
        ),
    ] = "",
    compare_command: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]COMMAND",
            help="Command line of another program to compare `polyexport infer` with, from a folder of files to "
            "another, as whole processes in turn: {input} and {output} stand for the folders, {model} and {color} for "
            "the model file and a color such as #ff6347. No shell reads it. Repeat the option for several.",
            show_default=False,
        ),
    ] = None,
    compare_timeout: Annotated[
        float, typer.Option(min=0.1, help="Time after which a run of a whole process is ended and has failed, seconds.")
    ] = 600.0,
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Checkpoint that the model was exported from, for --compare torch."),
    ] = None,
    frontier: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="MODEL",
            help="Model file whose fidelity and speed are measured on every provider that works; repeat the option to "
            "compare several.",
        ),
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Time every layer on ONNX Runtime's CPU provider as well.")
    ] = False,
    target_ms: Annotated[
        float,
        typer.Option(min=1e-6, help="Longest time per image that meets the target, milliseconds; else exit code 7."),
    ] = 50.0,
    percentile: Annotated[
        float, typer.Option(min=1, max=99.99, help="Percentile of the latency that is compared with --target-ms.")
    ] = 50.0,
    baseline: Annotated[
        Path | None,
        typer.Option(metavar="OLD.json", help="Older report to compare with; exit code 7 if the model became slower."),
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option(min=0, max=10, help="Relative slowdown against --baseline that still passes (0.05 is 5 %)."),
    ] = 0.05,
    results: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE|DIR",
            help="Existing JSON report, or a folder of them, to show beside others on the page of --report; repeat the "
            "option for several. Nothing is measured; exit code 3 if a file cannot be used.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE.json", help="Write the report as JSON to this file.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Write the report with charts as one HTML file that loads nothing."),
    ] = None,
    provider: ProviderOption = AUTO,
    device_id: DeviceId = 0,
    threads: Threads = 0,
    load_timeout: LoadTimeout = 0.0,
    max_model_memory: MaxModelMemory = 0,
    json_report: JsonFlag = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    **values: Any,
) -> None:
    """Measure the speed of a model on this machine, in three windows that must agree within 10 %."""
    console.set(verbose=verbose, quiet=quiet)
    if report is not None and (report.suffix.lower() not in (".html", ".htm") or report.is_dir()):
        raise UsageError(f"--report {report} is not the name of an HTML file", remedy="give a file that ends in .html")
    unknown = [name for name in scenarios or () if name not in SCENARIOS]
    if unknown:
        raise UsageError(f"there is no scenario {unknown[0]!r}", remedy=f"give some of {', '.join(SCENARIOS)}")

    if results:
        if scenarios or compare or compare_command or frontier or baseline or output:
            raise UsageError(
                "--results measures nothing, and no scenario or comparison goes with it",
                remedy="give --results and --report alone",
            )
        _show_results(results, report, as_json=json_report, quiet=quiet)
        return

    from polyexport.bench.compare import Comparison
    from polyexport.bench.document import read_report
    from polyexport.bench.programs import Program
    from polyexport.bench.run import Extras
    from polyexport.bench.run import bench as run
    from polyexport.bench.scenarios.scenario import Settings
    from polyexport.bench.table import lines
    from polyexport.model.file import default_model_path
    from polyexport.storage.files import check_output_file, write_atomic

    given = {
        field: tuple(dict.fromkeys(value)) if isinstance(value, list) else value
        for field, value in values.items()
        if value is not None
    }
    chosen: list[Scenario] = [
        build(build_scenario, name=name, values=given) for name in dict.fromkeys(scenarios or default_scenarios())
    ]
    served = _service_of(
        chosen,
        values.get("url"),
        {
            "--model": model,
            "--compare": compare,
            "--frontier": frontier,
            "--profile": profile,
            "--provider": provider != AUTO,
            "--device-id": device_id,
            "--threads": threads,
        },
    )
    settings = build(Settings, size=size, seconds=seconds, target_ms=target_ms, percentile=percentile)
    extras = build(
        Extras,
        compare=build(
            Comparison,
            names=tuple(dict.fromkeys(name for name in compare.split(",") if name)),
            programs=tuple(Program.parse(text) for text in dict.fromkeys(compare_command or ())),
            checkpoint=checkpoint,
            images=values.get("images"),
            timeout_s=compare_timeout,
        ),
        frontier=tuple(frontier or ()),
        profile=profile,
        baseline=read_report(baseline) if baseline else None,
        baseline_name=baseline.name if baseline else "",
        tolerance=tolerance,
    )
    for file in (output, report):  # before minutes of work, not after
        if file is not None:
            check_output_file(file)
    if report is not None:
        from polyexport.bench.html import render
    if served is not None:
        from polyexport.bench.service_load import bench_service

        done = bench_service(served, settings, extras, progress=console.info)
    else:
        done = run(
            model or default_model_path(),
            chosen,
            settings,
            extras,
            provider=provider,
            device_id=device_id,
            threads=threads,
            load_limits=LoadLimits(seconds=load_timeout, memory_mib=max_model_memory),
            progress=console.info,
        )
    if output is not None:
        write_atomic(output, done.to_json().encode())
        console.info(f"report: {output}")
    if report is not None:
        write_atomic(report, render(done).encode())
        console.info(f"report with charts: {report}")
    if json_report:
        console.data(done.to_json().rstrip("\n"))
    elif not quiet:
        console.data("\n".join(lines(done)))
    for failure in done.failures:
        console.error(f"failed: {failure}")
    if not done.gate.met or any(change.worse for change in done.changes):
        raise typer.Exit(ExitCode.TARGET_MISSED)
    if done.failures:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _show_results(paths: list[Path], report: Path | None, *, as_json: bool, quiet: bool) -> None:
    """Show reports of earlier runs side by side, and name the files that cannot be used."""
    from polyexport.bench.results import read_results, result_lines
    from polyexport.storage.files import check_output_file, write_atomic

    if report is not None:
        check_output_file(report)
    found = read_results(paths)
    if report is not None:
        from polyexport.bench.html import render_results

        write_atomic(report, render_results(found).encode())
        console.info(f"page of {len(found.reports)} reports: {report}")
    if as_json:
        console.data(found.to_json().rstrip("\n"))
    elif not quiet:
        console.data("\n".join(result_lines(found)))
    for path, reason in found.refused.items():
        console.error(f"failed: {path}: {reason}")
    if found.refused:
        raise typer.Exit(ExitCode.SOME_FAILED)
