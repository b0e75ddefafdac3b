"""Files of weights in the layouts that projects publish, one row each: what is taken, and what is said about it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm
from weight_layouts import TAKEN, Net, Row, State, save, state

from polyexport.errors import CheckpointError, PolyexportError, UsageError
from polyexport.export.source.fit import FittedWeights, fit_weights
from polyexport.export.source.weights import read_weights


def fit(module: nn.Module, path: Path, **options: str) -> FittedWeights:
    return fit_weights(module.eval(), read_weights(path), **options)


@pytest.mark.parametrize("row", TAKEN, ids=lambda row: row.name)
def test_a_layout_is_taken(tmp_path: Path, row: Row) -> None:
    module = row.network()
    fitted = fit(module, save(row, tmp_path / row.file))
    assert fitted.key == row.key
    assert row.said in " | ".join(fitted.remarks)
    assert bool(fitted.remarks) == bool(row.said or row.key != ".")
    for name, parameter in module.named_parameters():
        assert parameter.eq(1).all(), name


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """One layout that is refused."""

    name: str
    content: Callable[[], Any]
    said: str
    kind: type[PolyexportError] = CheckpointError
    network: Callable[[], nn.Module] = Net


def missing_statistics() -> State:
    return {name: one for name, one in state().items() if "running" not in name}


REFUSED = [
    Refusal(name="BasicSR, trained with an average", content=lambda: {"params": state(1), "params_ema": state(2)},
        kind=UsageError, said="fit the network and differ: params, params_ema; choose one with --weights-key, such as "
        "--weights-key params_ema, a moving average by its name"),
    Refusal(name="CycleGAN", content=lambda: {"G_A": state(1), "G_B": state(2)}, kind=UsageError, said="G_A, G_B"),
    Refusal(name="another width", content=lambda: {"params": state(width=4)},
        said="under params does not fit the network: of its 9 keys, 7 wrongly shaped (enter.weight (float32 [4, 3, 1, "
        "1], expected float32 [2, 3, 1, 1])"),
    Refusal(name="another architecture", content=lambda: {
        "params": {f"conv{number}.weight": torch.ones(1) for number in range(7)},
        "ema": {"enter.weight": torch.ones(1)}},
        said="under ema does not fit the network: of its 9 keys, 7 missing (enter.bias, body.0.weight, body.0.bias, "
        "body.0.running_mean, body.0.running_var and 2 more), 1 wrongly shaped (enter.weight"),
    Refusal(name="the best of two", content=lambda: {
        "a": {name: one for name, one in state().items() if "enter" not in name},
        "b": {name: one for name, one in state().items() if "enter.bias" not in name}},
        said="under b, its best match of 2, does not fit the network: of its 9 keys, 1 missing (enter.bias);"),
    Refusal(name="statistics of a batch norm", content=missing_statistics, said="2 missing (body.0.running_mean"),
    Refusal(name="statistics that a batch norm does not keep", content=state, said="3 unexpected (body.0.running_mean",
        network=lambda: Net(norm=lambda width: nn.BatchNorm2d(width, track_running_stats=False))),
    Refusal(name="one part in two spellings", content=lambda: {"body.module.1.bias": torch.zeros(3)} | state(),
        said="1 unexpected (body.module.1.bias)"),
]  # fmt: skip


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row.name)
def test_a_layout_is_refused(tmp_path: Path, row: Refusal) -> None:
    torch.save(row.content(), tmp_path / "w.pth")
    with pytest.raises(PolyexportError) as caught:
        fit(row.network(), tmp_path / "w.pth")
    assert caught.type is row.kind
    assert row.said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_names_of_a_million_parts(tmp_path: Path) -> None:
    """A hostile name costs no more than its length."""
    names = [".a" * 1_000_000 + ".enter.weight", "attn_mask" * 200_000 + "!", "module." * 200_000 + "enter.bias"]
    torch.save(state() | {name: torch.ones(1) for name in names}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="3 unexpected"):
        fit(Net(), tmp_path / "w.pth", key=".")


# ---------------------------------------------------------------------------------------------------------------------
# Weight norm and spectral norm: any form in the file, any form in the network

FORMS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "plain": lambda layer: layer,
    "weight norm, hooks": weight_norm,
    "weight norm, parametrized": parametrizations.weight_norm,
    "spectral norm, hooks": spectral_norm,
    "spectral norm, parametrized": parametrizations.spectral_norm,
}


class Normed(nn.Module):
    """Two layers whose first dimensions mean different things, both square, under a norm."""

    def __init__(self, form: str) -> None:
        super().__init__()
        norm = FORMS[form]
        self.enter = norm(nn.Conv2d(3, 3, 3, padding=1))
        self.body = nn.ModuleList([norm(nn.ConvTranspose2d(3, 3, 3, padding=1))])

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.body[0](self.enter(image))
        return result


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("ours", FORMS)
@pytest.mark.parametrize("theirs", FORMS)
def test_forms_of_norms(tmp_path: Path, theirs: str, ours: str) -> None:
    torch.manual_seed(3)
    trained = Normed(theirs)
    image = torch.rand(1, 3, 6, 6)
    for _ in range(2):  # a step of each spectral norm
        trained.train()(image)
    torch.save({"params": trained.state_dict()}, tmp_path / "w.pth")
    norms = {one.partition(",")[0] for one in (theirs, ours)} - {"plain"}
    module = Normed(ours)
    if len(norms) > 1:  # a weight norm is no spectral norm
        with pytest.raises(CheckpointError, match="missing"):
            fit(module, tmp_path / "w.pth")
        return
    fitted = fit(module, tmp_path / "w.pth")
    computed = ours == "plain" != theirs
    assert ("computed 2 tensors (enter.weight, body.0.weight) from" in " ".join(fitted.remarks)) == computed
    with torch.no_grad():
        torch.testing.assert_close(module(image), trained.eval()(image), rtol=1e-5, atol=1e-6)


@given(st.data())
def test_wrappers_anywhere(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Every module may be wrapped any number of times: all of its names get the same parts."""
    wrapped = st.lists(st.sampled_from(["module", "_orig_mod"]), max_size=2).map(lambda parts: [*parts, ""])
    wrap = {part: ".".join(data.draw(wrapped)) for part in ("", "enter.", "body.", "body.0.", "body.1.")}
    home = data.draw(st.sampled_from(["", "params.", "a.b."]))

    def wrapping(name: str) -> str:
        parts = name.split(".")
        places = [".".join([*parts[:end], ""]) if end else "" for end in range(len(parts))]
        return home + "".join(wrap[place] + part + "." for place, part in zip(places, parts, strict=True))[:-1]

    path = tmp_path_factory.mktemp("any") / "w.safetensors"
    safetensors.torch.save_file({wrapping(name): tensor for name, tensor in state().items()}, path)
    module = Net()
    fitted = fit(module, path)
    assert fitted.key == (home + wrap[""])[:-1] or fitted.key == "."
    assert all(parameter.eq(1).all() for parameter in module.parameters())
