import pytest

from polyexport.bench.inputs import checked_size, inputs
from polyexport.bench.scenarios import build_scenario
from polyexport.errors import UsageError
from polyexport.model.model import Model


def test_inputs_fit_every_conditioning(tiny_model: Model, vocabulary_model: Model) -> None:
    for model in (tiny_model, vocabulary_model):
        image, color = inputs(model, 16, 3)
        assert model.run(image, color).shape == (3, 16, 16, 3)
        assert (image[0] == 255).mean() > 0.5


@pytest.mark.parametrize(
    ("size", "images", "message"),
    [
        (30, 1, "multiple of 4"),
        (4096, build_scenario("throughput", {"batch_sizes": (8, 1)}).images_per_call, "more than 16777216 pixels"),
        (4096, build_scenario("palette").images_per_call, "more than 16777216 pixels"),
        (4096, build_scenario("cold-start").images_per_call, "more than 16777216 pixels"),
    ],
)
def test_sizes_that_are_refused(tiny_model: Model, size: int, images: int, message: str) -> None:
    with pytest.raises(UsageError) as refusal:
        checked_size(tiny_model, size, images)
    assert message in f"{refusal.value.message}: {refusal.value.remedy}"


def test_the_largest_size(tiny_model: Model) -> None:
    assert checked_size(tiny_model, 4096, build_scenario("latency").images_per_call) == 4096
