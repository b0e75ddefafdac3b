"""polyexport infer: color folders of images."""

import contextlib
import sys
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from polyexport.cli.console import build, console
from polyexport.cli.options import (
    DeviceId,
    JsonFlag,
    LoadTimeout,
    MaxModelMemory,
    ModelOption,
    ProviderOption,
    Quiet,
    RequireSignature,
    SizeOption,
    Threads,
    Verbose,
)
from polyexport.errors import ImageError, OutputError, UsageError
from polyexport.model.loading.limits import LoadLimits
from polyexport.runtime.providers import AUTO

if TYPE_CHECKING:
    from polyexport.imaging.color import Color
    from polyexport.model.canvas import Size
    from polyexport.model.model import Model
    from polyexport.pipeline.decoding.pool import DecodingPool
    from polyexport.pipeline.job import LoadModel
    from polyexport.pipeline.outputs.disk import OutputFolder
    from polyexport.pipeline.outputs.store import StoreFolder

__all__ = ["infer", "parse_size"]


class Engine(StrEnum):
    """Values of --engine."""

    LOCAL = "local"
    RAY = "ray"


class Background(StrEnum):
    """Values of --background."""

    WHITE = "white"
    TRANSPARENT = "transparent"


def infer(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATH]...", help="Image files, folders of images and glob patterns; - reads one image from stdin."
        ),
    ] = None,
    color: Annotated[
        list[str] | None,
        typer.Option(
            "-c", "--color", help="Color as a CSS name, hex, rgb() or hsl(); repeat the option for several colors."
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            help="Output folder; - writes one image to stdout.",
            show_default="FOLDER-colored beside FOLDER",
            metavar="DIR",
        ),
    ] = None,
    model: ModelOption = None,
    require_signature: RequireSignature = None,
    files_from: Annotated[
        str | None,
        typer.Option(
            "--files-from",
            help="File with a list of input paths, one a line or NUL-separated; - reads the list from stdin.",
            metavar="FILE",
        ),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            help="File with a color for each image: a CSV with the columns image and color, or a data.json.",
            metavar="FILE",
        ),
    ] = None,
    recursive: Annotated[bool, typer.Option("-r", "--recursive", help="Search subfolders for images, too.")] = False,
    include: Annotated[
        list[str] | None,
        typer.Option(help="Glob pattern of the files to take from folders; repeatable.", metavar="GLOB"),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="Glob pattern of files and folders to leave out; repeatable.", metavar="GLOB"),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Make every output again, and replace existing files of any origin.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try inputs again that failed in an earlier run.")
    ] = False,
    size: SizeOption = "fit",
    background: Annotated[Background, typer.Option(help="Color of the paper around a drawing.")] = Background.WHITE,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would become of every output, and write nothing.")
    ] = False,
    contact_sheet: Annotated[
        Path | None,
        typer.Option(help="PNG file for a picture of the first 100 inputs beside their outputs.", metavar="FILE.png"),
    ] = None,
    provider: ProviderOption = AUTO,
    device_id: DeviceId = 0,
    batch_size: Annotated[
        int,
        typer.Option(
            "-b", "--batch-size", min=0, max=1024, help="Images per call of the network; 0 chooses by the provider."
        ),
    ] = 0,
    jobs: Annotated[
        int, typer.Option("-j", "--jobs", min=0, max=256, help="Number of decoding processes; 0 chooses by the cores.")
    ] = 0,
    threads: Threads = 0,
    engine: Annotated[
        Engine,
        typer.Option(help="Engine of the run: local for this process, ray for Ray Data on the machines of a cluster."),
    ] = Engine.LOCAL,
    ray_address: Annotated[
        str | None,
        typer.Option(
            help="Address of the Ray cluster: HOST:PORT of its head, or auto.",
            metavar="ADDRESS",
            show_default="this machine",
        ),
    ] = None,
    time_limit: Annotated[
        float,
        typer.Option(min=0, help="Seconds after which a run on Ray is given up; 0 for no limit.", metavar="SECONDS"),
    ] = 0,
    load_timeout: LoadTimeout = 0.0,
    max_model_memory: MaxModelMemory = 0,
    json_report: JsonFlag = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Color outline drawings.

    Outputs are PNG files, OUTPUT/COLOR/NAME.png, at the size of their inputs. A bad input fails alone. The same
    command continues an earlier run: outputs that are finished are skipped.
    """
    console.set(verbose=verbose, quiet=quiet)
    wanted = parse_size(size)
    limits = LoadLimits(seconds=load_timeout, memory_mib=max_model_memory)
    _check_engine(engine, ray_address=ray_address, time_limit=time_limit, device_id=device_id)

    from polyexport.pipeline.decoding.pool import DecodingPool, default_jobs
    from polyexport.pipeline.outputs.store import open_folder
    from polyexport.pipeline.request import STDIO, Request, parse_colors, plan_request

    def load(*, threads: int, streams: int, images: int) -> "Model":
        from polyexport.model.loading.load import load_model

        return load_model(
            model,
            provider=provider,
            threads=threads,
            streams=streams,
            images=images,
            device_id=device_id,
            signed_by=require_signature,
            limits=limits,
        )

    if STDIO in (output, *(paths or ())):
        others = {"--manifest": manifest, "--files-from": files_from, "--contact-sheet": contact_sheet}
        flags = {"--dry-run": dry_run, "--json": json_report, "--engine ray": engine is Engine.RAY}
        source, one_color = _one(
            paths or [], color or [], output, [name for name, on in (others | flags).items() if on]
        )
        with DecodingPool(jobs=1) as decoder:
            decoder.start()
            _pipe(
                source,
                parse_colors([one_color], model, limits=limits, signed_by=require_signature)[0],
                load,
                decoder,
                wanted,
                background.value,
            )
        return
    plan = plan_request(
        Request(
            paths=paths or (),
            files_from=files_from,
            manifest=manifest,
            colors=color or (),
            output=output,
            model=model,
            signed_by=require_signature,
            limits=limits,
            recursive=recursive,
            include=include or (),
            exclude=exclude or (),
        )
    )
    with contextlib.ExitStack() as stack:
        # The folder comes first, because it may be refused; then a decoding process starts while this one loads ONNX
        # Runtime and the model.
        folder: OutputFolder | StoreFolder | None = None
        if not dry_run:
            folder = open_folder(plan.output)
            stack.push(folder)
        decoding_pool = stack.enter_context(DecodingPool(jobs=jobs or default_jobs(len(plan.items))))
        if folder is None or engine is Engine.LOCAL:
            decoding_pool.start()

        from polyexport.cli.infer_report import ReportOptions, report_preview, report_run
        from polyexport.pipeline.job import Job, run_job

        job = build(
            Job,
            plan=plan,
            size=wanted,
            background=background.value,
            overwrite=overwrite,
            retry_failed=retry_failed,
            batch_size=batch_size,
            threads=threads,
        )
        options = ReportOptions(json=json_report, contact_sheet=contact_sheet)
        if folder is None:
            exit_code = report_preview(job, load, decoding_pool, json_report=json_report)
        elif engine is Engine.RAY:
            from polyexport.cluster.run import Cluster, run_on_cluster

            cluster = build(
                Cluster, address=ray_address, time_limit_s=time_limit, provider=provider, jobs=jobs, limits=limits
            )
            exit_code = report_run(
                job, partial(run_on_cluster, job, cluster, model, signed_by=require_signature, folder=folder), options
            )
        else:
            exit_code = report_run(
                job, partial(run_job, job, load, folder=folder, decoding_pool=decoding_pool), options
            )
    if exit_code:
        raise typer.Exit(exit_code)


def _check_engine(engine: Engine, *, ray_address: str | None, time_limit: float, device_id: int) -> None:
    if engine is Engine.LOCAL and (ray_address is not None or time_limit):
        option = "--time-limit" if ray_address is None else "--ray-address"
        raise UsageError(f"{option} was given without --engine ray", remedy=f"add --engine ray, or leave {option} out")
    if engine is Engine.RAY and device_id:
        raise UsageError(
            "--device-id does not go with --engine ray, which gives each actor a GPU", remedy="leave it out"
        )


def _one(paths: list[str], colors: list[str], output: str | None, others: list[str]) -> tuple[str, str]:
    """Return the one image and the one color of a pipe.

    Raises:
        UsageError: more or fewer of them, or an option that a pipe does not take.
    """
    from polyexport.pipeline.request import STDIO

    if others:
        raise UsageError(f"{others[0]} does not go with an image on stdin or stdout", remedy="leave it out")
    if len(paths) != 1 or len(colors) != 1:
        raise UsageError(
            f"a pipe takes one image and one color, got {len(paths)} and {len(colors)}", remedy="name a folder with -o"
        )
    if output not in (None, STDIO):
        raise UsageError("an image on stdin goes to stdout", remedy="leave out -o, and redirect stdout")
    return paths[0], colors[0]


def _pipe(
    path: str,
    color: "Color",
    load: "LoadModel",
    decoding_pool: "DecodingPool",
    size: "Size",
    background: Literal["white", "transparent"],
) -> None:
    from polyexport.imaging.pixels import MAX_FILE_BYTES
    from polyexport.pipeline.pipe import color_one
    from polyexport.pipeline.request import STDIO
    from polyexport.runtime.cores import granted_cores
    from polyexport.storage.files import read_stream

    if sys.stdout is None or sys.stdout.isatty():
        raise UsageError("stdout is a terminal, which cannot show a PNG", remedy="redirect it to a file or a program")
    try:
        source = read_stream(sys.stdin.buffer, MAX_FILE_BYTES) if path == STDIO else path
    except OSError as error:
        raise ImageError(f"stdin cannot be read ({error.strerror})", remedy="give a smaller file") from error
    model = load(threads=granted_cores(), streams=1, images=1)
    png, warnings = color_one(source, color, model, decoding_pool, size=size, background=background)
    for warning in warnings:
        console.info(f"warning: {path}: {warning}")
    try:
        sys.stdout.buffer.write(png)
        sys.stdout.buffer.flush()
    except OSError as error:
        raise OutputError(f"cannot write to stdout ({error.strerror})", remedy="free space there") from error


def parse_size(text: str) -> "Size":
    """Parse the value of ``--size``: ``fit``, ``native`` or a number of pixels.

    Raises:
        UsageError: the text is none of these.
    """
    if text == "fit":
        return "fit"
    if text == "native":
        return "native"
    if text.isascii() and text.isdigit() and len(text) <= 6:
        return int(text)
    raise UsageError(f"unknown size {text!r}", remedy="give fit, native or a number of pixels")
