"""The comparison of two providers, node by node in the order of the graph.

Every tensor of the graph is made an output, as many at a time as the memory allows, and is compared on the same inputs.
A node whose output differs by more than rounding explains runs alone on both providers, on the reference's inputs:
if it differs there as well, it is a cause. If not, it is a consequence: the difference came with its inputs, which
rounding may have moved, or of what a provider makes of several nodes together. Nodes with weights run alone in any
case: rounding adds up along the graph, and hides what one of them adds to it.

Outputs keep providers from fusing the nodes around them. So the untouched graph is compared, too.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from polyexport.errors import ContractError, OutOfMemoryError, PolyexportError, reason_of
from polyexport.passport.difference import Difference, difference_of
from polyexport.passport.document import Kind, NodeAlone, NodeDifference, OutputDifference
from polyexport.passport.examples import Example
from polyexport.passport.side import Side, Values
from polyexport.passport.taken_apart import SIZES_PREFIX, Step
from polyexport.passport.tolerance import Tolerance
from polyexport.runtime.memory import granted_memory
from polyexport.runtime.open import open_session
from polyexport.runtime.session import SessionOptions

__all__ = ["Findings", "examine"]

_MAX_ALONE = 16
"""Number of differing nodes that run alone. Behind a node where differences have grown nearly everything differs."""

_MIN_WEIGHTS = 16
"""Number of stored values from which a node counts as one with weights; scales of quantization have fewer."""

_MAX_NAME = 200
_MAX_CHANGED = 8

_MAX_BYTES = 512 << 20
_MEMORY_SHARE = 16  # both sides hold the tensors of a part, runtimes copy them, and their comparison takes float64
_BYTES_OF_VALUE = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """The result of a comparison."""

    compared: int
    """Number of tensors that were compared: all of them, or those up to the part of the graph with the cause."""

    uncompared: tuple[str, ...]
    """Tensors that a provider does not give."""

    first: NodeDifference | None
    """First node whose output differs by more than the tolerance; None if there is none."""

    cause: NodeDifference | None
    """First node that differs by itself; None if there is none."""

    widest: NodeDifference | None
    """Node with the largest difference of floats that is within the tolerance, as a share of the range."""

    apart: OutputDifference
    """Results of the graph whose tensors were taken out."""

    fused: OutputDifference
    """Results of the untouched graph."""

    @property
    def agrees(self) -> bool:
        """Whether the results agree, and no node is a cause of a difference, or may be one."""
        unknown = self.first is not None and self.first.kind == "unknown"
        return self.cause is None and not unknown and self.fused.agrees and self.apart.agrees


def examine(
    reference: Side,
    candidate: Side,
    examples: Sequence[Example],
    tolerance: Tolerance,
    *,
    output: str,
    labels: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> Findings:
    """Compare a graph on two providers, tensor by tensor.

    Args:
        reference: The side that counts as right.
        candidate: The other side. Its graph has tensors of the same names; others are not compared.
        examples: Inputs.
        tolerance: Differences that rounding explains.
        output: Name of the model's output.
        labels: Whether the result holds labels, of which only the share of unequal ones counts.
        report: Called with each line of progress.

    Raises:
        PolyexportError: a provider does not take the graph.
        OutOfMemoryError: memory ran out.
        ContractError: the second file gives no such output.
    """
    return _Examination(reference, candidate, examples, tolerance, report).run(output, labels=labels)


_Worst = tuple[Difference, str, int]  # of a node: with the name of its output, and the number of the example


@dataclass(frozen=True, kw_only=True, slots=True)
class _Alone:
    """Result of running a node alone."""

    kind: Kind = "none"
    difference: Difference | None = None
    failure: str = ""


class _Examination:
    def __init__(
        self,
        reference: Side,
        candidate: Side,
        examples: Sequence[Example],
        tolerance: Tolerance,
        report: Callable[[str], None],
    ) -> None:
        self._reference, self._candidate = reference, candidate
        self._examples, self._tolerance, self._report = examples, tolerance, report
        self._feeds = [example.feeds for example in examples]
        self._others = {name: step for step in candidate.graph.steps for name in step.tensors}
        self._common = frozenset(self._others)
        self._steps = [step for step in reference.graph.steps if step.tensors[0] in self._common]
        self._relative: dict[str, float] = {}  # largest difference of each tensor, as a share of its range
        self._tried = 0
        self._compared = 0
        self._uncompared: list[str] = []
        self._first: NodeDifference | None = None
        self._cause: NodeDifference | None = None
        self._widest: NodeDifference | None = None
        self._largest = 0.0
        self._apart: list[Difference] = []

    def run(self, output: str, *, labels: bool) -> Findings:
        if output not in self._common:
            raise ContractError(f"the second file has no tensor {output!r}", remedy="give files of the same network")
        whole = zip(self._reference.outputs(self._feeds), self._candidate.outputs(self._feeds), strict=True)
        untouched = [difference_of(one[output], other[output]) for one, other in whole]
        fused = self._result(untouched, labels=labels)
        parts = list(self._parts())
        for part in parts:
            self._examine(part, output)
            if self._cause is not None:
                break
        if not self._apart:  # the search ended before
            names = [name for step in parts[-1] for name in step.tensors if name in self._common]
            pairs = zip(self._given(self._reference, names), self._given(self._candidate, names), strict=True)
            self._apart = [
                difference_of(one[output], two[output]) for one, two in pairs if output in one and output in two
            ]
        apart = self._result(self._apart or untouched, labels=labels)
        return Findings(
            compared=self._compared,
            uncompared=tuple(self._uncompared),
            first=self._first,
            cause=self._cause,
            widest=self._widest,
            apart=apart,
            fused=fused,
        )

    def _result(self, found: Sequence[Difference], *, labels: bool) -> OutputDifference:
        """Judge the differences of the model's results, one for each example."""
        worst = max(found, key=lambda one: (one.other_shape is not None, one.not_finite, one.mean_abs, one.max_abs))
        unequal = max(one.unequal for one in found)
        limit = self._tolerance
        wrong = any(one.other_shape is not None or one.not_finite for one in found)
        beyond = unequal > limit.unequal if labels else worst.mean_abs > limit.mean_levels
        return OutputDifference(
            max_levels=max(one.max_abs for one in found),
            mean_levels=max(one.mean_abs for one in found),
            unequal=unequal,
            agrees=not wrong and not beyond,
        )

    def _parts(self) -> Iterator[Sequence[Step]]:
        """Cut the steps into parts whose tensors fit the memory together, by sizes that a run on the CPU tells."""
        sizes = self._sizes()
        most = min(_MAX_BYTES, granted_memory() // _MEMORY_SHARE)
        part: list[Step] = []
        filled = 0
        for step in self._steps:
            size = sum(sizes.get(name, 0) for name in step.tensors) * _BYTES_OF_VALUE
            if part and filled + size > most:
                yield part
                part, filled = [], 0
            part.append(step)
            filled += size
        yield part

    def _sizes(self) -> Mapping[str, int]:
        """Return the number of elements of every tensor, with all examples together."""
        graph = self._reference.graph
        session = open_session(graph.sizes(), SessionOptions(provider="cpu", check_placement=False))
        names = [name for name in session.outputs if name.startswith(SIZES_PREFIX)]
        total = dict.fromkeys(names, 0)
        for feeds in self._feeds:
            found = session.run_all(names, {name: feeds[name] for name in session.inputs})
            for name, size in zip(names, found, strict=True):
                total[name] += int(size)
        return {name.removeprefix(SIZES_PREFIX): size for name, size in total.items()}

    def _examine(self, part: Sequence[Step], output: str) -> None:
        """Compare the tensors of a part of the graph, until a cause is found."""
        wanted = [name for step in part for name in step.tensors]
        expected = self._given(self._reference, list(dict.fromkeys([*self._inputs(part), *wanted])))
        found = self._given(self._candidate, [name for name in wanted if name in expected[0] and name in self._common])
        if output in found[0]:
            self._apart = [difference_of(one[output], two[output]) for one, two in zip(expected, found, strict=True)]
        for step in part:
            worst = self._worst(step, expected, found)
            if worst is None:
                continue
            difference, _, number = worst
            beyond = difference.exceeds(self._tolerance, alone=False)
            if not beyond and difference.dtype.startswith("float") and difference.relative > self._largest:
                self._largest = difference.relative
                self._widest = self._described(step, worst, _Alone())
            if self._tried < _MAX_ALONE if beyond else self._reference.graph.num_weights(step) >= _MIN_WEIGHTS:
                self._tried += beyond
                self._look_into(step, worst, beyond, {name: expected[number].get(name) for name in step.inputs})
                if self._cause is not None:
                    break
        self._report(f"{self._compared} tensors compared, up to {part[-1].tensors[-1]}")

    def _inputs(self, part: Sequence[Step]) -> list[str]:
        return [name for step in part for name in step.inputs]

    def _worst(self, step: Step, expected: Sequence[Values], found: Sequence[Values]) -> _Worst | None:
        """Return the largest difference of the outputs of a node over all examples; None if none can be compared."""
        differences: list[_Worst] = []
        for number in range(len(self._examples)):
            for tensor in step.tensors:
                if tensor in found[number]:
                    self._compared += number == 0
                    one = difference_of(expected[number][tensor], found[number][tensor])
                    self._relative[tensor] = max(self._relative.get(tensor, 0.0), one.relative)
                    differences.append((one, tensor, number))
        return max(differences, key=self._badness, default=None)

    def _badness(self, one: _Worst) -> tuple[bool, float]:
        return one[0].exceeds(self._tolerance, alone=False), one[0].relative

    def _given(self, side: Side, names: Sequence[str]) -> list[dict[str, NDArray[Any]]]:
        """Return the tensors that a side gives; where it refuses a part, its halves are tried."""
        try:
            return [dict(values) for values in side.tensors(names, self._feeds)]
        except OutOfMemoryError:
            raise
        except Exception:  # noqa: BLE001 - whatever a runtime raises for an output that it does not give
            if len(names) == 1:
                self._uncompared.append(names[0])
                return [{} for _ in self._feeds]
        middle = len(names) // 2
        halves = [self._given(side, half) for half in (names[:middle], names[middle:])]
        return [one | other for one, other in zip(*halves, strict=True)]

    def _look_into(self, step: Step, worst: _Worst, beyond: bool, inputs: Mapping[str, NDArray[Any] | None]) -> None:
        """Run a node alone on both sides, and find out whether it is a cause."""
        kind: Kind = "consequence" if beyond else "none"
        alone, failure = None, ""
        try:
            alone = self._run_alone(step, worst[1], {n: value for n, value in inputs.items() if value is not None})
            if alone.exceeds(self._tolerance, alone=True):
                kind = "cause"
        except OutOfMemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a runtime raises for a graph of one node
            failure = error.message if isinstance(error, PolyexportError) else reason_of(error)
            kind = "unknown" if beyond else kind
        if kind == "none":
            return
        described = self._described(step, worst, _Alone(kind=kind, difference=alone, failure=failure))
        self._first = self._first or described
        if kind == "cause":
            self._cause = described

    def _run_alone(self, step: Step, tensor: str, inputs: Values) -> Difference:
        """Compare the output of one node on equal inputs."""
        other = self._others[step.tensors[0]]
        if set(other.inputs) != set(step.inputs):
            raise ContractError("it has other inputs in the second file", remedy="give files of the same network")
        if len(inputs) < len(step.inputs):
            raise ContractError("a provider does not give its inputs", remedy="compare other providers")
        pairs = ((self._reference, step), (self._candidate, other))
        expected, found = (side.alone(one, inputs)[tensor] for side, one in pairs)
        return difference_of(expected, found)

    def _described(self, step: Step, worst: _Worst, alone: _Alone) -> NodeDifference:
        difference, tensor, number = worst
        by_itself = alone.difference
        return NodeDifference(
            node=step.name[:_MAX_NAME],
            operator=step.node.op_type[:_MAX_NAME],
            tensor=tensor[:_MAX_NAME],
            shape=difference.shape,
            dtype=difference.dtype,
            example=self._examples[number].name,
            kind=alone.kind,
            max_abs=difference.max_abs,
            relative=difference.relative,
            index=difference.index,
            inputs_relative=max((self._relative.get(name, 0.0) for name in step.inputs), default=0.0),
            detail=difference.describe(),
            alone=None
            if by_itself is None
            else NodeAlone(max_abs=by_itself.max_abs, relative=by_itself.relative, detail=by_itself.describe()),
            failure=alone.failure[:_MAX_NAME],
            changed_weights=self._changed(step) if alone.kind != "none" else (),
        )

    def _changed(self, step: Step) -> tuple[str, ...]:
        """Name the weights of a node that are others in the second file."""
        if self._candidate.model is self._reference.model:
            return ()
        own = self._reference.graph.weights_of(step)
        others = self._candidate.graph.weights_of(self._others[step.tensors[0]])
        return tuple(name[:_MAX_NAME] for name in own if own[name] != others.get(name))[:_MAX_CHANGED]
