"""Small networks that want their image, their conditions and their output in the ways that people write them.

Needs torch and nothing else.
"""

import argparse
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Plain(nn.Module):
    """An image alone; ``scale`` is that of the result, ``tail`` what comes last."""

    def __init__(
        self, channels: int = 3, out: int | None = None, width: int = 6, scale: int = 1, tail: str = "", stride: int = 1
    ) -> None:
        super().__init__()
        self.enter = nn.Conv2d(channels, width, 3, padding=1, stride=stride)
        self.leave = nn.Conv2d(width, (out or channels) * (scale * stride) ** 2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale * stride)
        self.tail = tail

    def features(self, image: Tensor) -> Tensor:
        made: Tensor = self.shuffle(self.leave(F.leaky_relu(self.enter(image), 0.2)))
        return made

    def forward(self, image: Tensor) -> Tensor:
        made = self.features(image)
        return getattr(torch, self.tail)(made) if self.tail else made


class Smaller(Plain):
    """Half of the height and width."""

    def forward(self, image: Tensor) -> Tensor:
        return F.avg_pool2d(torch.sigmoid(self.features(image)), 2)


class Wide(nn.Module):
    """The image and whatever else in its channels."""

    def __init__(self, more: int, width: int = 6) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3 + more, width, 3, padding=1)
        self.leave = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.leave(F.relu(self.enter(x))))


class Conditioned(nn.Module):
    """Features that are shifted by what a condition is made to."""

    def __init__(self, dim: int = 1, width: int = 6) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, width, 3, padding=1)
        self.shift = nn.Linear(dim, width)
        self.leave = nn.Conv2d(width, 3, 3, padding=1)

    def shifted(self, image: Tensor, condition: Tensor) -> Tensor:
        features = F.relu(self.enter(image) + self.shift(condition)[:, :, None, None])
        return torch.sigmoid(self.leave(features))


class ByName(Conditioned):
    """The image last, and its condition by name alone."""

    def forward(self, strength: Tensor, picture: Tensor, *, gain: float = 1.0) -> Tensor:
        return self.shifted(picture, strength[:, None]) * gain


class Column(Conditioned):
    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.shifted(x, sigma)


class Broadcast(Conditioned):
    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.shifted(x * sigma, x.mean(dim=(1, 2, 3))[:, None])


class OneHot(Conditioned):
    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        return self.shifted(x, c)


class Index(Conditioned):
    def __init__(self, names: int = 3, dim: int = 4) -> None:
        super().__init__(dim)
        self.embed = nn.Embedding(names, dim)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        return self.shifted(x, self.embed(style))


class Planes(nn.Module):
    """A map of conditions in an argument of its own."""

    def __init__(self, planes: int) -> None:
        super().__init__()
        self.body = Wide(planes)

    def forward(self, x: Tensor, planes: Tensor) -> Tensor:
        made: Tensor = self.body(torch.cat([x, planes], dim=1))
        return made


class TwoImages(Planes):
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return super().forward(x, mask)


class ColorNet(Conditioned):
    def forward(self, x: Tensor, color: Tensor) -> Tensor:
        return self.shifted(x, color)


class StyleCode(Conditioned):
    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return self.shifted(x, z.flatten(1))


class Both(Conditioned):
    """Conditions of three kinds at once, in an order of their own."""

    def __init__(self) -> None:
        super().__init__(4)
        self.embed = nn.Embedding(3, 3)
        self.mask = nn.Conv2d(1, 3, 1)

    def forward(self, mask: Tensor, image: Tensor, sigma: Tensor, style: Tensor) -> Tensor:
        return self.shifted(image + self.mask(mask), torch.cat([self.embed(style), sigma], dim=1))


class Outputs(NamedTuple):
    image: Tensor
    features: Tensor


class InSomething(Plain):
    """An image inside of something else."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form

    def forward(self, image: Tensor) -> Any:
        features = F.relu(self.enter(image))
        made, half = torch.sigmoid(self.leave(features)), F.avg_pool2d(features, 2)
        forms: dict[str, Any] = {
            "tuple": (made, features),
            "list": [half, made],
            "dict": {"features": features, "image": made},
            "named": Outputs(made, features),
            "nested": {"losses": [features.mean()], "preds": [(half, made)]},
            "several": [made, 1 - made],
        }
        return forms[self.form]


class Logits(nn.Module):
    """Scores for each pixel, without a softmax."""

    def __init__(self, labels: int = 3) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, labels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.body(x)
        return 40 * scores


class Squeezed(Logits):
    """Probabilities without an axis for channels."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(super().forward(x))[:, 0]


class Noise(Plain):
    """Gives the noise of an image."""

    def forward(self, image: Tensor) -> Tensor:
        return 0.2 * torch.tanh(self.features(image))


class Colorizer(nn.Module):
    """L of Lab in, a and b out."""

    def __init__(self) -> None:
        super().__init__()
        self.body = Plain(1, 2, tail="tanh")

    def forward(self, lightness: Tensor) -> Tensor:
        made: Tensor = self.body(lightness)
        return made


class Looping(Plain):
    """A loop over the images of a batch, which a trace freezes."""

    def forward(self, image: Tensor) -> Tensor:
        return torch.stack([self.features(one[None])[0] for one in image])


class Built(nn.Module):
    """Arguments that are objects."""

    def __init__(
        self,
        norm: Callable[..., nn.Module],
        act: Callable[[Tensor], Tensor] | None = None,
        options: argparse.Namespace | None = None,
        body: nn.Module | None = None,
        mode: str = "a:b",
    ) -> None:
        super().__init__()
        width = options.width if options is not None else 6
        self.enter = nn.Conv2d(3, width, 3, padding=1)
        self.norm, self.act = norm(width), act or F.relu
        self.body = body if body is not None else nn.Identity()
        self.leave = nn.Conv2d(width, 3, 3, padding=1)
        assert isinstance(mode, str)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.leave(self.body(self.act(self.norm(self.enter(x))))))


def make_network(width: int = 6) -> nn.Module:
    """A function that makes a network."""
    return nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 3, 3, padding=1), nn.Tanh())


def make_built() -> nn.Module:
    return Built(functools.partial(nn.InstanceNorm2d, affine=True))


class Windowed(Plain):
    """Takes sizes from 16 on that are multiples of 4."""

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[2:]
        if height % 4 or width % 4:
            raise ValueError(f"{height}x{width} is not a multiple of 4")
        return torch.tanh(self.features(F.pad(image, (15, 15, 15, 15), mode="reflect"))[:, :, 15:-15, 15:-15])


class Singular(Plain):
    """An operator without a counterpart in ONNX."""

    def forward(self, image: Tensor) -> Tensor:
        made = self.features(image)
        largest: Tensor = torch.linalg.svdvals(made)[..., :1, None]
        return made * largest


class Branching(Plain):
    """A branch on values, which no trace follows."""

    def forward(self, image: Tensor) -> Tensor:
        made = self.features(image)
        return made if made.mean() > 0 else -made


class Sampler(nn.Module):
    """Many calls of one network, with random numbers between them."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 3, 3, padding=1)
        self.register_buffer("betas", torch.linspace(0.1, 0.9, 8))

    def forward(self, x: Tensor) -> Tensor:
        for beta in self.get_buffer("betas"):
            x = torch.tanh(self.body(x)) + beta * torch.randn_like(x)
        return x


class Step(nn.Module):
    """One step of a sampler."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, sample: Tensor, timestep: Tensor) -> Tensor:
        return torch.tanh(self.body(sample) + timestep.reshape(-1, 1, 1, 1))


class Downloading(nn.Module):
    def __init__(self, pretrained: bool = True) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 3, 3, padding=1)
        if pretrained:
            torch.hub.load_state_dict_from_url(
                "https://weights.example/w.pth", model_dir="/nonexistent", progress=False
            )

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.body(x))


class Vector(nn.Module):
    """Scores of the whole image."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 10, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.body(x).mean(dim=(2, 3))
        return scores
