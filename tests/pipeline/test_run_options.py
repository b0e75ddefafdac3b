"""The choice of batch size, threads and concurrent calls."""

import pytest

from polyexport.pipeline.run_options import RunOptions, threads_and_streams


def test_bad_options_are_refused_when_built() -> None:
    for values in ({"batch_size": 0}, {"batch_size": 5000}, {"streams": 0}):
        with pytest.raises(ValueError, match="must be"):
            RunOptions(**values)


@pytest.mark.parametrize(
    ("outputs", "threads", "cores", "expected"),
    [
        (1, 0, 2, (2, 1)),
        (8, 0, 2, (1, 2)),
        (1000, 0, 1, (1, 1)),
        (1000, 2, 8, (2, 4)),
        (1, 3, 2, (3, 1)),
        (31, 0, 8, (8, 1)),
    ],
)
def test_cores_are_shared_out(outputs: int, threads: int, cores: int, expected: tuple[int, int]) -> None:
    assert threads_and_streams(outputs, threads=threads, cores=cores) == expected
