"""Files of weights in the layouts that projects publish, one row each: what is taken, and what is said about it."""

import argparse
from collections import OrderedDict
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
from torch.optim.swa_utils import AveragedModel

from polyexport.errors import CheckpointError, PolyexportError, UsageError
from polyexport.export.source.fit import FittedWeights, fit_weights
from polyexport.export.source.weights import read_weights

State = dict[str, Any]


class Net(nn.Module):
    """A convolution, a norm and a second convolution inside of another module."""

    def __init__(self, width: int = 2, norm: Callable[[int], nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, width, 1)
        self.body = nn.Sequential(norm(width), nn.Conv2d(width, 3, 3, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.body(self.enter(image))
        return result


class Windows(Net):
    """A network with the buffers of an attention in windows."""

    def __init__(self, size: int = 2) -> None:
        super().__init__()
        self.register_buffer("attn_mask", torch.full((size, size), -torch.inf).triu(1))
        self.body.register_buffer("relative_position_index_SA", torch.arange(size))


class Scaled(Net):
    """A network with a number of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(()))


def made(value: float, **options: Any) -> nn.Module:
    """A network whose weights are all one value."""
    module = Net(**options)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(value)
    return module


def state(value: float = 1, prefix: str = "", **options: Any) -> State:
    return {prefix + name: tensor for name, tensor in made(value, **options).state_dict().items()}


def spelled(tensors: State, old: str, new: str) -> State:
    return {name.replace(old, new): tensor for name, tensor in tensors.items()}


def lightning(path: Path) -> None:
    """A file that Lightning itself writes."""
    import lightning as pl

    class Training(pl.LightningModule):
        def __init__(self, args: Any, width: int) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.net = made(1, width=width)
            self.loss = nn.Conv2d(3, 9, 1)

    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, barebones=False,
    )  # fmt: skip
    trainer.strategy.connect(Training(argparse.Namespace(lr=1e-4, path=Path("a")), 2))
    trainer.save_checkpoint(path)


def averaged() -> State:
    average = AveragedModel(made(1))
    average.update_parameters(made(1))
    return average.state_dict()


def optimizer() -> State:
    moments = {"step": torch.tensor(1.0), "exp_avg": torch.zeros(2, 3, 1, 1), "exp_avg_sq": torch.zeros(2, 3, 1, 1)}
    return {"state": {0: moments}, "param_groups": [{"lr": 1e-4, "betas": (0.9, 0.999), "params": [0]}]}


def discriminator() -> State:
    return {"enter.weight": torch.ones(8, 6, 4, 4), "enter.bias": torch.ones(8)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One layout."""

    name: str
    content: Any
    """Makes what is saved; or saves it by itself, given the path."""

    key: str = "."
    said: str = ""
    """A part of the remarks."""

    file: str = "w.pth"
    network: Callable[[], nn.Module] = Net


TAKEN = [
    Row(name="the state dict", content=state),
    Row(name="safetensors", content=state, file="w.safetensors"),
    Row(name="safetensors under another suffix", content=state, file="model.bin"),
    Row(name="torch.save under .bin", content=state, file="pytorch_model.bin"),
    Row(name="torch.save under .pth.tar", content=lambda: {"epoch": 3, "state_dict": state()}, file="w.pth.tar",
        key="state_dict", said="(epoch 3)"),
    Row(name="torch.save without a suffix", content=state, file="weights"),
    Row(name="Real-ESRGAN", content=lambda: {"params_ema": state()}, key="params_ema"),
    Row(name="BasicSR without an average", content=lambda: {"params": state()}, key="params"),
    Row(name="both, equal", content=lambda: {"params": state(), "params_ema": state()}, key="params",
        said="the weights under params, params_ema are equal"),
    Row(name="state_dict", content=lambda: {"state_dict": state(), "arch": "unet", "best": 31.5}, key="state_dict"),
    Row(name="a notebook", content=lambda: {"model_state_dict": state(), "optimizer_state_dict": optimizer(),
        "torch": torch.__version__, "args": argparse.Namespace(lr=1e-4)}, key="model_state_dict", said="left out"),
    Row(name="a GAN", content=lambda: {"G": state(), "D": discriminator(), "optim_g": optimizer()}, key="G",
        said="D.enter.weight"),
    Row(name="a GAN, netG", content=lambda: {"netD": discriminator(), "netG": state(prefix="module.")},
        key="netG.module"),
    Row(name="a GAN, both of one class", content=lambda: {"generator": state(), "discriminator": state(width=5)},
        key="generator", said="the weights under discriminator do not fit: 7 wrongly shaped"),
    Row(name="a GAN in one dictionary", content=lambda: state(prefix="generator.") | {"discriminator.a": torch.ones(1)},
        key="generator", said="left out 1 tensor"),
    Row(name="prefix model.", content=lambda: state(prefix="model."), key="model"),
    Row(name="Lightning", content=lightning, file="last.ckpt", key="state_dict.net", said="state_dict.loss.weight"),
    Row(name="an average of PyTorch", content=averaged, key="module", said="n_averaged"),
    Row(name="DataParallel", content=lambda: nn.DataParallel(made(1)).state_dict(), key="module"),
    Row(name="DataParallel of a part", content=lambda: spelled(state(), "body.", "body.module.")),
    Row(name="torch.compile", content=lambda: state(prefix="_orig_mod."), key="_orig_mod"),
    Row(name="torch.compile of a part", content=lambda: spelled(state(), "body.", "body._orig_mod.")),
    Row(name="both, around all and a part", key="model.module",
        content=lambda: {"model": spelled(state(prefix="module."), "body.1", "body._orig_mod.1._orig_mod")}),
    Row(name="checkpointed activations", content=lambda: spelled(state(), "0.", "0._checkpoint_wrapped_module.")),
    Row(name="DeepSpeed", content=lambda: {"module": state(), "global_steps": 7}, key="module"),
    Row(name="a list of networks", content=lambda: {"nets": [discriminator(), state()]}, key="nets.1"),
    Row(name="ordered, with its metadata", content=lambda: OrderedDict(made(1).state_dict())),
    Row(name="before counters of batches", content=lambda: {
        name: one for name, one in state().items() if "num_batches" not in name}),
    Row(name="before numbers without dimensions", content=lambda: state() | {"scale": torch.ones(1)}, network=Scaled),
    Row(name="old pix2pix", content=lambda: {**state(norm=nn.InstanceNorm2d), "body.0.running_mean": torch.ones(2),
        "body.0.running_var": torch.ones(2), "body.0.num_batches_tracked": torch.tensor(3)},
        network=lambda: Net(norm=nn.InstanceNorm2d), said="ignored 3 tensors (body.0.running_mean,"),
    Row(name="counters of operations", content=lambda: state() | {"enter.total_ops": torch.zeros(1)},
        said="ignored 1 tensor (enter.total_ops) that the network does not use"),
    Row(name="masks that are not saved", content=state, network=Windows,
        said="kept the network's own value of 2 tensors (attn_mask, body.relative_position_index_SA)"),
    Row(name="masks that are not known", content=lambda: Windows().state_dict() | state(),
        said="ignored 2 tensors (attn_mask, body.relative_position_index_SA)"),
    Row(name="masks of another size", content=lambda: Windows(3).state_dict() | state(), network=Windows,
        said="kept the network's own value of 2 tensors"),
    Row(name="masks", content=lambda: Windows().state_dict() | state(), network=Windows),
    *(Row(name=f"{dtype}", content=lambda dtype=dtype: made(1).to(dtype).state_dict(), said="converted")
      for dtype in (torch.float16, torch.bfloat16, torch.float64)),
]  # fmt: skip


def save(row: Row, path: Path) -> Path:
    if row.content is lightning:
        lightning(path)
    elif row.name.startswith("safetensors"):
        safetensors.torch.save_file(row.content(), path)
    else:
        torch.save(row.content(), path)
    return path


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
