"""Modules that load their weights in their own way."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from polyexport.errors import CheckpointError
from polyexport.export.source.fit import FittedWeights, fit_weights
from polyexport.export.source.weights import read_weights


class Tiny(nn.Module):
    """A network that loads as PyTorch does."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.norm = nn.BatchNorm1d(2)


class Silent(Tiny):
    """A network whose ``load_state_dict`` returns nothing and knows no ``strict``."""

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:  # type: ignore[override]
        own = self.state_dict()
        for name, tensor in state.items():
            if name in own:
                own[name].copy_(tensor)


class Strict(Tiny):
    """A network whose ``load_state_dict`` is always strict."""

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:  # type: ignore[override]
        super().load_state_dict(state, strict=True)


class Open(Tiny):
    """A network that hands every option on, and returns nothing."""

    def load_state_dict(self, *arguments: Any, **options: Any) -> None:
        super().load_state_dict(*arguments, **options)


class Renaming(Tiny):
    """A network that translates old names."""

    def load_state_dict(self, state: Mapping[str, Tensor], strict: bool = True, assign: bool = False) -> Any:
        renamed = {name.replace("linear", "layer"): tensor for name, tensor in state.items()}
        return super().load_state_dict(renamed, strict=strict, assign=assign)


class Failing(Tiny):
    """A network whose ``load_state_dict`` fails, and names an object by its address."""

    def load_state_dict(self, *_: Any, **__: Any) -> None:
        raise RuntimeError(f"cannot load\nwith {object()}")


OWN = [Tiny, Silent, Strict, Open, Renaming]


def state(value: float) -> dict[str, Tensor]:
    return {name: torch.full_like(tensor, value) for name, tensor in Tiny().state_dict().items()}


def fit(module: nn.Module, path: Path, content: Any) -> FittedWeights:
    torch.save(content, path)
    return fit_weights(module, read_weights(path))


@pytest.mark.parametrize("network", OWN)
def test_whole_weights_load(tmp_path: Path, network: type[Tiny]) -> None:
    module = network()
    damaged = state(2) | {"layer.weight": torch.ones(3)}
    assert fit(module, tmp_path / "w.pth", {"b": state(1), "a": damaged}).key == "b"
    for tensor in module.state_dict().values():
        assert tensor.eq(1).all()


@pytest.mark.parametrize("network", [Tiny, Silent, Strict, Open, Renaming])
def test_weights_that_do_not_fit_are_named(tmp_path: Path, network: type[Tiny]) -> None:
    content = state(1) | {"more": torch.ones(1), "layer.bias": torch.ones(3)}
    del content["norm.weight"], content["norm.num_batches_tracked"]
    with pytest.raises(CheckpointError) as caught:
        fit(network(), tmp_path / "w.pth", content)
    said = str(caught.value)
    assert "of its 7 keys, 1 missing (norm.weight), 1 unexpected (more), 1 wrongly shaped (layer.bias" in said


def test_names_that_a_network_translates(tmp_path: Path) -> None:
    module = Renaming()
    fit(module, tmp_path / "w.pth", {name.replace("layer", "linear"): tensor for name, tensor in state(1).items()})
    assert module.layer.weight.eq(1).all()


def test_a_failure_is_one_line_without_addresses(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        fit(Failing(), tmp_path / "w.pth", state(1))
    assert "does not load into the network (cannot load with <object object>);" in str(caught.value)
