"""A run over folders, for `polyexport infer`: the output folder, the decoding processes, and the engine."""

import contextlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from polyexport.cli.infer_report import ReportOptions, report_preview, report_run
from polyexport.errors import ExitCode
from polyexport.model.loading.limits import LoadLimits
from polyexport.pipeline.decoding.pool import DecodingPool, default_jobs
from polyexport.pipeline.job import Job, run_job
from polyexport.pipeline.outputs.disk import OutputFolder
from polyexport.pipeline.outputs.store import StoreFolder, open_folder

if TYPE_CHECKING:
    from polyexport.cluster.run import Cluster
    from polyexport.model.model import Model

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

    def load(self, *, threads: int, streams: int, images: int) -> "Model":
        """Load the model; see ``LoadModel``."""
        from polyexport.model.loading.load import load_model

        return load_model(
            self.path,
            provider=self.provider,
            threads=threads,
            streams=streams,
            images=images,
            device_id=self.device_id,
            signed_by=self.signed_by,
            limits=self.limits,
        )


def run_folders(
    job: Job,
    model: ModelChoice,
    report: ReportOptions,
    *,
    jobs: int,
    max_pixels: int,
    dry_run: bool,
    cluster: "Cluster | None",
) -> ExitCode:
    """Do a job and print its results, or only what it would do.

    Args:
        job: inputs, outputs and settings.
        model: the model of the run.
        report: reports that the user asked for.
        jobs: number of decoding processes; 0 to choose.
        max_pixels: largest width times height of an image that is accepted.
        dry_run: whether nothing is written.
        cluster: machines of the run; None for this process.

    Returns:
        The exit code of the process.
    """
    with contextlib.ExitStack() as stack:
        # The folder comes first, because it may be refused; then a decoding process starts while this one loads ONNX
        # Runtime and the model.
        folder: OutputFolder | StoreFolder | None = None
        if not dry_run:
            folder = open_folder(job.plan.output)
            stack.push(folder)
        decoding_pool = stack.enter_context(
            DecodingPool(jobs=jobs or default_jobs(len(job.plan.items)), max_pixels=max_pixels)
        )
        if folder is None or cluster is None:
            decoding_pool.start()
        if folder is None:
            return report_preview(job, model.load, decoding_pool, json_report=report.json)
        if cluster is None:
            return report_run(
                job, partial(run_job, job, model.load, folder=folder, decoding_pool=decoding_pool), report
            )
        from polyexport.cluster.run import run_on_cluster

        run = partial(run_on_cluster, job, cluster, model.path, signed_by=model.signed_by, folder=folder)
        return report_run(job, run, report)
