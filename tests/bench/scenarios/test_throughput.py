from polyexport.bench.scenarios.scenario import Settings, Subject
from polyexport.bench.scenarios.throughput import Throughput
from polyexport.runtime.cores import granted_cores


def test_every_shape_is_warmed_up_and_the_cores_are_full(
    subject: Subject, settings: Settings, shapes: list[tuple[int, ...]]
) -> None:
    rows = Throughput(batch_sizes=(1, 3)).measure(subject, settings, print)
    for row, batch in zip(rows, (1, 3), strict=True):
        assert (row.name, row.images) == (f"batch {batch}", batch)
        assert (row.callers, row.threads) == (granted_cores(), 1)
        made = shapes.count((batch, 16, 16, 3))
        assert made == 5 + 3 * row.callers + sum(window.samples for window in row.windows)
