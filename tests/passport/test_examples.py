"""Inputs of a comparison."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from every_contract import KINDS
from version3_models import LOCAL_KINDS, VERSION3_KINDS

from polyexport.model.loading.load import load_model
from polyexport.model.model import Model
from polyexport.passport.examples import examples_for, examples_sha256


def _take(model: Model) -> None:
    examples = examples_for(model)
    for example in examples:
        image, *rows = example.feeds.values()
        assert len(model.run(image, *rows)) == len(image)
    assert len({tuple(one.feeds["image"].shape) for one in examples}) >= (1 if model.contract.fixed_shape else 2)
    assert examples_sha256(examples) == examples_sha256(examples_for(model))


@pytest.mark.parametrize("kind", [*VERSION3_KINDS, *LOCAL_KINDS])
def test_models_of_version_3_take_them(kind: str, version3_of: Callable[[str], Path]) -> None:
    _take(load_model(version3_of(kind), provider="cpu"))


@pytest.mark.parametrize("kind", KINDS)
def test_models_of_version_2_take_them(kind: str, model_of: Callable[[str], Path]) -> None:
    _take(load_model(model_of(kind), provider="cpu"))


def test_the_first_is_the_golden_sample(tiny_model: Model) -> None:
    golden = examples_for(tiny_model)[0]
    assert golden.name == "golden"
    assert golden.feeds["color"].tolist() == [list(tiny_model.contract.golden.values[0])]  # type: ignore[arg-type]


def test_pictures_have_colors_and_alpha(version3_of: Callable[[str], Path]) -> None:
    noise = examples_for(load_model(version3_of("rgba"), provider="cpu"))[1].feeds["image"][1]
    assert np.std(noise[..., 3].astype(float)) > 10
    assert np.std(noise[..., 0].astype(float) - noise[..., 1]) > 10
