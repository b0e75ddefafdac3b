"""One side of a comparison: a graph on an execution provider."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyexport.errors import OutOfMemoryError, check_memory
from polyexport.passport.taken_apart import Step, TakenApart
from polyexport.runtime.open import open_session
from polyexport.runtime.provider import Provider, load_provider
from polyexport.runtime.session import Session, SessionOptions

__all__ = ["Side", "Values"]

Values = Mapping[str, NDArray[Any]]
"""Tensors by their names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """A model file on an execution provider."""

    label: str
    """Name for messages, such as ``cpu``."""

    options: SessionOptions
    """Use of the provider: as an inference uses it, so that short formats count."""

    model: bytes
    """Bytes of the model file."""

    graph: TakenApart
    """Graph of the model file."""

    @property
    def provider(self) -> Provider:
        """Provider that computes."""
        return load_provider(self.options.provider)

    def open(self, model: bytes) -> Session:
        """Open a session of a graph on the provider.

        Raises:
            PolyexportError: it cannot be opened; see ``open_session``.
        """
        return open_session(model, self.options)

    def outputs(self, examples: Sequence[Values]) -> list[Values]:
        """Run the model as it is, and return its outputs for each example.

        Raises:
            PolyexportError: it cannot be opened.
            OutOfMemoryError: memory ran out.
        """
        session = self.open(self.model)
        graph = self.graph
        return [_run(session, graph.outputs, {name: feeds[name] for name in graph.inputs}) for feeds in examples]

    def tensors(self, names: Sequence[str], examples: Sequence[Values]) -> list[Values]:
        """Run the part of the graph that gives some tensors, and return them for each example.

        Raises:
            PolyexportError: it cannot be opened.
            OutOfMemoryError: memory ran out.
        """
        wanted = [name for name in names if name not in self.graph.inputs]
        used = self.graph.used_inputs(wanted)
        session = self.open(self.graph.cut(wanted)) if wanted else None
        found: list[Values] = []
        for feeds in examples:
            given = {name: feeds[name] for name in names if name in self.graph.inputs}
            made = _run(session, wanted, {name: feeds[name] for name in used}) if session is not None else {}
            found.append(given | made)
        return found

    def alone(self, step: Step, inputs: Values) -> Values:
        """Run one node with its weights.

        Args:
            step: a step of this side's graph.
            inputs: tensors that the node depends on.

        Raises:
            PolyexportError: it cannot be opened.
            OutOfMemoryError: memory ran out.
        """
        return _run(self.open(self.graph.alone(step, inputs)), step.tensors, {n: inputs[n] for n in step.inputs})


def _run(session: Session, names: Sequence[str], feeds: Values) -> dict[str, NDArray[Any]]:
    try:
        found = session.run_all(names, feeds)
    except OutOfMemoryError:
        raise
    except Exception as error:
        check_memory(error, f"running {len(names)} tensors of the graph on {session.execution_provider}")
        raise
    return {name: np.asarray(value) for name, value in zip(names, found, strict=True)}
