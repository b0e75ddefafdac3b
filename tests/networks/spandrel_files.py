"""Files of random weights of spandrel's architectures, small, each saved as its own project saves it.

An architecture is named by its folder in ``spandrel.architectures``; what stands behind it are arguments of its class.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from polyexport.export.source.spandrel_file import import_spandrel

__all__ = ["ARCHITECTURES", "Architecture", "write_file"]

StateDict = dict[str, Tensor]
Layout = Callable[[StateDict], Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """One architecture, at a size that is quick to export, and how its project saves it."""

    name: str
    """Folder in ``spandrel.architectures``."""

    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of its class."""

    network: str = ""
    """Name of the class in that folder; the name of the folder if empty."""

    layout: Layout = dict
    """Makes what its project saves of a state dict."""

    suffix: str = ".pth"

    def build(self) -> nn.Module:
        """Return the network with random weights, the same in every call, in evaluation mode."""
        import_spandrel()
        found = getattr(import_module(f"spandrel.architectures.{self.name}"), self.network or self.name)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module: nn.Module = found(**self.arguments)
        return module.eval()


def write_file(architecture: Architecture, folder: Path) -> Path:
    """Write the file of weights of an architecture into a folder, and return its path."""
    path = folder / f"{architecture.name}{architecture.suffix}"
    state = {key: value.detach().clone() for key, value in architecture.build().state_dict().items()}
    saved = architecture.layout(state)
    if architecture.suffix == ".safetensors":
        safetensors.torch.save_file({key: value.contiguous() for key, value in saved.items()}, path)
    else:
        torch.save(dict(saved), path)
    return path


def _params(state: StateDict) -> Mapping[str, Any]:
    return {"params": state}


def _params_ema(state: StateDict) -> Mapping[str, Any]:
    """BasicSR: the trained and the averaged weights in one file."""
    return {"params": {key: torch.zeros_like(value) for key, value in state.items()}, "params_ema": state}


def _averaged(state: StateDict) -> Mapping[str, Any]:
    return {"params_ema": state}


def _distributed(state: StateDict) -> Mapping[str, Any]:
    """Scripts that save the state of ``DistributedDataParallel`` beside the epoch and the optimizer."""
    return {
        "epoch": 12,
        "state_dict": {f"module.{key}": value for key, value in state.items()},
        "optimizer": {"state": {0: {"step": 12}}, "param_groups": [{"lr": 1e-4, "params": [0]}]},
    }


def _model(state: StateDict) -> Mapping[str, Any]:
    return {"model": state, "epoch": 3}


def _generator(state: StateDict) -> Mapping[str, Any]:
    """A Lightning checkpoint whose module holds the network as ``generator``."""
    renamed = {key.replace("model.model", "generator.model", 1): value for key, value in state.items()}
    return {"epoch": 39, "global_step": 1000, "pytorch-lightning_version": "1.2.9", "state_dict": renamed}


_WIDE = {"embed_dim": 24, "depths": [2], "num_heads": [2]}

ARCHITECTURES: tuple[Architecture, ...] = (
    Architecture(
        name="ATD",
        layout=_params_ema,
        arguments={**_WIDE, "window_size": 8, "num_tokens": 16, "upscale": 2, "upsampler": "pixelshuffle"},
    ),
    Architecture(
        name="AuraSR",
        suffix=".safetensors",
        arguments={
            "dim": 8,
            "image_size": None,
            "input_image_size": None,
            "style_network": {"dim_in": 8, "dim_out": 32, "depth": 2},
            "self_attn_dim_head": 8,
            "attn_depths": (2, 2, 2, 1, 1),
            "mid_attn_depth": 1,
            "skip_connect_scale": 0.4,
        },
    ),
    Architecture(name="CRAFT", layout=_params, arguments={**_WIDE, "embed_dim": 64, "upscale": 2}),
    Architecture(
        name="Compact", layout=_params, arguments={"num_feat": 16, "num_conv": 4, "upscale": 4, "act_type": "prelu"}
    ),
    Architecture(
        name="DAT",
        layout=_params,
        arguments={"embed_dim": 64, "depth": [2], "num_heads": [2], "split_size": [8, 16], "upscale": 2},
    ),
    Architecture(name="DCTLSA", arguments={"nf": 15, "upscale": 2}),
    Architecture(name="DITN", layout=_params, arguments={"dim": 16, "ITL_blocks": 2, "SAL_blocks": 2, "upscale": 2}),
    Architecture(
        name="DRCT",
        layout=_params_ema,
        arguments={
            "embed_dim": 24,
            "depths": [6],
            "num_heads": [2],
            "gc": 8,
            "upscale": 2,
            "upsampler": "pixelshuffle",
        },
    ),
    Architecture(name="DRUNet", arguments={"in_nc": 4, "out_nc": 3, "nc": [8, 16, 32, 64], "nb": 2}),
    Architecture(name="DnCNN", arguments={"nc": 16, "nb": 9, "act_mode": "R"}),
    Architecture(name="ESRGAN", layout=_averaged, arguments={"num_filters": 16, "num_blocks": 2, "scale": 4}),
    Architecture(name="FBCNN", arguments={"nc": [8, 16, 32, 512], "nb": 2}),
    Architecture(
        name="FDAT",
        layout=_params_ema,
        arguments={"embed_dim": 24, "num_groups": 2, "depth_per_group": 1, "num_heads": 2, "scale": 2, "mid_dim": 16},
    ),
    Architecture(
        name="FFTformer",
        layout=_params,
        arguments={"dim": 8, "num_blocks": [1, 1, 1], "num_refinement_blocks": 1},
    ),
    Architecture(name="GFPGAN", layout=_averaged),
    Architecture(
        name="GRL",
        layout=_model,
        arguments={
            "embed_dim": 24,
            "depths": [2],
            "num_heads_window": [2],
            "num_heads_stripe": [2],
            "window_size": 8,
            "stripe_size": [8, 16],
            "stripe_shift": True,
            "anchor_window_down_factor": 2,
            "mlp_ratio": 2.0,
            "upscale": 2,
            "upsampler": "pixelshuffledirect",
        },
    ),
    Architecture(
        name="HAT", layout=_params_ema, arguments={**_WIDE, "window_size": 8, "squeeze_factor": 6, "upscale": 2}
    ),
    Architecture(name="HVICIDNet", arguments={"channels": [8, 8, 16, 32], "heads": [1, 2, 2, 4]}),
    Architecture(
        name="IPT",
        arguments={"n_feats": 12, "num_layers": 2, "patch_size": 48, "patch_dim": 3, "scale": [2], "num_queries": 1},
    ),
    Architecture(
        name="KBNet",
        network="KBNet_s",
        layout=_params,
        arguments={"width": 16, "middle_blk_num": 1, "enc_blk_nums": [1, 1], "dec_blk_nums": [1, 1]},
    ),
    Architecture(name="LaMa", suffix=".ckpt", layout=_generator, arguments={"in_nc": 4, "out_nc": 3}),
    Architecture(
        name="MMRealSR",
        layout=_params_ema,
        arguments={
            "num_in_ch": 3,
            "num_out_ch": 3,
            "num_feat": 16,
            "num_block": 2,
            "num_grow_ch": 8,
            "num_feats": [16, 32, 64, 64],
            "num_blocks": [1, 1, 1, 1],
        },
    ),
    Architecture(name="MixDehazeNet", layout=_distributed, arguments={"embed_dims": [8, 16, 32, 16, 8]}),
    Architecture(name="MoESR", layout=_params_ema, arguments={"dim": 16, "n_blocks": 2, "n_block": 1, "scale": 2}),
    Architecture(name="MoSR", layout=_params_ema, arguments={"dim": 16, "n_block": 3, "upscale": 2}),
    Architecture(
        name="NAFNet",
        layout=_params,
        arguments={"width": 8, "middle_blk_num": 1, "enc_blk_nums": [1, 1], "dec_blk_nums": [1, 1]},
    ),
    Architecture(name="OmniSR", layout=_params, arguments={"num_feat": 16, "up_scale": 2}),
    Architecture(
        name="PLKSR",
        network="RealPLKSR",
        layout=_params_ema,
        arguments={"dim": 16, "n_blocks": 3, "upscaling_factor": 2},
    ),
    Architecture(
        name="RCAN",
        layout=_params,
        arguments={"n_resgroups": 2, "n_resblocks": 2, "n_feats": 16, "reduction": 4, "scale": 2},
    ),
    Architecture(
        name="RGT",
        layout=_params,
        arguments={"embed_dim": 64, "depth": [2], "num_heads": [2], "mlp_ratio": 2.0, "upscale": 2},
    ),
    Architecture(name="RealCUGAN", network="UpCunet2x", arguments={}),
    Architecture(
        name="RestoreFormer",
        layout=lambda state: {"state_dict": state},
        arguments={"n_embed": 64, "embed_dim": 64, "z_channels": 64, "ch": 64, "ch_mult": (1, 1, 1, 1, 1, 1)},
    ),
    Architecture(name="RetinexFormer", layout=_params, arguments={"n_feat": 8, "stage": 1}),
    Architecture(name="SAFMN", layout=_params, arguments={"dim": 16, "n_blocks": 2, "upscaling_factor": 2}),
    Architecture(
        name="SAFMNBCIE", layout=_params, arguments={"dim": 16, "n_blocks": 2, "num_layers": 2, "upscaling_factor": 2}
    ),
    Architecture(name="SCUNet", arguments={"config": [1, 1, 1, 1, 1, 1, 1], "dim": 64}),
    Architecture(
        name="SPAN",
        layout=_averaged,
        arguments={"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 16, "upscale": 2},
    ),
    Architecture(
        name="SeemoRe",
        layout=_params,
        arguments={"embedding_dim": 16, "num_layers": 2, "num_experts": 3, "scale": 2, "lr_space": "exp"},
    ),
    Architecture(
        name="SwiftSRGAN", layout=_model, arguments={"num_channels": 16, "num_blocks": 2, "upscale_factor": 4}
    ),
    Architecture(
        name="Swin2SR",
        layout=_params,
        arguments={**_WIDE, "window_size": 8, "upscale": 2, "upsampler": "pixelshuffle"},
    ),
    Architecture(
        name="SwinIR",
        layout=_params,
        arguments={**_WIDE, "window_size": 8, "upscale": 2, "upsampler": "pixelshuffledirect"},
    ),
    Architecture(
        name="Uformer",
        layout=_distributed,
        arguments={"embed_dim": 8, "depths": [1] * 9, "num_heads": [1, 1, 2, 2, 4, 4, 2, 2, 1], "modulator": True},
    ),
)
