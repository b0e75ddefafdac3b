"""The public function that runs a model over files and folders, as `polyexport infer` does, for programs."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from polyexport.errors import UsageError
from polyexport.imaging.color import Color
from polyexport.imaging.output_format import PNG_OUTPUT, OutputFormat
from polyexport.imaging.pixels import MAX_PIXELS
from polyexport.model.canvas import Size
from polyexport.model.conditions.color_condition import ColorLike
from polyexport.model.loading.limits import DEFAULT_LIMITS, LoadLimits
from polyexport.model.loading.load import load_model
from polyexport.model.model import Model
from polyexport.model.tile_wish import Tile, TileWish
from polyexport.pipeline.cancellation import Switch
from polyexport.pipeline.decoding.pool import MAX_JOBS
from polyexport.pipeline.events import OnEvent, ignore_event
from polyexport.pipeline.finishing import Background, Finishing, Frames, ResultAs
from polyexport.pipeline.interface import Interface, interface_of
from polyexport.pipeline.job import Job
from polyexport.pipeline.local_run import run_local
from polyexport.pipeline.request import Request, plan_request
from polyexport.pipeline.results import RunReport
from polyexport.pipeline.watching.run import run_watch
from polyexport.pipeline.watching.watched_folder import plan_watch
from polyexport.runtime.providers import AUTO
from polyexport.runtime.session import SessionOptions

__all__ = ["infer_folder"]

_StrPath = str | os.PathLike[str]


def infer_folder(
    paths: _StrPath | Sequence[_StrPath],
    *,
    output: _StrPath | None = None,
    model: Model | _StrPath | None = None,
    colors: str | Color | Sequence[ColorLike] = (),
    conditions: Mapping[str, Any] | None = None,
    pictures: Mapping[str, _StrPath] | None = None,
    manifest: _StrPath | None = None,
    recursive: bool = False,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    size: Size = "auto",
    tile: Tile = "auto",
    overlap: int | None = None,
    max_pixels: int = MAX_PIXELS,
    background: Background = "white",
    result_as: ResultAs = "result",
    output_format: OutputFormat = PNG_OUTPUT,
    frames: Frames = "first",
    overwrite: bool = False,
    retry_failed: bool = False,
    watch: bool = False,
    provider: str = AUTO,
    device_id: int = 0,
    batch_size: int = 0,
    threads: int = 0,
    jobs: int = 0,
    signed_by: _StrPath | None = None,
    limits: LoadLimits = DEFAULT_LIMITS,
    on_event: OnEvent = ignore_event,
    cancel: Switch | None = None,
) -> RunReport:
    """Run a model over image files and folders, as the command ``polyexport infer`` does.

    Names of outputs, journal, and carrying on after an interruption are those of the command: either continues what the
    other has begun. Nothing is printed and no signal handler is installed; the function may be called from any thread.
    A bad input fails alone.

    Args:
        paths: image files, folders, glob patterns and URLs; for a watch one folder. Empty with ``manifest``.
        output: path or URL of the output folder; by default ``<folder>-colored`` beside a single input folder, see
            ``make_plan``.
        model: a model file, or a loaded model, with which ``provider``, ``device_id``, ``signed_by`` and ``limits``
            have no effect; the shipped model if None.
        colors: one color, or a sequence of several with an output each: what ``--color`` takes, ``Color``, or, in a
            sequence, (r, g, b) from 0 to 255.
        conditions: values of other conditions by their names, as ``Model.apply`` takes them; a list has several values,
            one output each.
        pictures: for each condition that is a second picture a folder, or one file for all images.
        manifest: file with the conditions of each image, in place of ``paths`` and ``colors``.
        recursive: whether subfolders are searched.
        include: patterns; if there are any, a file of a folder must match one of them.
        exclude: patterns of files and folders to leave out.
        size: ``auto``, ``fit``, ``native``, or a canvas size in pixels; see ``polyexport.model.canvas``.
        tile: ``auto`` cuts images into tiles that do not fit the memory, if the network is local; ``off`` cuts none; a
            number is the side of a tile in pixels.
        overlap: pixels that a tile shares with each of its neighbors; None for what suits the network.
        max_pixels: largest width times height of an image that is accepted.
        background: ``transparent`` makes the paper around a drawing transparent.
        result_as: ``alpha`` makes a mask the alpha of its image.
        output_format: format of the output files, and what they keep of the input files.
        frames: ``all`` runs every frame of an animation and every page of a document, and writes one file of them.
        overwrite: whether every output is made again, and existing files of any origin are replaced.
        retry_failed: whether inputs that failed in an earlier run are tried again.
        watch: whether the run goes on with the files that appear in the folder, until it is cancelled; see
            ``run_watch``.
        provider: ``auto`` takes the best execution provider that works; a named one is required.
        device_id: number of the GPU.
        batch_size: images per call of the network; 0 chooses by the provider.
        threads: threads per call of the network on a CPU; 0 chooses.
        jobs: number of decoding processes; 0 chooses by the cores.
        signed_by: public key, PEM, with which the model file must have been signed.
        limits: limits of the first load of an unknown model file.
        on_event: told of each event from the calling thread; see ``polyexport.pipeline.events``. An exception that it
            raises ends the run cleanly and propagates.
        cancel: a ``threading.Event`` or anything with ``is_set()``. When it is set, the run takes up nothing new, and
            ends with a report that has ``cancelled``. Finished outputs stay, and the same call continues.

    Returns:
        The totals. Inputs that failed are counted, and do not raise.

    Raises:
        UsageError: paths, conditions or options that cannot be used, or outputs that exist and that no run made.
        ColorError: a color that cannot be read, or that the model does not know.
        ModelError: a model that is refused.
        ProviderError: an execution provider that cannot be used.
        OutputError: the output folder cannot be made or written, is locked by another run, or became unusable.
        PolyexportError: a watched folder that was removed or moved.
    """
    if not 0 <= jobs <= MAX_JOBS:
        raise UsageError(f"jobs is {jobs}, expected 0 to {MAX_JOBS}", remedy="give 0 to choose by the cores")
    finishing = _finishing(background, result_as, output_format, frames)
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    request = Request(
        paths=[os.fspath(path) for path in given],
        manifest=None if manifest is None else Path(manifest),
        colors=[colors] if isinstance(colors, str | Color) else list(colors),
        values={name: value if isinstance(value, list) else [value] for name, value in (conditions or {}).items()},
        pictures=[f"{name}={os.fspath(path)}" for name, path in (pictures or {}).items()],
        output=None if output is None else os.fspath(output),
        recursive=recursive,
        include=include,
        exclude=exclude,
    )
    key = None if signed_by is None else Path(signed_by)
    if isinstance(model, Model):
        interface = Interface(conditions=model.conditions, result=model.contract.result)
    else:
        interface = interface_of(None if model is None else Path(model), signed_by=key)
    finishing.check(interface.result, interface.conditions)

    def load(*, threads: int, streams: int, images: int) -> Model:
        if isinstance(model, Model):
            return model
        return load_model(
            None if model is None else os.fspath(model),
            provider=provider,
            threads=threads,
            streams=streams,
            images=images,
            device_id=device_id,
            signed_by=key,
            limits=limits,
        )

    try:
        SessionOptions(provider=provider, threads=threads, device_id=device_id)
    except ValueError as error:
        raise UsageError(str(error), remedy="give one of these values") from error
    watched = plan_watch(request, interface.conditions) if watch else None
    try:
        job = Job(
            plan=plan_request(request, interface.conditions, format_name=output_format.format)
            if watched is None
            else watched.no_plan(),
            size=size,
            tiles=TileWish(tile=tile, overlap=overlap),
            max_pixels=max_pixels,
            finishing=finishing,
            overwrite=overwrite,
            retry_failed=retry_failed,
            batch_size=batch_size,
            threads=threads,
        )
    except ValueError as error:
        raise UsageError(str(error), remedy="give 0 to choose a value") from error
    if watched is not None:
        return run_watch(job, watched, load, jobs=jobs, on_event=on_event, cancel=cancel)
    return run_local(job, load, jobs=jobs, on_event=on_event, cancel=cancel)


def _finishing(background: Background, result_as: ResultAs, output_format: OutputFormat, frames: Frames) -> Finishing:
    for name, value, values in (
        ("background", background, Background),
        ("result_as", result_as, ResultAs),
        ("frames", frames, Frames),
    ):
        if value not in get_args(values):
            raise UsageError(f"{name} is {value!r}", remedy=f"give {' or '.join(get_args(values))}")
    try:
        return Finishing(background=background, result_as=result_as, output=output_format, frames=frames)
    except ValueError as error:
        raise UsageError(str(error), remedy="leave one of them out") from error
