"""Actors of a Ray cluster: how many find room on its machines, and what each of them takes of a machine."""

from collections.abc import Mapping, Sequence
from typing import Any

from polyexport.errors import ProviderError, UsageError
from polyexport.runtime.provider import load_provider
from polyexport.runtime.providers import AUTO

__all__ = ["describe_resources", "fits_on_a_machine", "machine_resources", "size_actors"]


def machine_resources(ray: Any) -> list[dict[str, float]]:
    """Return the resources of each machine of the cluster, such as ``{"CPU": 8.0, "GPU": 1.0}``."""
    return [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]


def size_actors(machines: Sequence[Mapping[str, float]], provider: str, threads: int) -> tuple[int, dict[str, float]]:
    """Choose the number of actors and the resources of each.

    Args:
        machines: resources of each machine.
        provider: execution provider that the user asked for.
        threads: cores of an actor on a CPU.

    Returns:
        How many actors fit on the machines, and the resources of one actor.

    Raises:
        ProviderError: a provider that needs a GPU, on a cluster without one.
        UsageError: no machine is large enough for an actor.
    """
    on_gpus = sum(int(min(machine.get("GPU", 0), machine.get("CPU", 0))) for machine in machines)
    needs_gpu = provider != AUTO and load_provider(provider).reserves_gpu
    if needs_gpu and not on_gpus:
        raise ProviderError(
            f"the {provider} execution provider needs a GPU, and the cluster has none", remedy="leave --provider out"
        )
    if on_gpus and (needs_gpu or provider == AUTO):
        return on_gpus, {"GPU": 1.0, "CPU": 1.0}
    on_cpus = sum(int(machine.get("CPU", 0)) // threads for machine in machines)
    if not on_cpus:
        largest = max((int(machine.get("CPU", 0)) for machine in machines), default=0)
        raise UsageError(
            f"an actor of {threads} threads does not fit: the largest machine of the cluster has {largest} cores",
            remedy="give fewer --threads",
        )
    return on_cpus, {"CPU": float(threads)}


def fits_on_a_machine(resources: Mapping[str, float], machines: Sequence[Mapping[str, float]]) -> bool:
    """Return whether at least one machine is large enough for an actor of these resources."""
    return any(all(machine.get(name, 0) >= wanted for name, wanted in resources.items()) for machine in machines)


def describe_resources(resources: Mapping[str, float]) -> str:
    """Return resources as text, such as ``1 CPU and 1 GPU``."""
    return " and ".join(f"{count:g} {name}" for name, count in sorted(resources.items()))
