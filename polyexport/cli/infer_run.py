"""A run over folders, for `polyexport infer`: the model, and the engine."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from polyexport.cli.console import console
from polyexport.cli.infer_report import ReportOptions, report_preview, report_run
from polyexport.errors import ExitCode
from polyexport.model.loading.limits import LoadLimits
from polyexport.pipeline.decoding.pool import DecodingPool, default_jobs
from polyexport.pipeline.events import ImageFinished, OnEvent, ProviderChosen, TilesDiffer
from polyexport.pipeline.job import Job
from polyexport.pipeline.local_run import run_local
from polyexport.pipeline.outputs.store import open_folder
from polyexport.pipeline.results import RunReport

if TYPE_CHECKING:
    from polyexport.cluster.run import Cluster
    from polyexport.model.model import Model
    from polyexport.pipeline.watching.watched_folder import WatchedFolder

__all__ = ["ModelChoice", "run_folders"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelChoice:
    """The model of a run, and where it runs."""

    path: Path | None
    """Model file; None for the shipped model."""

    provider: str
    device_id: int
    signed_by: Path | None
    """Public key, PEM, with which the model file must have been signed."""

    limits: LoadLimits
    """Limits of the first load of an unknown model file."""

    cache: bool = True
    """Whether the compiled model is kept in the user's cache folder, and taken from there."""

    def load(self, *, threads: int, streams: int, images: int) -> "Model":
        """Load the model; see ``LoadModel``."""
        from polyexport.model.loading.load import load_model

        model = load_model(
            self.path,
            provider=self.provider,
            threads=threads,
            streams=streams,
            images=images,
            device_id=self.device_id,
            signed_by=self.signed_by,
            limits=self.limits,
            cache=self.cache,
        )
        if console.verbose:
            self._remark(model)
        return model

    def _remark(self, model: "Model") -> None:
        """Print what -v asks for about the loaded model."""
        from polyexport.model.file import default_model_path
        from polyexport.passport.endpoint import passport_remark

        for remark in (model.session.cache_note, passport_remark(self.path or default_model_path(), model)):
            if remark:
                console.info(remark)


def run_folders(
    job: Job,
    model: ModelChoice,
    report: ReportOptions,
    *,
    jobs: int,
    dry_run: bool,
    cluster: "Cluster | None",
    watched: "WatchedFolder | None",
) -> ExitCode:
    """Do a job and print its results, or only what it would do.

    Args:
        job: inputs, outputs and settings.
        model: the model of the run.
        report: reports that the user asked for.
        jobs: number of decoding processes; 0 to choose.
        dry_run: whether nothing is written.
        cluster: machines of the run; None for this process.
        watched: folder whose files are the inputs, as they appear; None for the inputs of the job.

    Returns:
        The exit code of the process.
    """
    if dry_run:
        decoders = DecodingPool(jobs=jobs or default_jobs(len(job.plan.items)), max_pixels=job.max_pixels)
        with decoders as decoding_pool:
            decoding_pool.start()
            return report_preview(job, model.load, decoding_pool, json_report=report.json)
    if watched is not None:
        from polyexport.pipeline.watching.run import run_watch

        return report_run(job, partial(run_watch, job, watched, model.load, jobs=jobs), report, watches=True)
    if cluster is None:
        return report_run(job, partial(run_local, job, model.load, jobs=jobs), report)
    return report_run(job, partial(_run_on_cluster, job, cluster, model), report)


def _run_on_cluster(job: Job, cluster: "Cluster", model: ModelChoice, *, on_event: OnEvent) -> RunReport:
    from polyexport.cluster.run import run_on_cluster

    with open_folder(job.plan.output) as folder:
        return run_on_cluster(
            job,
            cluster,
            model.path,
            signed_by=model.signed_by,
            folder=folder,
            on_provider=lambda execution_provider, fallback_reason: on_event(
                ProviderChosen(execution_provider=execution_provider, fallback_reason=fallback_reason)
            ),
            on_tiles=lambda difference: on_event(TilesDiffer(difference=difference)),
            on_result=lambda result: on_event(ImageFinished(result=result)),
        )
