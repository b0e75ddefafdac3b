"""Data sets on disk as examples to train on, and the choice of the examples that are held out for validation."""

from polyexport.data.image_pairs import ImagePair, read_images
from polyexport.errors import DatasetError
from polyexport.imaging.color import Color
from trainer.example import Example
from trainer.network import ModelConfig

__all__ = ["examples_of", "hold_out", "labels_of"]

_HELD_OUT_ONE_IN = 8
_LISTED = 5
"""Labels that an error message names."""


def labels_of(pairs: list[ImagePair]) -> tuple[str, ...]:
    """Return every label of a data set once, sorted by code points, whatever the order of its entries."""
    return tuple(sorted({pair.condition for pair in pairs if isinstance(pair.condition, str)}))


def examples_of(pairs: list[ImagePair], model: ModelConfig) -> list[Example]:
    """Read every pair of a data set into memory.

    Args:
        pairs: The pairs, as ``polyexport.data.image_pairs`` reads them.
        model: The network to train: its labels number those of the pairs, and heights and widths must be multiples of
            its ``size_multiple``.

    Raises:
        DatasetError: The pairs have another kind of condition than the network, or a label that it does not know; or an
            image cannot be read, or the images are not squares of one suitable size.
    """
    index_of = {label: number for number, label in enumerate(model.labels)}
    examples: list[Example] = []
    for pair in pairs:
        condition = _condition(pair, model, index_of)
        image, target = read_images(pair.input, pair.output)
        height, width = image.shape[:2]
        if height != width or height % model.size_multiple or (examples and examples[0].image.shape != image.shape):
            raise DatasetError(
                f"{pair.input} is {width}x{height}",
                remedy=f"give square images of one size, a multiple of {model.size_multiple}",
            )
        examples.append(Example(image=image, condition=condition, target=target))
    return examples


def _condition(pair: ImagePair, model: ModelConfig, index_of: dict[str, int]) -> tuple[int, int, int] | int | None:
    """Return the condition of a pair as a training takes it."""
    wanted = model.conditioning if model.conditioning in ("label", "none") else "color"
    if pair.kind != wanted:
        said = {"color": "a color", "label": "a label", "none": "nothing but the picture"}
        raise DatasetError(
            f"{pair.input} comes with {said[pair.kind]}, and the network takes {said[wanted]}",
            remedy="give pairs for it; without --initial, the kind of network follows from --data",
        )
    if isinstance(pair.condition, Color):
        return pair.condition.rgb
    if isinstance(pair.condition, str):
        if pair.condition not in index_of:
            raise DatasetError(
                f"{pair.input} has the label {pair.condition!r}, which the network does not know",
                remedy=f"give labels that it knows: {_listed(model.labels)}",
            )
        return index_of[pair.condition]
    return None


def _listed(labels: tuple[str, ...]) -> str:
    return ", ".join(labels[:_LISTED]) + (f" and {len(labels) - _LISTED} more" if len(labels) > _LISTED else "")


def hold_out(pairs: list[Example], labels: tuple[str, ...] = ()) -> tuple[list[Example], list[Example]]:
    """Divide pairs into those to train on and those to validate on: every eighth pair, the first one included.

    So at least one pair is held out if there are two. A single pair cannot be divided: it is used for both, and the
    training calls its scores those of the training pairs.

    Args:
        pairs: The pairs of a data set.
        labels: Names of their labels, in index order; empty without labels.

    Raises:
        DatasetError: All pairs of a label would be held out.
    """
    if len(pairs) < 2:
        return pairs, pairs
    training = [pair for number, pair in enumerate(pairs) if number % _HELD_OUT_ONE_IN]
    held_out = pairs[::_HELD_OUT_ONE_IN]
    trained = {pair.condition for pair in training}
    for pair in held_out:
        if isinstance(pair.condition, int) and pair.condition not in trained:
            raise DatasetError(
                f"all pairs with the label {labels[pair.condition]!r} are held out for validation",
                remedy="give the label more pairs, or a data set to validate on with --validation",
            )
    return training, held_out
