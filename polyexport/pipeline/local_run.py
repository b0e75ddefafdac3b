"""A run in this process, from a job to its report: the output folder, the decoding processes, and the events."""

from polyexport.pipeline.cancellation import Cancellation, Switch
from polyexport.pipeline.decoding.pool import DecodingPool, default_jobs
from polyexport.pipeline.events import (
    ImageFinished,
    OnEvent,
    ProviderChosen,
    RunFinished,
    RunStarted,
    TilesDiffer,
    ignore_event,
)
from polyexport.pipeline.job import Job, LoadModel, run_job
from polyexport.pipeline.outputs.store import open_folder
from polyexport.pipeline.results import RunReport

__all__ = ["run_local"]


def run_local(
    job: Job, load: LoadModel, *, jobs: int = 0, on_event: OnEvent = ignore_event, cancel: Switch | None = None
) -> RunReport:
    """Do a job in this process.

    Args:
        job: inputs, outputs and settings.
        load: loads the model.
        jobs: number of decoding processes; 0 to choose.
        on_event: told of each event, from the calling thread.
        cancel: ends the run early when it is set; the report says so.

    Raises:
        PolyexportError: see ``run_job``.
        OutputError: the output folder cannot be made or written, or is locked by another run.
    """
    # The folder comes first, because it may be refused; then a decoding process starts while this one loads ONNX
    # Runtime and the model.
    with (
        open_folder(job.plan.output) as folder,
        DecodingPool(jobs=jobs or default_jobs(len(job.plan.items)), max_pixels=job.max_pixels) as decoding_pool,
    ):
        decoding_pool.start()
        on_event(RunStarted(inputs=len(job.plan.items), outputs=job.plan.outputs, output=job.plan.output))
        report = run_job(
            job,
            load,
            folder=folder,
            decoding_pool=decoding_pool,
            on_provider=lambda execution_provider, fallback_reason: on_event(
                ProviderChosen(execution_provider=execution_provider, fallback_reason=fallback_reason)
            ),
            on_tiles=lambda difference: on_event(TilesDiffer(difference=difference)),
            on_result=lambda result: on_event(ImageFinished(result=result)),
            cancellation=Cancellation(cancel),
        )
    on_event(RunFinished(report=report))
    return report
