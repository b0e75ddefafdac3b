"""Weights that a module computes from others are replaced by their values."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, spectral_norm, weight_norm

from polyexport.export.source.folding import fold_reparametrizations, reparametrized_names
from polyexport.export.source.network import load_network
from polyexport.export.source.spec import NetworkSpec

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")


class Symmetric(nn.Module):
    """A parametrization as users write them."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight + weight.transpose(0, 1)


class Double(nn.Module):
    """A parametrization that changes the type of its weight."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight.double()


def symmetric(layer: nn.Module) -> nn.Module:
    parametrize.register_parametrization(layer, "weight", Symmetric())
    return layer


def twice(layer: nn.Module) -> nn.Module:
    parametrizations.spectral_norm(symmetric(layer))
    return layer


def of_two_weights(layer: nn.Module) -> nn.Module:
    parametrizations.weight_norm(weight_norm(layer, "bias"), dim=1)
    return layer


PLACES = ("0", "1.0", "1.1")

NORMS = [
    weight_norm, spectral_norm, parametrizations.weight_norm, parametrizations.spectral_norm,
    parametrizations.orthogonal, symmetric, twice, of_two_weights,
]  # fmt: skip


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: f"{norm.__module__.rpartition('.')[2]}.{norm.__name__}")
def test_the_results_stay_and_the_functions_go(norm: Callable[[nn.Module], nn.Module]) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(norm(nn.Linear(9, 9)), nn.Sequential(nn.Linear(9, 9), norm(nn.Linear(9, 9))))
    image = torch.rand(2, 9)
    module(image)  # a step of each spectral norm
    before = module.eval()(image)
    module.train()
    module[1].eval()
    names = fold_reparametrizations(module)
    assert {"0.weight", "1.1.weight"} <= set(names)
    assert module.training
    assert not module[1].training
    assert module.state_dict().keys() == {f"{place}.{kind}" for place in PLACES for kind in ("weight", "bias")}
    assert not reparametrized_names(module)
    assert torch.equal(module.eval()(image), before)
    # PyTorch's own loading knows the plain weights again.
    assert not any(module.load_state_dict(module.state_dict()))


def test_only_those_that_are_named() -> None:
    module = nn.Sequential(parametrizations.weight_norm(nn.Linear(2, 2)), spectral_norm(nn.Linear(2, 2)))
    assert reparametrized_names(module) == ["0.weight", "1.weight"]
    assert fold_reparametrizations(module, ["1.weight", "0.bias"]) == ("1.weight",)
    assert reparametrized_names(module) == ["0.weight"]
    assert fold_reparametrizations(module[0]) == ("weight",)
    assert fold_reparametrizations(module) == ()


def test_a_layer_that_stands_in_two_places() -> None:
    layer = parametrizations.weight_norm(nn.Linear(2, 2))
    module: nn.Module = nn.ModuleDict({"a": layer, "b": layer})
    assert fold_reparametrizations(module) == ("a.weight",)
    assert not parametrize.is_parametrized(layer)


def test_copies_of_a_layer_share_a_class() -> None:
    layer = parametrizations.weight_norm(nn.Linear(2, 2))
    module = nn.Sequential(layer, copy.deepcopy(layer), copy.deepcopy(layer))
    image = torch.rand(1, 2)
    before = module(image)
    assert fold_reparametrizations(module, ["0.weight"]) == ("0.weight",)
    assert torch.equal(module(image), before)
    assert fold_reparametrizations(module) == ("1.weight", "2.weight")
    assert torch.equal(module(image), before)


def test_a_weight_of_another_type_stays_computed() -> None:
    layer = nn.Linear(2, 2).double()
    layer.weight = nn.Parameter(layer.weight.float())
    parametrize.register_parametrization(layer, "weight", Double(), unsafe=True)
    assert fold_reparametrizations(layer) == ()
    assert layer(torch.ones(1, 2, dtype=torch.float64)).dtype == torch.float64


NETWORK = """
from torch import nn
from torch.nn.utils import parametrizations

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter = parametrizations.weight_norm(nn.Conv2d(3, 3, 1))
        self.color = parametrizations.spectral_norm(nn.Linear(3, 3))

    def forward(self, image, color):
        return self.enter(image) + self.color(color)[:, :, None, None]
"""


def test_an_export_takes_the_folded_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "normed_network.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    import normed_network  # type: ignore[import-not-found]

    trained = normed_network.Net().eval()
    torch.save(trained.state_dict(), tmp_path / "w.pth")
    source = load_network(NetworkSpec(network="normed_network:Net", weights=tmp_path / "w.pth", size=16))
    assert not reparametrized_names(source.module)
    image, color = torch.rand(1, 3, 16, 16), torch.rand(1, 3)
    assert torch.equal(source.module(image, color), trained(image, color))
