"""Rows of what networks want, exported and run, beside the network run by hand in PyTorch.

POLYEXPORT_ALL_WANTS=1 runs all of them; ``tests/networks/wants_chain.py`` takes them through the commands.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from polyexport.export.export import export_source
from polyexport.export.proof.parity import CPU_OPTIONS
from polyexport.export.source.load import load_source
from polyexport.export.source.spec_fields import read_field
from polyexport.model.loading.load import load_model

NETWORKS = Path(__file__).parents[2] / "networks"

with pytest.MonkeyPatch.context() as _patch:
    _patch.syspath_prepend(NETWORKS)
    import wanting
    from wants import WANTS, Case, Want, options_of, picture


TRIED = WANTS if os.environ.get("POLYEXPORT_ALL_WANTS") else WANTS[::4]
"""Rows that are tried: an export takes seconds, so a run of the whole suite takes every fourth, and the fast one
every twelfth."""


@pytest.mark.parametrize(
    "want",
    [
        pytest.param(want, id=want.name, marks=[] if number % 3 == 0 else [pytest.mark.slow])
        for number, want in enumerate(TRIED)
    ],
)
def test_a_network_that_wants(want: Want, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(NETWORKS)
    torch.manual_seed(2)
    network = getattr(wanting, want.network)(**want.arguments).eval()
    safetensors.torch.save_file(network.state_dict(), tmp_path / "w.safetensors")
    said = {"size": 32, "size-multiple": 4} | options_of(want)
    fields = dict(read_field(key, value) for key, value in said.items())
    source = load_source(f"wanting:{want.network}", weights=tmp_path / "w.safetensors", **fields)
    export_source(source, tmp_path / "m.onnx")

    image, mask = picture()
    with torch.no_grad():
        expected = want.hand(Case(network=network, image=image, mask=mask))
    given = {
        1: np.asarray(__import__("PIL.Image").Image.fromarray(image).convert("L"))[..., None],
        3: image,
        4: np.concatenate([image, mask], 2),
    }[want.of_image]
    pictures = {name: [mask if name == "mask" else np.ascontiguousarray(image[::-1])] for name in want.masks}
    model = load_model(tmp_path / "m.onnx", provider=CPU_OPTIONS.provider)
    (result,) = model.apply([given], want.values, pictures=pictures)

    assert expected.shape == result.shape
    assert result.shape[0] == 32 * want.scale
    assert np.abs(expected.astype(int) - result).max() <= 1
    assert len(np.unique(expected)) > 2  # the row is no constant
