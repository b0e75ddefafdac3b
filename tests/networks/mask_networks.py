"""Networks of segmentation-models-pytorch and monai that find a mask in a picture, with random weights.

Each is named as `polyexport export` takes it: an import path, arguments of its class, and a file with its state dict.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

__all__ = ["MASK_NETWORKS", "MaskNetwork", "options", "write_weights"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskNetwork:
    """One network of a published package, small enough to be exported in seconds. It returns logits of one channel."""

    network: str
    """Import path of its class, package:Class."""

    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the class."""

    output: str = ""
    """Index or name of the logits, of a network that returns more than one tensor."""

    @property
    def name(self) -> str:
        """Name of the class, after the first letters of its package."""
        package, _, name = self.network.partition(":")
        return f"{'smp' if package.startswith('segm') else 'monai'}.{name}"

    def build(self) -> nn.Module:
        """Return the network with random weights, the same in every call, in evaluation mode."""
        package, _, name = self.network.partition(":")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module: nn.Module = getattr(import_module(package), name)(**self.arguments)
        return module.eval()


def write_weights(network: MaskNetwork, path: Path) -> Path:
    """Save the state dict of a network, as ``torch.save(model.state_dict(), path)``."""
    torch.save(network.build().state_dict(), path)
    return path


def options(network: MaskNetwork, weights: Path) -> list[str]:
    """Return what `polyexport export` is given for a network and its file of weights."""
    words = [network.network, "--weights", str(weights), "--activation", "sigmoid", "--result", "mask"]
    words += ["--value-range", "0..1", "--output-range", "0..1"]
    for name, value in network.arguments.items():
        words += ["--argument", f"{name}={value if value is None or isinstance(value, str) else json.dumps(value)}"]
    return [*words, "--output-key", network.output] if network.output else words


def _smp(name: str, **arguments: Any) -> MaskNetwork:
    common = {"encoder_name": "resnet18", "encoder_weights": None, "in_channels": 3, "classes": 1}
    return MaskNetwork(network=f"segmentation_models_pytorch:{name}", arguments={**common, **arguments})


def _monai(name: str, output: str = "", **arguments: Any) -> MaskNetwork:
    common = {"spatial_dims": 2, "in_channels": 3, "out_channels": 1}
    return MaskNetwork(network=f"monai.networks.nets:{name}", arguments={**common, **arguments}, output=output)


MASK_NETWORKS: tuple[MaskNetwork, ...] = (
    _smp("Unet"),
    _smp("UnetPlusPlus"),
    _smp("MAnet"),
    _smp("Linknet"),
    _smp("FPN"),
    _smp("PSPNet"),
    _smp("DeepLabV3Plus"),
    _smp("PAN"),
    _smp("UPerNet"),
    _monai("UNet", channels=[8, 16, 32, 64], strides=[2, 2, 2], num_res_units=1),
    _monai("BasicUNet", features=[8, 8, 16, 32, 64, 8]),
    _monai("BasicUNetPlusPlus", output="0", features=[8, 8, 16, 32, 64, 8]),
    _monai("AttentionUnet", channels=[8, 16, 32], strides=[2, 2]),
    _monai("SegResNet", init_filters=8),
    _monai(
        "DynUNet",
        kernel_size=[3, 3, 3],
        strides=[1, 2, 2],
        upsample_kernel_size=[2, 2],
        filters=[8, 16, 32],
    ),
)
