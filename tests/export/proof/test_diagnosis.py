"""Each reason why a network cannot be proven is named, with a remedy that fits it. The networks are tiny and real."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polyexport.errors import ParityError
from polyexport.export.graph.trace import trace
from polyexport.export.proof.cause import Cause
from polyexport.export.proof.diagnosis import diagnose_network, diagnose_sensitivity, diagnose_tracing, remedy_of
from polyexport.export.proof.drawings import drawings
from polyexport.export.proof.examples import Example
from polyexport.export.proof.parity import ParityOptions
from polyexport.export.proof.proof import Proof
from polyexport.export.source.source import Source
from polyexport.model.conditions.fields import ColorFields

COLORS = np.array([[255, 0, 0], [10, 200, 90]], np.uint8)
EXAMPLES = [Example(image, (color,)) for image, color in zip(drawings(2, 32), COLORS, strict=True)]


class Network(nn.Module):
    """A sound network; each network below breaks one thing between its two convolutions."""

    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.enter, self.leave = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(7, 3, 3, padding=1)
        assert self.enter.bias is not None
        nn.init.ones_(self.enter.bias)  # no feature is zero everywhere
        self.dropout = nn.Dropout(0.5)
        self.register_buffer("seen", torch.zeros(1))

    def between(self, features: Tensor) -> Tensor:
        return features

    def forward(self, image: Tensor, color: Tensor) -> Tensor:
        features = self.between(torch.relu(self.enter(image)))
        plane = color[:, :, None, None].expand(-1, -1, image.shape[2], image.shape[3])
        return torch.tanh(self.leave(torch.cat([features, plane], dim=1)))


class Noisy(Network):
    def between(self, features: Tensor) -> Tensor:
        return features + 0.1 * torch.rand_like(features)


class Dropping(Network):
    def between(self, features: Tensor) -> Tensor:
        return F.dropout(features, 0.5, training=True)


class Counting(Network):
    def between(self, features: Tensor) -> Tensor:
        self.seen += 1
        return features * self.seen


class Growing(Network):
    calls = 0

    def between(self, features: Tensor) -> Tensor:
        self.calls += 1
        return features * (1 + 0.1 * self.calls)


class BatchNormalized(Network):
    def between(self, features: Tensor) -> Tensor:
        return F.batch_norm(features, None, None, training=True)


class BatchCentered(Network):
    def between(self, features: Tensor) -> Tensor:
        return features - features.mean((0, 2, 3), keepdim=True)


class Branching(Network):
    def between(self, features: Tensor) -> Tensor:
        return features * 0.5 if features.shape[-1] > 28 else features


class Scaling(Network):
    def between(self, features: Tensor) -> Tensor:
        return features * (int(features.shape[-1]) / 32)


class Looping(Network):
    def between(self, features: Tensor) -> Tensor:
        return torch.stack([one * 0.7 for one in features])


class Sly(Network):
    def between(self, features: Tensor) -> Tensor:
        return features * 0.5 if torch.compiler.is_exporting() else features


class Comparing(Network):
    def between(self, features: Tensor) -> Tensor:
        return (features > features[:, :, 9:10, 9:10]).float()


class Magnifying(Network):
    def between(self, features: Tensor) -> Tensor:
        return torch.sin(features * 30000)


def source_of(network: type[Network], multiple: int | None = None) -> Source:
    return Source(
        module=network().eval(),
        conditions=(ColorFields(conditioning="rgb"),),
        size_multiple=multiple or 32,
        training_size=32,
        fixed_size=multiple is None,
        network="test",
        sha256="0" * 64,
    )


@pytest.mark.parametrize(
    ("network", "text", "remedy"),
    [
        (Noisy, "it draws random numbers", "randomness"),
        (Dropping, "it draws random numbers", "F.dropout with training=self.training"),
        (Counting, "forward changes its buffer seen", "change nothing of self"),
        (Growing, "forward changes its own state", "change nothing of self"),
        (BatchNormalized, "depends on the other images of its batch", "F.batch_norm training=self.training"),
        (BatchCentered, "depends on the other images of its batch", "without the batch"),
    ],
)
def test_what_is_the_matter_with_the_network_itself(network: type[Network], text: str, remedy: str) -> None:
    found = diagnose_network(source_of(network), EXAMPLES)
    assert found is not None
    assert text in found.text
    assert remedy in found.remedy
    assert "other versions" not in found.remedy


@pytest.mark.parametrize("network", [Network, Branching, Scaling, Looping, Sly])
def test_a_network_that_is_a_function_of_its_inputs_has_no_such_fault(network: type[Network]) -> None:
    assert diagnose_network(source_of(network), EXAMPLES) is None


def test_an_experiment_leaves_the_network_as_it_is() -> None:
    source = source_of(Counting)
    diagnose_network(source, EXAMPLES)
    assert float(source.module.get_buffer("seen")) == 0


@pytest.mark.parametrize(
    ("network", "multiple", "text", "remedy"),
    [
        (Branching, 8, "depends on the size and was frozen", "without int(), float() or `if`"),
        (Looping, None, "its batch is frozen", "without a loop over the images"),
        (Sly, None, "so it is at the size and batch that it was traced with", "no torch.compiler.is_exporting"),
    ],
)
def test_what_tracing_froze(network: type[Network], multiple: int | None, text: str, remedy: str) -> None:
    source = source_of(network, multiple)
    traced = trace(source)
    found = diagnose_tracing(source, traced, source.built_conditions(), EXAMPLES)
    assert found is not None
    assert text in found.text
    assert remedy in found.remedy


def test_the_failing_export_says_it() -> None:
    """A number that was the width of the traced example, in a network that takes other widths."""
    proof = Proof.of(source_of(Scaling, 8), parity=ParityOptions(images=1, batches=(1,)))
    with pytest.raises(
        ParityError, match=r"stage raw differs .* and not at 24x16, the size that it was traced"
    ) as caught:
        proof.check(proof.candidate("raw", proof.traced.model))
    assert "without --size-multiple" in caught.value.remedy


def test_what_rounding_decides_is_named() -> None:
    source = source_of(Comparing)
    white = np.full((32, 32, 3), 255, np.uint8)  # every pixel equals the one that it is compared with
    found = diagnose_sensitivity(source, trace(source), [Example(white, (color,)) for color in COLORS])
    assert found is not None
    assert "gt (tensor gt" in found.text
    assert "sigmoid instead of a comparison" in found.remedy


def test_what_magnifies_rounding_is_told_from_a_jump() -> None:
    source = source_of(Magnifying)
    traced = trace(source)
    found = diagnose_sensitivity(source, traced, EXAMPLES)
    assert found is not None
    assert "already in PyTorch" in found.text
    assert "large argument" in found.remedy
    sound = Source(**{name: getattr(source, name) for name in Source.__slots__} | {"module": Network().eval()})
    assert diagnose_sensitivity(sound, traced, EXAMPLES) is None


@pytest.mark.parametrize(
    ("operator", "stage", "remedy"),
    [
        ("GridSample", "raw", "padding_mode"),
        ("Resize", "raw", "align_corners"),
        ("InstanceNormalization", "raw", "two axes"),
        ("RandomNormalLike", "raw", "randomness"),
        ("Cos", "simplified", "small range"),
        ("TopK", "raw", "stable=True"),
        ("Conv", "raw", "another version of torch"),
        ("Conv", "simplified", "another version of onnxsim"),
        ("Conv", "palette", "without --palette"),
    ],
)
def test_the_remedy_fits_the_wrong_node(operator: str, stage: str, remedy: str) -> None:
    assert remedy in remedy_of(Cause(node="n", operator=operator, tensor="t", detail="off"), stage)
