"""What is said of wrong calls for a network that takes an image alone, or more than it seems: whole lines."""

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch

from polyexport.errors import PolyexportError
from polyexport.export.graph.trace import trace
from polyexport.export.source.load import load_source
from polyexport.export.source.spec_fields import read_field

NETWORKS = Path(__file__).parents[2] / "networks"


@pytest.fixture(autouse=True)
def networks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(NETWORKS)
    monkeypatch.chdir(tmp_path)


def export(network: str, told: dict[str, Any]) -> None:
    trace(load_source(network, **dict(read_field(key, value) for key, value in told.items())))


def call(network: str, arguments: dict[str, Any], said: dict[str, Any]) -> str:
    """The line that a call ends with; the weights are those of the network with its right arguments."""
    import wanting

    module = getattr(wanting, network.rpartition(":")[2], wanting.Plain)(**arguments)
    safetensors.torch.save_file(module.state_dict(), "w.safetensors")
    told = {"arguments": [f"{name}={value}" for name, value in arguments.items()], "weights": "w.safetensors"} | said
    with pytest.raises(PolyexportError) as caught:
        export(network, {key: value for key, value in told.items() if value is not None})
    assert "\n" not in str(caught.value)
    assert "0x" not in str(caught.value)
    return str(caught.value).replace(str(NETWORKS), "HERE")


LOGITS = {"labels": 1}

CALLS: tuple[tuple[str, dict[str, Any], dict[str, Any], str], ...] = (
    ("wanting:Plain", {}, {"weights": None},
     "wanting:Plain needs its weights; give --weights FILE.safetensors or FILE.pth"),
    ("wanting:Plane", {}, {},
     ("wanting:Plane does not exist; the networks of HERE/wanting.py are Plain, Smaller, Wide, "
     "Conditioned, ByName")),
    ("wanting:Plain", {}, {"arguments": ["widht=3"]},
     ("wanting:Plain refuses its arguments (TypeError: Plain.__init__() got an unexpected keyword argument "
     "'widht'); it takes (channels: int = 3, out: int | None = None, width: int = 6, scale: int = 1, "
     "tail: str = '', stride: int = 1); give what it needs as NAME=VALUE or under [arguments]")),
    ("wanting:Plain", {}, {"arguments": ["width=3"]},
     ("w.safetensors does not fit the network: of its 4 keys, 3 wrongly shaped (enter.bias (float32 [6], "
     "expected float32 [3]), enter.weight (float32 [6, 3, 3, 3], expected float32 [3, 3, 3, 3]), "
     "leave.weight (float32 [3, 6, 3, 3], expected float32 [3, 3, 3, 3])); give the constructor arguments "
     "that the weights were trained with")),
    ("wanting:Plain", {"stride": 4}, {"size-multiple": 2},
     ("wanting:Plain gave float32 [1, 3, 4, 8], which is no image, run on an image float32 [1, 3, 4, 6]; "
     "expected an image; leave size-multiple out to export for 128x128 alone")),
    ("wanting:Plain", {"channels": 1}, {"channels": 3},
     ("wanting:Plain raised RuntimeError: Given groups=1, weight of size [6, 1, 3, 3], expected input[2, "
     "3, 128, 128] to have 1 channels, but got 3 channels instead, run on an image float32 [2, 3, 128, "
     "128]; expected an image; give the size that it takes with --size, its channels with --channels, or "
     "say which part of what it gives is the image with --output-key")),
    ("wanting:Vector", {}, {},
     ("wanting:Vector gave float32 [2, 10], which is no image, run on an image float32 [2, 3, 128, 128]; "
     "expected an image; give the size that it takes with --size, its channels with --channels, or say "
     "which part of what it gives is the image with --output-key")),
    ("wanting:Column", {}, {},
     ("forward of wanting:Column takes (x: Tensor, sigma: Tensor), and nothing says what its sigma is; say "
     "it, such as --condition 'sigma=number:range=0..1', or --fixed sigma=VALUE")),
    ("wanting:Column", {}, {"condition": ["sigma=number:range=0..75,as=one-hot"]},
     ("the number sigma cannot be given as 'one-hot'; give as=[B] or as=[B,1] or as=[B,1,1,1] or as=planes "
     "or as=channels")),
    ("wanting:Column", {}, {"condition": ["strength=number:range=0..75,argument=strength"]},
     ("forward of wanting:Column has no argument 'strength'; it takes (x: Tensor, sigma: Tensor); give one "
     "of these by name, or its position from 0")),
    ("wanting:OneHot", {"dim": 3}, {},
     ("forward of wanting:OneHot takes (x: Tensor, c: Tensor), and nothing says what its c is; say it, "
     "--condition c=KIND with color, label, number, vector or image, or --fixed c=VALUE")),
    ("wanting:Step", {}, {},
     ("forward of wanting:Step takes (sample: Tensor, timestep: Tensor): its timestep is that of a "
     "sampler, which calls a network many times, and one call makes no image; if one call does, fix the "
     "step with --fixed timestep=VALUE")),
    ("wanting:Sampler", {}, {},
     ("wanting:Sampler is a sampler: it has betas and calls its network 8 times; export the network inside "
     "of it, if one call of that makes an image")),
    ("wanting:InSomething", {"form": "several"}, {},
     ("wanting:InSomething gives 2 images: 0: float32 [2, 3, 128, 128], 1: float32 [2, 3, 128, 128]; name "
     "the one to take, such as --output-key 0")),
    ("wanting:InSomething", {"form": "several"}, {"output-key": "2"},
     ("wanting:InSomething gives nothing at '2': 0: float32 [2, 3, 128, 128], 1: float32 [2, 3, 128, 128]; "
     "give one of these places with --output-key")),
    ("wanting:Logits", {"labels": 1}, {},
     ("wanting:Logits gives a mask of one channel without bounds, which may be logits; give --activation "
     "sigmoid if they are, or --activation none if its values are 0..1")),
    ("wanting:Logits", {"labels": 2}, {},
     ("wanting:Logits gives 2 channels, and nothing says what they are; give --output-space ab for the "
     "colors of Lab, --activation argmax for scores of two labels, or --activation softmax "
     "--output-channel 1 for a mask")),
    ("wanting:Logits", {"labels": 5}, {},
     ("wanting:Logits gives 5 channels, expected 1, 3 or 4; give --activation argmax if they are the "
     "scores of 5 labels, or one of them with --output-channel")),
    ("wanting:Plain", {}, {"mean": "0.5,0.5"},
     "mean has 2 values, and the network's image 3 channels; give one value, or one for each channel"),
    ("wanting:Plain", {}, {"value-range": "0..1", "input-space": "lab"},
     ("value-range does not go with Lab, whose L is 0 to 100 and whose a and b are -128 to 128; give mean "
     "and std in these units")),
    ("wanting:Plain", {}, {"value-range": "1"},
     "'1' is not a range of values; give two numbers such as 0..1 or -1..1"),
    ("wanting:Downloading", {"pretrained": False}, {"arguments": []},
     ("wanting:Downloading wants to download something from weights.example while it is built; leave that "
     "out, such as with --argument pretrained=false; its weights come from --weights")),
    ("wanting:Singular", {}, {"size": 16},
     ("the network cannot be exported: aten._linalg_svd has no counterpart in ONNX (HERE/wanting.py, line "
     "258: largest: Tensor = torch.linalg.svdvals(made)[..., :1, None]); nothing was written; mend the "
     "network, or report it if `forward` has nothing unusual")),
    ("wanting:Branching", {}, {"size": 16},
     ("the network cannot be exported: a branch or a size depends on the values of a tensor "
     "(HERE/wanting.py, line 267: return made if made.mean() > 0 else -made); nothing was written; mend "
     "the network, or report it if `forward` has nothing unusual")),
)  # fmt: skip


@pytest.mark.parametrize(("network", "arguments", "said", "line"), CALLS)
def test_the_line_that_a_wrong_call_ends_with(
    network: str, arguments: dict[str, Any], said: dict[str, Any], line: str
) -> None:
    assert call(network, arguments, said) == line
