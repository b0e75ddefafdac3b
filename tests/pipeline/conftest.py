from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from color_settings import setting

from polyexport.model.model import Model
from polyexport.model.settings import Setting
from polyexport.pipeline.decoding.pool import DecodingPool
from polyexport.pipeline.job import Job, run_job
from polyexport.pipeline.outputs.store import open_folder
from polyexport.pipeline.plan import Plan, make_plan
from polyexport.pipeline.results import ItemResult, RunReport
from polyexport.storage.stores import Url

COLORS = (setting("red"), setting("#0080ff"))

Results = dict[str, ItemResult]
Colorize = Callable[..., tuple[RunReport, Results]]


@pytest.fixture(scope="module")
def decoders() -> Iterator[DecodingPool]:
    with DecodingPool(jobs=2) as processes:
        yield processes


@pytest.fixture
def colorize(drawings: Path, tiny_model: Model, decoders: DecodingPool) -> Colorize:
    """The drawings through a job; gives the report, and the results by the name of the input."""

    def go(
        output: Path | Url,
        settings: tuple[Setting, ...] = COLORS,
        *,
        plan: Plan | None = None,
        model: Model = tiny_model,
        processes: DecodingPool = decoders,
        on_result: Callable[[ItemResult], None] = lambda result: None,
        **options: object,
    ) -> tuple[RunReport, Results]:
        results: Results = {}

        def settled(result: ItemResult) -> None:
            assert results.setdefault(Path(result.item.source).name, result) is result
            on_result(result)

        job = Job(plan=plan or make_plan([drawings], settings, output=output, recursive=True), **options)  # type: ignore[arg-type]
        with open_folder(job.plan.output) as folder:
            report = run_job(
                job, lambda threads, streams, images: model, folder=folder, decoding_pool=processes, on_result=settled
            )
        return report, results

    return go
