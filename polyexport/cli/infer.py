"""polyexport infer: a folder in, a folder out."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyexport.cli.console import build, console
from polyexport.cli.options import (
    DeviceId,
    JsonFlag,
    ModelOption,
    Provider,
    ProviderOption,
    Quiet,
    SizeOption,
    Threads,
    Verbose,
)
from polyexport.color import parse_color
from polyexport.errors import ColorError, ExitCode, UsageError

if TYPE_CHECKING:
    from polyexport.color import Color
    from polyexport.model import Size
    from polyexport.pipeline.run import ItemResult, RunReport

__all__ = ["infer", "parse_size"]


def infer(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Images and folders of images.")],
    color: Annotated[
        list[str], typer.Option("--color", help="CSS name, hex, rgb() or hsl(); repeat it for several colors.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="Output folder.", show_default="FOLDER-colored beside FOLDER", metavar="DIR"
        ),
    ] = None,
    model: ModelOption = None,
    recursive: Annotated[bool, typer.Option("-r", "--recursive", help="Go into subfolders.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")] = False,
    size: SizeOption = "fit",
    provider: ProviderOption = Provider.AUTO,
    device_id: DeviceId = 0,
    batch_size: Annotated[int, typer.Option("-b", "--batch-size", min=1, max=1024, help="Images per call.")] = 4,
    jobs: Annotated[int, typer.Option("-j", "--jobs", min=1, max=256, help="Threads to decode, and to encode.")] = 2,
    threads: Threads = 0,
    json_report: JsonFlag = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Color outline drawings.

    Outputs are PNG files, OUTPUT/COLOR/NAME.png, at the size of their inputs. One bad input fails alone.
    """
    console.set(verbose=verbose, quiet=quiet)
    wanted = parse_size(size)

    from polyexport.cores import granted_cores
    from polyexport.model import load_model
    from polyexport.pipeline.plan import make_plan
    from polyexport.pipeline.run import RunOptions, arrange, run_plan
    from polyexport.session import CPU

    plan = make_plan(paths, _colors(color, model), output=output, recursive=recursive, overwrite=overwrite)
    per_call, streams = arrange(len(plan.items) * len(plan.colors), threads=threads, cores=granted_cores())
    loaded = load_model(model, provider=provider.value, threads=per_call, device_id=device_id)
    for one in plan.colors:
        loaded.color_value(one)
    framing = loaded.framing(wanted)
    if loaded.session.fallback_reason:
        console.info(f"running on {loaded.session.execution_provider} ({loaded.session.fallback_reason})")
    with _progress(len(plan.items)) as advance:

        def settled(result: "ItemResult") -> None:
            advance()
            if result.status == "failed":
                console.error(f"failed: {result.item.source}: {result.reason}")
            for warning in result.warnings:
                console.info(f"warning: {result.item.source}: {warning}")

        on_cpu = loaded.session.execution_provider == CPU
        options = build(RunOptions, batch_size=batch_size, jobs=jobs, streams=streams if on_cpu else 1)
        report = run_plan(plan, loaded, framing, options, on_result=settled)
    if json_report:
        console.json(_as_json(report, plan.output))
    elif not quiet:
        console.data(
            f"{len(report.results)} images: {len(report.results) - report.failed} ok, {report.failed} failed; "
            f"{report.written} written to {plan.output} in {report.seconds:.2f} s, "
            f"{report.images_per_s:.1f} images/s on {report.execution_provider}"
        )
    if report.failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _colors(texts: list[str], model: Path | None) -> "list[Color]":
    """What the user typed, before the model is loaded; unless a name is one of the model's own.

    Raises:
        ColorError: no colour.
    """
    try:
        return [parse_color(text) for text in texts]
    except ColorError:
        if model is None:
            raise
    from polyexport.model import load_model

    conditioner = load_model(model, provider="cpu").conditioner
    return [conditioner.color(text) for text in texts]


def parse_size(text: str) -> "Size":
    """``fit``, ``native`` or a number of pixels.

    Raises:
        UsageError: anything else.
    """
    if text == "fit":
        return "fit"
    if text == "native":
        return "native"
    if text.isascii() and text.isdigit() and len(text) <= 6:
        return int(text)
    raise UsageError(f"unknown size {text!r}", remedy="give fit, native or a number of pixels")


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    if not console.shows_progress:
        yield lambda: None
        return
    import sys

    with typer.progressbar(length=total, label="coloring", file=sys.stderr, show_pos=True) as bar:
        yield lambda: bar.update(1)


def _as_json(report: "RunReport", output: Path) -> dict[str, object]:
    return {
        "output": str(output),
        "execution_provider": report.execution_provider,
        "seconds": report.seconds,
        "images_per_s": report.images_per_s,
        "written": report.written,
        "failed": report.failed,
        "images": [
            {**asdict(result), "item": str(result.item.source), "name": str(result.item.name)}
            for result in report.results
        ],
    }
