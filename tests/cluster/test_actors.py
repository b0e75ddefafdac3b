"""The number and size of actors on the machines of a cluster."""

import pytest

from polyexport.cluster.actors import size_actors
from polyexport.errors import ProviderError, UsageError


def test_actors_find_a_place_on_a_machine_and_not_on_the_sum_of_them() -> None:
    small, large = {"CPU": 1.0}, {"CPU": 5.0, "memory": 1e9}
    assert size_actors([small, small], "cpu", 1) == (2, {"CPU": 1.0})
    assert size_actors([small, large], "auto", 2) == (2, {"CPU": 2.0})
    with pytest.raises(UsageError, match="largest machine of the cluster has 1 cores"):
        size_actors([small, small], "cpu", 2)
    with pytest.raises(UsageError, match="has 0 cores"):
        size_actors([], "cpu", 1)
    gpus = [{"CPU": 8.0, "GPU": 2.0}, {"CPU": 1.0, "GPU": 4.0}, small]
    assert size_actors(gpus, "auto", 4) == (3, {"GPU": 1.0, "CPU": 1.0})
    assert size_actors(gpus, "cuda", 1) == (3, {"GPU": 1.0, "CPU": 1.0})
    assert size_actors(gpus, "cpu", 1) == (10, {"CPU": 1.0})
    with pytest.raises(ProviderError, match="needs a GPU"):
        size_actors([small], "cuda", 1)
