"""polyexport infer: a model over folders of images."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyexport.cli.console import build, console
from polyexport.cli.infer_values import Alpha, Background, ColorProfile, Engine, Format, Frames, Metadata, ResultAs
from polyexport.cli.options import (
    DEFAULT_MAX_PIXELS,
    DeviceId,
    JsonFlag,
    LoadTimeout,
    MaxModelMemory,
    ModelOption,
    OverlapOption,
    ProviderOption,
    Quiet,
    RequireSignature,
    SizeOption,
    Threads,
    TileOption,
    Verbose,
)
from polyexport.errors import UsageError
from polyexport.model.loading.limits import LoadLimits
from polyexport.runtime.providers import AUTO

if TYPE_CHECKING:
    from polyexport.model.canvas import Size
    from polyexport.pipeline.interface import Interface
    from polyexport.pipeline.request import Request
    from polyexport.pipeline.watching.watched_folder import WatchedFolder

__all__ = ["infer", "parse_size"]


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
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Value of another condition of the model; repeat the option for further conditions, and a name for "
            "several outputs.",
            metavar="NAME=VALUE",
        ),
    ] = None,
    pictures: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            help="Second pictures of a model that takes some, such as masks: a folder where each has the relative path "
            "and name of its image, with any suffix, or one file for all images.",
            metavar="NAME=DIR|FILE",
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
            help="File with the conditions of each image: a CSV with the columns image and color, or another one for "
            "each condition by its name; or a data.json.",
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
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Watch one folder: go on with the files that appear in it, until an interrupt."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Make every output again, and replace existing files of any origin.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try inputs again that failed in an earlier run.")
    ] = False,
    size: SizeOption = "auto",
    tile: TileOption = "auto",
    overlap: OverlapOption = None,
    background: Annotated[Background, typer.Option(help="Color of the paper around a drawing.")] = Background.WHITE,
    result_as: Annotated[
        ResultAs, typer.Option("--result-as", help="Use of the result: alpha makes a mask the alpha of its image.")
    ] = ResultAs.RESULT,
    format_: Annotated[
        Format,
        typer.Option("--format", help="Format of the outputs: same is that of the suffix of the input's name."),
    ] = Format.PNG,
    quality: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100,
            help="Quality of JPEG, WebP and AVIF files; 100 is lossless in WebP.",
            show_default="90",
        ),
    ] = None,
    compression: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=9,
            help="Level of compression of PNG and TIFF files: 0 is none, 9 the smallest.",
            show_default="a fast writer of PNG, 6 for TIFF",
        ),
    ] = None,
    metadata: Annotated[
        Metadata, typer.Option(help="Treatment of EXIF data, XMP and resolution: outputs have those of their inputs.")
    ] = Metadata.KEEP,
    color_profile: Annotated[
        ColorProfile,
        typer.Option("--color-profile", help="Color space of the outputs: sRGB, or that of the input's profile."),
    ] = ColorProfile.SRGB,
    alpha: Annotated[
        Alpha,
        typer.Option(help="Transparency of inputs: composited on white, or put back on the results as well."),
    ] = Alpha.WHITE,
    frames: Annotated[
        Frames,
        typer.Option(
            help="Frames of animations and pages of TIFF files that are run: the first alone, or all, whose results "
            "become one animation or one file of pages."
        ),
    ] = Frames.FIRST,
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
    max_pixels: Annotated[
        int,
        typer.Option(
            min=1,
            max=1 << 34,
            help="Largest width times height of an image that is accepted; images that do not fit the memory are run "
            "in bands if the network is local.",
            metavar="PIXELS",
        ),
    ] = DEFAULT_MAX_PIXELS,
    engine: Annotated[
        Engine,
        typer.Option(
            help="Engine of the run: local for this process, ray for actors on the machines of a Ray cluster."
        ),
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
    no_cache: Annotated[
        bool,
        typer.Option(
            "--no-cache",
            help="Compile the model anew, and keep nothing of it. Otherwise what OpenVINO and TensorRT compile is kept "
            "in the user's cache folder, or in that of POLYEXPORT_CACHE_DIR.",
        ),
    ] = False,
    load_timeout: LoadTimeout = 0.0,
    max_model_memory: MaxModelMemory = 0,
    json_report: JsonFlag = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Run a model over images: the shipped one colors outline drawings.

    Outputs are PNG files, OUTPUT/COLOR/NAME.png, or OUTPUT/NAME.png for a model without conditions, at the size of
    their inputs times the scale of the model; --format takes another format. A bad input fails alone. The same command
    continues an earlier run: outputs that are finished are skipped.
    """
    console.set(verbose=verbose, quiet=quiet)
    from polyexport.model.tile_wish import TileWish

    wanted, tiles = parse_size(size), TileWish.parse(tile, overlap)
    limits = LoadLimits(seconds=load_timeout, memory_mib=max_model_memory)
    _check_engine(engine, ray_address=ray_address, time_limit=time_limit, device_id=device_id)

    from polyexport.cli.infer_report import ReportOptions
    from polyexport.cli.infer_run import ModelChoice, run_folders
    from polyexport.imaging.output_format import OutputFormat
    from polyexport.pipeline.finishing import Finishing
    from polyexport.pipeline.interface import interface_of
    from polyexport.pipeline.job import Job
    from polyexport.pipeline.request import STDIO, Request, plan_request

    choice = ModelChoice(
        path=model,
        provider=provider,
        device_id=device_id,
        signed_by=require_signature,
        limits=limits,
        cache=not no_cache,
    )
    request = Request(
        paths=paths or (),
        files_from=files_from,
        manifest=manifest,
        colors=color or (),
        assignments=assignments or (),
        pictures=pictures or (),
        output=output,
        recursive=recursive,
        include=include or (),
        exclude=exclude or (),
    )
    written = build(
        OutputFormat,
        format=format_.value,
        quality=quality,
        compression=compression,
        metadata=metadata.value,
        color_profile=color_profile.value,
        alpha=alpha.value,
    )
    finishing = build(
        Finishing, background=background.value, result_as=result_as.value, output=written, frames=frames.value
    )
    interface = interface_of(model, signed_by=require_signature)
    finishing.check(interface.result, interface.conditions)
    if STDIO in (output, *(paths or ())):
        from polyexport.cli.infer_pipe import plan_pipe, run_pipe

        files = {"--manifest": manifest, "--files-from": files_from, "--contact-sheet": contact_sheet}
        flags = {"--dry-run": dry_run, "--watch": watch, "--json": json_report, "--engine ray": engine is Engine.RAY}
        pipe = plan_pipe(request, interface, others=[name for name, on in (files | flags).items() if on])
        run_pipe(pipe, choice.load, size=wanted, tiles=tiles, finishing=finishing)
        return
    watched = None
    if watch:
        others = {"--dry-run": dry_run, "--contact-sheet": contact_sheet, "--engine ray": engine is Engine.RAY}
        watched = _watched(request, interface, others=[name for name, on in others.items() if on])
    job = build(
        Job,
        plan=plan_request(request, interface.conditions, format_name=written.format)
        if watched is None
        else watched.no_plan(),
        size=wanted,
        tiles=tiles,
        max_pixels=max_pixels,
        finishing=finishing,
        overwrite=overwrite,
        retry_failed=retry_failed,
        batch_size=batch_size,
        threads=threads,
    )
    cluster = None
    if engine is Engine.RAY:
        from polyexport.cluster.run import Cluster

        cluster = build(
            Cluster, address=ray_address, time_limit_s=time_limit, provider=provider, jobs=jobs, limits=limits
        )
    report = ReportOptions(json=json_report, contact_sheet=contact_sheet)
    exit_code = run_folders(job, choice, report, jobs=jobs, dry_run=dry_run, cluster=cluster, watched=watched)
    if exit_code:
        raise typer.Exit(exit_code)


def _watched(request: "Request", interface: "Interface", *, others: Sequence[str]) -> "WatchedFolder":
    from polyexport.pipeline.watching.watched_folder import plan_watch

    if others:
        raise UsageError(f"{others[0]} does not go with --watch", remedy="leave it out")
    return plan_watch(request, interface.conditions)


def _check_engine(engine: Engine, *, ray_address: str | None, time_limit: float, device_id: int) -> None:
    if engine is Engine.LOCAL and (ray_address is not None or time_limit):
        option = "--time-limit" if ray_address is None else "--ray-address"
        raise UsageError(f"{option} was given without --engine ray", remedy=f"add --engine ray, or leave {option} out")
    if engine is Engine.RAY and device_id:
        raise UsageError(
            "--device-id does not go with --engine ray, which gives each actor a GPU", remedy="leave it out"
        )


def parse_size(text: str) -> "Size":
    """Parse the value of ``--size``: ``auto``, ``fit``, ``native`` or a number of pixels.

    Raises:
        UsageError: the text is none of these.
    """
    if text == "auto":
        return "auto"
    if text == "fit":
        return "fit"
    if text == "native":
        return "native"
    if text.isascii() and text.isdigit() and len(text) <= 6:
        return int(text)
    raise UsageError(f"unknown size {text!r}", remedy="give auto, fit, native or a number of pixels")
