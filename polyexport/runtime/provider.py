"""The interface of an execution provider, and access to the registered ones."""

import functools
import importlib
import importlib.util
from abc import ABC, abstractmethod
from typing import Literal

import onnxruntime as ort

from polyexport.runtime import providers
from polyexport.runtime.machine import cpu_name, gpu_names
from polyexport.runtime.session import Session, SessionOptions

__all__ = ["MatmulFormat", "Provider", "all_providers", "auto_order", "load_provider", "provider_of"]

MatmulFormat = Literal["float32", "bfloat16", "int8"]
"""Number format of the factors of a matrix product."""


class Provider(ABC):
    """One execution provider: everything that this program knows about it.

    To add one, write ``polyexport/runtime/providers/<name>.py`` with a subclass and ``PROVIDER = ThatSubclass()``, and
    add its row to ``PROVIDER_MODULES`` in ``polyexport/runtime/providers/__init__.py``. The command line, ``doctor``,
    ``auto``, ``bench``, ``export`` and ``--ray`` then use it. If its libraries are an optional dependency, add an extra
    of the same name to ``pyproject.toml``; describe it in ``docs/providers.md``; and put its tests into
    ``tests/runtime/providers/test_<name>.py``. Importing the module must not import the provider's own libraries.
    """

    name: str
    """Value of ``--provider``, and the name of the extra that installs it."""

    execution_provider: str
    """Name that its sessions give as ``execution_provider``: ONNX Runtime's, such as ``CUDAExecutionProvider``, or the
    name of another runtime."""

    remedy: str
    """Advice for when it does not work, which ends an error message: an imperative clause without a period."""

    module: str = ""
    """Python module that it needs; empty for a provider that is part of ONNX Runtime's own package."""

    runtime: str = "onnxruntime"
    """Python module whose ``__version__`` is the version of the runtime that computes."""

    packages: tuple[str, ...] = ()
    """Distributions that its extra installs; ``doctor`` shows their versions."""

    auto_rank: int | None = None
    """Place in ``auto``, which tries the lowest rank first, and the highest as the last resort. None if ``auto`` never
    takes it."""

    built_in: bool = False
    """Whether it works wherever ONNX Runtime does, so that it need not be probed before a session is opened."""

    takes_whole_graph: bool = False
    """Whether it runs all nodes of a graph or refuses the graph, so that no node can land on another provider."""

    on_device: bool = False
    """Whether it computes on a device of its own, such as a GPU, and not on the processor."""

    reserves_gpu: bool = False
    """Whether a worker of a cluster must reserve a GPU for it. Ray counts CUDA's devices."""

    precision_advice: str = ""
    """Advice for when it leaves nodes of a graph to other providers: the precisions that it does take, as an imperative
    clause without a period."""

    def missing(self) -> str:
        """Name the part that is not installed, in one line; empty if a session can be tried."""
        if self.module:
            found = importlib.util.find_spec(self.module)
            return "" if found else f"the package {self.module} is not installed"
        if self.execution_provider not in ort.get_available_providers():
            return f"this ONNX Runtime ({ort.__version__}) was built without it"
        return ""

    def preload(self) -> None:  # noqa: B027 - most providers have nothing to load
        """Load libraries that the system's loader would not find. Called once, before the first session."""

    @abstractmethod
    def open(self, model: bytes, options: SessionOptions) -> Session:
        """Open a session on it.

        The caller turns every other exception into a ``ProviderError``, and compares what the session says it runs on
        with ``execution_provider``.

        Args:
            model: bytes of a whole ONNX file, without external data.
            options: how the session uses this machine.

        Raises:
            ContractError: the bytes are not an ONNX model.
            ProviderError: the model cannot be run on it.
        """

    def driver_fault(self) -> str:
        """Name what the driver lacks if a session landed on the CPU without an error; empty if that is not known."""
        return ""

    def auto_skips(self, model: bytes, options: SessionOptions) -> str:
        """Give the reason why ``auto`` should not open a session for this work; empty if it should."""
        del model, options
        return ""

    def auto_refuses(self, session: Session, options: SessionOptions) -> str:
        """Give the reason why ``auto`` should not keep a session that ``open`` returned; empty if it should."""
        del session, options
        return ""

    def float_bits(self, options: SessionOptions) -> int:
        """Return the bits behind the point of the format in which it multiplies float32.

        These are 23 of float32, 10 of TensorFloat-32, or 7 of bfloat16. Called only if the provider works.
        """
        del options
        return 23

    def device(self, options: SessionOptions) -> str:
        """Name the processor, or the GPU and its driver, on which it computes; called only if it works."""
        del options
        return gpu_names() if self.on_device else cpu_name()

    def matmul_formats(self) -> tuple[MatmulFormat, ...]:
        """List the number formats in which it multiplies matrices on the processor.

        ``bench`` measures the peak rate of each. A provider that lists ``bfloat16`` multiplies float32 in it when
        ``SessionOptions.use_tf32`` is set. Empty on devices, whose rate is not measured. Called only if the provider
        works.
        """
        return ()


@functools.cache
def load_provider(name: str) -> Provider:
    """Import the registered provider of that name.

    Raises:
        KeyError: no such name is registered.
    """
    provider: Provider = importlib.import_module(providers.PROVIDER_MODULES[name]).PROVIDER
    return provider


def all_providers() -> tuple[Provider, ...]:
    """Import every registered provider, in the order of the registry."""
    return tuple(load_provider(name) for name in providers.PROVIDER_MODULES)


def auto_order() -> tuple[Provider, ...]:
    """List the providers that ``auto`` tries, best first. The last one is the last resort."""
    ranked = [(each.auto_rank, each) for each in all_providers() if each.auto_rank is not None]
    return tuple(each for _, each in sorted(ranked, key=lambda pair: pair[0]))


def provider_of(execution_provider: str) -> Provider:
    """Find the registered provider whose sessions give this as their ``execution_provider``.

    Raises:
        KeyError: no registered provider does.
    """
    for each in all_providers():
        if each.execution_provider == execution_provider:
            return each
    raise KeyError(execution_provider)
