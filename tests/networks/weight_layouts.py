"""Files of weights in the layouts that projects publish, one row each: how they are made, and what is taken of them."""

import argparse
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

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
