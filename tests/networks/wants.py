"""What networks want: one row for each way, with the options that say it and the same by hand in PyTorch.

Needs torch and the networks of ``wanting``; the color spaces by hand are those of scikit-image and pillow.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

Pixels = NDArray[np.uint8]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a row is tried on: a picture, a mask, and the network."""

    network: nn.Module
    image: Pixels
    mask: Pixels
    """uint8 [H, W, 1]."""

    def x(self, low: float = 0.0, high: float = 1.0) -> Tensor:
        """The image in a value range, [1, 3, H, W]."""
        return tensor(self.image) * (high - low) + low

    def m(self) -> Tensor:
        """The mask in 0..1, [1, 1, H, W]."""
        return tensor(self.mask)


def tensor(pixels: NDArray[Any]) -> Tensor:
    return torch.from_numpy(pixels.astype(np.float32) / 255).permute(2, 0, 1)[None]


def levels(result: Tensor, low: float = 0.0, high: float = 1.0) -> Pixels:
    scaled = (result[0].permute(1, 2, 0).double() - low) * (255 / (high - low))
    made: Pixels = scaled.round().clamp(0, 255).to(torch.uint8).numpy()
    return made


def plane(value: Any, like: Tensor) -> Tensor:
    return torch.tensor(value, dtype=torch.float32).reshape(1, -1, 1, 1).expand(1, -1, *like.shape[2:])


def channel_wise(values: Any) -> Tensor:
    return torch.tensor(values).reshape(1, -1, 1, 1)


@dataclass(frozen=True, kw_only=True)
class Want:
    """One row."""

    name: str
    network: str
    hand: Callable[[Case], Pixels]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    said: Mapping[str, Any] = field(default_factory=dict)
    """Options by their keys in a TOML file, as text or lists of texts."""

    values: Mapping[str, Any] = field(default_factory=dict)
    """Values of the conditions in the run."""

    masks: tuple[str, ...] = ()
    """Conditions that are pictures: ``mask`` gets the mask, all others the image turned around."""

    of_image: int = 3
    """Channels of the model's image."""

    scale: float = 1.0


def _gray(case: Case) -> Tensor:
    return tensor(np.asarray(Image.fromarray(case.image).convert("L"))[..., None])


def _lab(case: Case) -> Tensor:
    from skimage.color import rgb2lab

    return torch.from_numpy(rgb2lab(case.image / 255).astype(np.float32)).permute(2, 0, 1)[None]


def _from_lab(lab: Tensor) -> Pixels:
    from skimage.color import lab2rgb

    rgb = lab2rgb(lab[0].permute(1, 2, 0).double().numpy())
    return np.rint(rgb * 255).clip(0, 255).astype(np.uint8)  # type: ignore[no-any-return]


_KR, _KB = 0.299, 0.114


def _ycbcr(case: Case) -> Tensor:
    red, green, blue = case.x()[:, 0], case.x()[:, 1], case.x()[:, 2]
    luma = _KR * red + (1 - _KR - _KB) * green + _KB * blue
    return torch.stack([luma, (blue - luma) / (2 - 2 * _KB) + 0.5, (red - luma) / (2 - 2 * _KR) + 0.5], 1)


def _from_ycbcr(ycbcr: Tensor) -> Pixels:
    luma, blue, red = ycbcr[:, 0], ycbcr[:, 1] - 0.5, ycbcr[:, 2] - 0.5
    red, blue = luma + (2 - 2 * _KR) * red, luma + (2 - 2 * _KB) * blue
    return levels(torch.stack([red, (luma - _KR * red - _KB * blue) / (1 - _KR - _KB), blue], 1))


def _turned(case: Case) -> Tensor:
    return case.x().flip(2)


def _normalized(x: Tensor) -> Tensor:
    return (x - channel_wise(MEAN)) / channel_wise(STD)


def _colorized(case: Case) -> Pixels:
    lab = _lab(case)
    return _from_lab(torch.cat([lab[:, :1], case.network((lab[:, :1] - 50) / 50) * 110], 1))


def _denoised_lab(case: Case) -> Pixels:
    middle = channel_wise([50.0, 0.0, 0.0])
    wanted = (_lab(case) - middle) / 100
    return _from_lab((wanted + case.network(wanted)) * 100 + middle)


def _per_channel(case: Case) -> Pixels:
    made = [case.network(case.x()[:, k : k + 1]) for k in range(3)]
    return levels(torch.cat(made, 1))


def _labelled(case: Case) -> Tensor:
    index: Tensor = case.network(case.x()).argmax(1)
    return index


SIGMA = {"condition": ["sigma=number:range=0..75"]}
STYLE = "style=label:labels=sketch|ink|wash"
ONE_HOT = torch.tensor([[0.0, 1.0, 0.0]])
COLORS = ["red", "lime", "blue"]
RED = torch.tensor([[1.0, 0.0, 0.0]])
TANH = {"tail": "tanh"}
SIGMOID = {"tail": "sigmoid"}

WANTS = (
    # The image, and what it is made of
    Want(name="an image alone", network="Plain", arguments=TANH, hand=lambda c: levels(c.network(c.x(-1, 1)), -1, 1)),
    Want(name="a result twice as large", network="Plain", arguments=SIGMOID | {"scale": 2}, scale=2,
         hand=lambda c: levels(c.network(c.x()))),
    Want(name="a result of half the size", network="Smaller", scale=0.5, hand=lambda c: levels(c.network(c.x()))),
    Want(name="gray, by luma", network="Plain", arguments=SIGMOID | {"channels": 1}, of_image=1,
         hand=lambda c: levels(c.network(_gray(c)))),
    Want(name="gray, per channel", network="Plain", arguments=SIGMOID | {"channels": 1}, said={"gray": "per-channel"},
         hand=_per_channel),
    Want(name="RGB with alpha", network="Plain", arguments=SIGMOID | {"channels": 4}, of_image=4,
         hand=lambda c: levels(c.network(torch.cat([c.x(), c.m()], 1)))),
    Want(name="values from 0 to 255", network="Plain", said={"value-range": "0..255"},
         hand=lambda c: levels(c.network(c.x(0, 255)), 0, 255)),
    Want(name="mean and standard deviation", network="Plain",
         said={"mean": "0.485,0.456,0.406", "std": "0.229,0.224,0.225"}, arguments=SIGMOID,
         hand=lambda c: levels(c.network(_normalized(c.x())))),
    Want(name="a normalized output", network="Plain", hand=lambda c: levels(
             c.network(_normalized(c.x())) * channel_wise(STD) + channel_wise(MEAN)),
         said={"mean": "0.485,0.456,0.406", "std": "0.229,0.224,0.225", "output-mean": "0.485,0.456,0.406",
               "output-std": "0.229,0.224,0.225"}),
    Want(name="other values out than in", network="Plain", arguments=TANH, said={"value-range": "0..1"},
         hand=lambda c: levels(c.network(c.x()), -1, 1)),
    Want(name="BGR", network="Plain", arguments=SIGMOID, said={"input-space": "bgr"},
         hand=lambda c: levels(c.network(c.x().flip(1)).flip(1))),
    Want(name="YCbCr", network="Plain", arguments=SIGMOID, said={"input-space": "ycbcr"},
         hand=lambda c: _from_ycbcr(c.network(_ycbcr(c)))),
    Want(name="luma alone, the colors kept", network="Plain", arguments=SIGMOID | {"channels": 1},
         said={"input-space": "y"},
         hand=lambda c: _from_ycbcr(torch.cat([c.network(_ycbcr(c)[:, :1]), _ycbcr(c)[:, 1:]], 1))),
    Want(name="Lab", network="Noise",
         said={"input-space": "lab", "mean": "50,0,0", "std": "100,100,100", "residual": "1"},
         hand=_denoised_lab),
    Want(name="L in, a and b out", network="Colorizer", hand=_colorized,
         said={"input-space": "l", "mean": "50", "std": "50", "output-std": "110,110"}),
    Want(name="sizes from 16 that are multiples of 4", network="Windowed",
         hand=lambda c: levels(c.network(c.x(-1, 1)), -1, 1)),
    Want(name="one image at a time", network="Looping", arguments={}, hand=lambda c: levels(c.network(c.x()))),
    # Conditions
    Want(name="a number, as [B]", network="ByName", arguments={},
         said={"condition": ["strength=number:range=0..2"], "image-argument": "picture"}, values={"strength": 0.5},
         hand=lambda c: levels(c.network(torch.tensor([0.5]), c.x()))),
    Want(name="a number, as [B,1]", network="Column", said={"condition": ["sigma=number:range=0..75,as=[B,1]"]},
         values={"sigma": 25}, hand=lambda c: levels(c.network(c.x(), torch.tensor([[25.0]])))),
    Want(name="a number, as [B,1,1,1], scaled", network="Broadcast", values={"sigma": 51},
         said={"condition": ["sigma=number:range=0..75,as=[B,1,1,1],scale=1/255,default=25,unit=levels"]},
         hand=lambda c: levels(c.network(c.x(), torch.tensor([0.2]).reshape(1, 1, 1, 1)))),
    Want(name="a number, as a plane", network="Planes", arguments={"planes": 1}, values={"sigma": 51},
         said={"condition": ["sigma=number:range=0..75,as=plane,scale=1/255,argument=1"]},
         hand=lambda c: levels(c.network(c.x(), plane(0.2, c.x())))),
    Want(name="a number in the channels", network="Wide", arguments={"more": 1}, values={"sigma": 51},
         said={"condition": ["sigma=number:range=0..75,as=channels,scale=1/255"]},
         hand=lambda c: levels(c.network(torch.cat([c.x(), plane(0.2, c.x())], 1)))),
    Want(name="a label, as its index", network="Index", said={"condition": [STYLE]}, values={"style": "ink"},
         hand=lambda c: levels(c.network(c.x(), torch.tensor([1])))),
    Want(name="a label, one-hot, by position", network="OneHot", arguments={"dim": 3}, values={"style": "ink"},
         said={"condition": [STYLE + ",argument=1,as=one-hot"]}, hand=lambda c: levels(c.network(c.x(), ONE_HOT))),
    Want(name="a label in the channels", network="Wide", arguments={"more": 3}, values={"style": "ink"},
         said={"condition": [STYLE + ",as=channels"]},
         hand=lambda c: levels(c.network(torch.cat([c.x(), plane([0, 1, 0], c.x())], 1)))),
    Want(name="a color", network="ColorNet", arguments={"dim": 3}, said={"value-range": "0..1"},
         values={"color": "red"}, hand=lambda c: levels(c.network(c.x(), RED))),
    Want(name="a color in a range of its own", network="ColorNet", arguments={"dim": 3},
         said={"value-range": "0..1", "condition": ["color=color:range=-1..1"]}, values={"color": "red"},
         hand=lambda c: levels(c.network(c.x(), 2 * RED - 1))),
    Want(name="a color of a list, one-hot", network="OneHot", arguments={"dim": 3}, values={"color": "lime"},
         said={"value-range": "0..1", "colors": COLORS, "condition": ["color=color:argument=c,as=one-hot"]},
         hand=lambda c: levels(c.network(c.x(), ONE_HOT))),
    Want(name="a color in the channels", network="Wide", arguments={"more": 3}, values={"color": "red"},
         said={"value-range": "0..1", "condition": ["color=color:as=channels"]},
         hand=lambda c: levels(c.network(torch.cat([c.x(), plane([1, 0, 0], c.x())], 1)))),
    Want(name="a vector", network="StyleCode", arguments={"dim": 2}, values={"z": (0.5, -1)},
         said={"condition": ["z=vector:dim=2,default=0"]},
         hand=lambda c: levels(c.network(c.x(), torch.tensor([[0.5, -1]])))),
    Want(name="a vector, as [B,D,1,1]", network="StyleCode", arguments={"dim": 2}, values={"code": (0.5, -1)},
         said={"condition": ["code=vector:dim=2,as=[B,D,1,1],argument=z"]},
         hand=lambda c: levels(c.network(c.x(), torch.tensor([0.5, -1]).reshape(1, 2, 1, 1)))),
    Want(name="a mask", network="TwoImages", arguments={"planes": 1}, masks=("mask",),
         said={"condition": ["mask=image:channels=1"]}, hand=lambda c: levels(c.network(c.x(), c.m()))),
    Want(name="a mask in the channels, from -1 to 1", network="Wide", arguments={"more": 1}, masks=("mask",),
         said={"condition": ["mask=image:as=channels,range=-1..1"]},
         hand=lambda c: levels(c.network(torch.cat([c.x(), 2 * c.m() - 1], 1)))),
    Want(name="a second picture, normalized too", network="TwoImages", arguments={"planes": 3}, masks=("other",),
         said={"condition": ["other=image:channels=3,argument=mask"], "mean": "0.485,0.456,0.406",
               "std": "0.229,0.224,0.225"},
         hand=lambda c: levels(c.network(_normalized(c.x()), _normalized(_turned(c))))),
    Want(name="conditions of three kinds, the image between them", network="Both", masks=("mask",),
         said={"condition": [STYLE, "mask=image:channels=1", "sigma=number:range=0..1,as=[B,1]"]},
         values={"style": "wash", "sigma": 0.25},
         hand=lambda c: levels(c.network(c.m(), c.x(), torch.tensor([[0.25]]), torch.tensor([2])))),
    Want(name="an argument that is fixed", network="ByName", said={"fixed": ["gain=0.5"], "image-argument": "1",
                                                                    "condition": ["strength=number:range=0..2"]},
         values={"strength": 0.5}, hand=lambda c: levels(c.network(torch.tensor([0.5]), c.x(), gain=0.5))),
    # What comes out
    *(Want(name=f"an image in a {form}", network="InSomething", arguments={"form": form}, hand=hand)
      for form, hand in {
          "tuple": lambda c: levels(c.network(c.x())[0]),
          "list": lambda c: levels(c.network(c.x())[1]),
          "dict": lambda c: levels(c.network(c.x())["image"]),
          "named": lambda c: levels(c.network(c.x()).image),
          "nested": lambda c: levels(c.network(c.x())["preds"][0][1]),
      }.items()),
    Want(name="one of several images", network="InSomething", arguments={"form": "several"}, said={"output-key": "1"},
         hand=lambda c: levels(c.network(c.x())[1])),
    Want(name="logits of a mask", network="Logits", arguments={"labels": 1}, said={"activation": "sigmoid"},
         hand=lambda c: levels(c.network(c.x()).sigmoid())),
    Want(name="a mask without an axis for channels", network="Squeezed", arguments={"labels": 1},
         hand=lambda c: levels(c.network(c.x())[:, None])),
    Want(name="one channel of a softmax", network="Logits", arguments={"labels": 2},
         said={"activation": "softmax", "output-channel": 1},
         hand=lambda c: levels(c.network(c.x()).softmax(1)[:, 1:])),
    Want(name="labels", network="Logits", said={"activation": "argmax"},
         hand=lambda c: levels(_labelled(c)[:, None].float(), 0, 255)),
    Want(name="labels in colors", network="Logits",
         said={"activation": "argmax", "label-colors": ["sky=#87ceeb", "green", "black"]},
         hand=lambda c: np.array([(0x87, 0xCE, 0xEB), (0, 128, 0), (0, 0, 0)], np.uint8)[_labelled(c)[0].numpy()]),
    Want(name="noise that is taken away", network="Noise", said={"residual": "-1"},
         hand=lambda c: levels(c.x() - c.network(c.x()))),
    Want(name="the alpha of the image", network="Plain", arguments=SIGMOID | {"out": 1}, said={"result": "alpha"},
         hand=lambda c: np.concatenate([c.image, levels(c.network(c.x()))], 2)),
    # What it is built of
    Want(name="a class as an argument", network="Built", said={"arguments": ["norm=torch.nn:BatchNorm2d", "mode=a:b"]},
         arguments={"norm": nn.BatchNorm2d}, hand=lambda c: levels(c.network(c.x()))),
    Want(name="a function as an argument", network="Built", arguments={"norm": nn.Identity, "act": F.elu},
         said={"arguments": ["norm=torch.nn:Identity", "act=torch.nn.functional:elu"]},
         hand=lambda c: levels(c.network(c.x()))),
    Want(name="a partial and an object", network="Built", hand=lambda c: levels(c.network(c.x())),
         arguments={"norm": lambda width: nn.InstanceNorm2d(width, affine=True), "body": nn.ELU(0.5)},
         said={"arguments": ['norm={partial = "torch.nn:InstanceNorm2d", affine = true}',
                             'body={call = "torch.nn:ELU", alpha = 0.5}']}),
    Want(name="a Namespace", network="Built", hand=lambda c: levels(c.network(c.x())),
         arguments={"norm": nn.BatchNorm2d, "options": __import__("argparse").Namespace(width=4)},
         said={"arguments": ["norm=torch.nn:BatchNorm2d", "options={namespace = {width = 4}}"]}),
    Want(name="a function that makes it", network="make_network", arguments={"width": 4},
         hand=lambda c: levels(c.network(c.x(-1, 1)), -1, 1)),
)  # fmt: skip
"""Every row; the arguments of ``Want.arguments`` are said by ``arguments`` unless ``said`` has them."""


def options_of(want: Want) -> dict[str, Any]:
    """What is said of a row, by the keys of a TOML file."""
    said = dict(want.said)
    if want.arguments and "arguments" not in said:
        said["arguments"] = [f"{name}={value}" for name, value in want.arguments.items()]
    return said


def words_of(want: Want) -> list[str]:
    """The same as words of a command line."""
    singular = {"arguments": "argument", "colors": "color", "label-colors": "label-color"}
    words = []
    for key, value in options_of(want).items():
        for each in value if isinstance(value, list) else [value]:
            words += [f"--{singular.get(key, key)}", str(each)]
    return words


def picture(rows: int = 32, columns: int = 32, seed: int = 0) -> tuple[Pixels, Pixels]:
    """A picture of colors and edges, and a mask with soft edges."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(coarse).resize((columns, rows), Image.Resampling.BICUBIC))
    image = np.where(generator.random((rows, columns, 1)) < 0.1, generator.integers(0, 256, 3, dtype=np.uint8), image)
    ramp = np.linspace(0, 255, columns).astype(np.uint8)
    return image.astype(np.uint8), np.broadcast_to(ramp[None, :, None], (rows, columns, 1)).copy()
