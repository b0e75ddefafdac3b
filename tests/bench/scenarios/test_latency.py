from polyexport.bench.scenarios.latency import Latency
from polyexport.bench.scenarios.scenario import Settings, Subject
from polyexport.runtime.cores import granted_cores


def test_one_image_a_call_after_a_warm_up(subject: Subject, settings: Settings, shapes: list[tuple[int, ...]]) -> None:
    (row,) = Latency().measure(subject, settings, print)
    assert set(shapes[1:]) == {(1, 16, 16, 3)}  # the first is the golden sample
    assert len(shapes) == 1 + 5 + sum(window.samples for window in row.windows)
    assert (row.callers, row.threads, row.images) == (1, granted_cores(), 1)


def test_a_rate_that_is_too_high_is_said(subject: Subject, settings: Settings) -> None:
    (row,) = Latency(rate=10_000.0).measure(subject, settings, print)
    assert row.name == "10000 requests/s"
    assert not row.stable or row.note.startswith("SATURATED")
