from pathlib import Path

import numpy as np
import pytest

from polyexport.data.drawing_config import DrawingConfig
from polyexport.data.drawings import draw
from polyexport.data.generate import write_drawings
from polyexport.data.image_pairs import ImagePair, read_image_pairs
from polyexport.errors import DatasetError
from polyexport.imaging.codecs.png import encode_png
from trainer.datasets import examples_of, hold_out, labels_of
from trainer.example import Example, example_of
from trainer.network import ModelConfig

TINY = ModelConfig(channels=(4, 4, 4, 4, 4))
LABELED = ModelConfig(channels=(4, 4), conditioning="label", labels=("ink", "wash"))
PLAIN = ModelConfig(channels=(4, 4), conditioning="none")


def examples(count: int) -> list[Example]:
    return [example_of(draw(np.random.default_rng(number), 16)) for number in range(count)]


def labeled(labels: list[str], folder: Path) -> list[ImagePair]:
    """Pairs of one picture with itself."""
    picture = folder / "picture.png"
    picture.write_bytes(encode_png(draw(np.random.default_rng(0), 16).image))
    return [ImagePair(input=picture, condition=label, output=picture) for label in labels]


def test_examples_are_those_of_the_data_set(tmp_path: Path) -> None:
    write_drawings(tmp_path, {"": DrawingConfig()}, count=3, size=32, seed=5)
    for number, example in enumerate(examples_of(read_image_pairs(tmp_path), TINY)):
        drawing = draw(np.random.default_rng([5, number]), 32)
        assert example.condition == drawing.color
        assert np.array_equal(example.image, drawing.image)
        assert np.array_equal(example.target, drawing.colored)


def test_a_size_that_the_network_cannot_take_is_refused(tmp_path: Path) -> None:
    write_drawings(tmp_path, {"": DrawingConfig()}, count=1, size=40, seed=0)
    with pytest.raises(DatasetError, match="is 40x40.*a multiple of 16"):
        examples_of(read_image_pairs(tmp_path), TINY)


def test_labels_are_numbered_in_sorted_order(tmp_path: Path) -> None:
    pairs = labeled(["wash", "ink", "wash"], tmp_path)
    assert labels_of(pairs) == LABELED.labels
    assert [example.condition for example in examples_of(pairs, LABELED)] == [1, 0, 1]
    assert labels_of([ImagePair(input=tmp_path, condition=None, output=tmp_path)]) == ()


def test_a_label_that_the_network_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"has the label 'oil', which .* give labels that it knows: ink, wash$"):
        examples_of(labeled(["ink", "oil"], tmp_path), LABELED)


def test_another_kind_of_pairs_than_the_network_takes_is_refused(tmp_path: Path) -> None:
    (pair,) = labeled(["ink"], tmp_path)
    with pytest.raises(DatasetError, match="comes with a label, and the network takes a color; give pairs for it"):
        examples_of([pair], TINY)
    with pytest.raises(DatasetError, match="comes with a label, and the network takes nothing but the picture"):
        examples_of([pair], PLAIN)
    plain = ImagePair(input=pair.input, condition=None, output=pair.output)
    with pytest.raises(DatasetError, match="comes with nothing but the picture, and the network takes a label"):
        examples_of([plain], LABELED)
    assert examples_of([plain], PLAIN)[0].condition is None


def test_every_eighth_pair_is_held_out() -> None:
    pairs = examples(17)
    training, validation = hold_out(pairs)
    assert [id(one) for one in validation] == [id(pairs[number]) for number in (0, 8, 16)]
    assert len(training) == 14
    assert not any(one is other for one in training for other in validation)


@pytest.mark.parametrize("count", range(2, 8))
def test_one_of_a_few_pairs_is_held_out(count: int) -> None:
    pairs = examples(count)
    training, validation = hold_out(pairs)
    assert [id(one) for one in validation] == [id(pairs[0])]
    assert [id(one) for one in training] == [id(one) for one in pairs[1:]]


def test_a_single_pair_is_both_trained_and_scored_on() -> None:
    pairs = examples(1)
    assert all(part is pairs for part in hold_out(pairs))


def test_a_label_that_would_never_be_trained_is_refused(tmp_path: Path) -> None:
    read = examples_of(labeled(["wash", "ink", "ink"], tmp_path), LABELED)
    with pytest.raises(DatasetError, match="all pairs with the label 'wash' are held out for validation"):
        hold_out(read, LABELED.labels)
    assert len(hold_out([*read, read[0]], LABELED.labels)[0]) == 3
