"""The proof of a network's trace, for as many sizes as the trace holds at."""

from collections.abc import Callable
from dataclasses import replace

from polyexport.errors import FrozenSizeError
from polyexport.export.proof.own_images import OwnImages
from polyexport.export.proof.proof import Proof
from polyexport.export.source.source import Source
from polyexport.model.certificate import StageParity
from polyexport.model.conditions.fields import ColorInput

__all__ = ["proven_trace"]

_FACTOR = 4
_LARGEST_MULTIPLE = 64


def proven_trace(
    source: Source, color_input: ColorInput, own: OwnImages, report: Callable[[str], None]
) -> tuple[Proof, StageParity]:
    """Trace a network and compare the trace with it.

    A branch on the size of the image takes in a trace the way of the traced size. Where the sizes that a network takes
    were found out on noise, and its trace differs at one of them, it is traced anew for larger multiples, which take
    more branches in the same way, and at last for the training size alone.

    Args:
        source: The network.
        color_input: Second input of the graphs, if they take a color.
        own: Images to compare on.
        report: Called with each remark that the source does not have.

    Returns:
        The proof, whose source is the network with the sizes that it was proven for, and the comparison of the trace.

    Raises:
        ModelError: the network cannot be traced.
        ParityError: the trace differs at every size that it was tried for; the message is the first one.
    """
    first: FrozenSizeError | None = None
    while True:
        proof = Proof.of(source, color_input, own=own)
        try:
            stage = proof.check(proof.candidate("raw", proof.traced.model), least=True)
        except FrozenSizeError as error:
            first = first or error
            narrower = _narrower(source)
            if narrower is None:
                raise first from None
            report(f"{narrower.remarks[-1]}, after a trace of it failed elsewhere")
            source = narrower
        else:
            for remark in proof.source.remarks[len(source.remarks) :]:
                report(remark)
            return proof, stage


def _narrower(source: Source) -> Source | None:
    """Return the network for fewer sizes; None if there are none, or if the user said which they are."""
    if source.fixed_size or not source.sizes_found:
        return None
    multiple = _FACTOR * source.size_multiple
    if multiple > _LARGEST_MULTIPLE:
        side = source.training_size
        return replace(
            source, fixed_size=True, remarks=(*source.remarks, f"takes the training size alone, {side}x{side}")
        )
    smallest, training = (-(-side // multiple) * multiple for side in (source.smallest_size, source.training_size))
    return replace(
        source,
        size_multiple=multiple,
        smallest_size=smallest if smallest > multiple else 1,
        training_size=training,
        remarks=(*source.remarks, f"takes multiples of {multiple}"),
    )
