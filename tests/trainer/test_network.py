import pytest
import torch

from polyexport.data.vocabulary import VOCABULARY
from trainer.network import BASE_CHANNELS, BASE_CONTEXT, SMALL_CHANNELS, ConditionalUNet, ModelConfig


def parameters(config: ModelConfig) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in ConditionalUNet(config).parameters())


def test_the_two_networks_have_the_designs_widths() -> None:
    assert BASE_CHANNELS == (64, 128, 256, 512, 1024)
    assert SMALL_CHANNELS == (16, 16, 32, 64, 128, 128, 128)
    assert 34_000_000 < parameters(ModelConfig(channels=BASE_CHANNELS, context=BASE_CONTEXT)) < 35_000_000
    assert 1_900_000 < parameters(ModelConfig()) < 2_100_000


@pytest.mark.parametrize("size", [(16, 16), (32, 48), (64, 16)])
def test_any_multiple_of_16_in_the_same_size_out(size: tuple[int, int]) -> None:
    model = ConditionalUNet(ModelConfig(channels=(2, 2, 2, 2, 4))).eval()
    with torch.inference_mode():
        colored = model(torch.zeros(2, 3, *size), torch.zeros(2, 3))
    assert colored.shape == (2, 3, *size)
    assert colored.abs().max() <= 1


@pytest.mark.parametrize("context", [(4, 4), (4, 4, 6)])
def test_a_context_adds_levels(context: tuple[int, ...]) -> None:
    config = ModelConfig(channels=(2, 4, 8), context=context)
    assert config.size_multiple == 2 ** (2 + len(context) - 1)
    model = ConditionalUNet(config).eval()
    with torch.inference_mode():
        assert model(torch.zeros(1, 3, 16, 32), torch.zeros(1, 3)).shape == (1, 3, 16, 32)


def test_patches_halve_the_finest_level_and_keep_the_size() -> None:
    model = ConditionalUNet(ModelConfig(channels=(4, 6, 8), patch=2)).eval()
    assert model.config.size_multiple == 8
    assert model.config.as_json()["patch"] == 2
    assert "patch" not in ModelConfig().as_json()
    with torch.inference_mode():
        assert model.encoder[0](torch.zeros(1, 3, 16, 24)).shape == (1, 4, 8, 12)
        assert model(torch.zeros(1, 3, 16, 24), torch.zeros(1, 3)).shape == (1, 3, 16, 24)
    for patch in (0, 3, 4):
        with pytest.raises(ValueError, match="patch must be 1 or 2"):
            ModelConfig(patch=patch)


@pytest.mark.parametrize("conditioning", ["rgb", "vocabulary"])
def test_the_color_reaches_every_pixel_and_the_encoder_never_sees_it(conditioning: str) -> None:
    palette = VOCABULARY if conditioning == "vocabulary" else ()
    torch.manual_seed(0)
    model = ConditionalUNet(ModelConfig(channels=(16, 16, 32), conditioning=conditioning, palette=palette)).eval()  # type: ignore[arg-type]
    image = torch.rand(1, 3, 16, 16)
    one, other = (
        (torch.tensor([0]), torch.tensor([7])) if palette else (torch.full((1, 3), -1.0), torch.full((1, 3), 1.0))
    )
    encoded: list[torch.Tensor] = []
    for block in model.encoder:
        block.register_forward_hook(lambda module, inputs, features: encoded.append(features))
    with torch.inference_mode():
        difference = (model(image, one) - model(image, other)).abs().amax(dim=1)
    assert (difference > 1e-4).float().mean() > 0.95  # ReLU may still hide it from a few
    assert len(encoded) == 6
    assert all(torch.equal(*features) for features in zip(encoded[:3], encoded[3:], strict=True))


def test_decoding_twice_from_one_encoding_equals_two_runs() -> None:
    torch.manual_seed(0)
    model = ConditionalUNet(ModelConfig(channels=(4, 4, 8), context=(4, 4))).eval()
    image = torch.rand(1, 3, 16, 16)
    with torch.inference_mode():
        bottleneck, skips = model.encode(image)
        for value in (-1.0, 0.5):
            color = torch.full((1, 3), value)
            assert torch.equal(model.decode(bottleneck, skips, model.color_embedding(color)), model(image, color))


def test_a_label_reaches_every_pixel_and_the_encoder_never_sees_it() -> None:
    torch.manual_seed(0)
    model = ConditionalUNet(ModelConfig(channels=(16, 16, 32), conditioning="label", labels=("a", "b"))).eval()
    image = torch.rand(1, 3, 16, 16)
    with torch.inference_mode():
        one, other = (model(image, torch.tensor([number])) for number in (0, 1))
        assert ((one - other).abs().amax(dim=1) > 1e-4).float().mean() > 0.95
        assert torch.equal(model.decode(*model.encode(image), model.embed(torch.tensor([1]))), other)
    assert model.label_embedding.weight.shape == (2, 128)
    assert not any("color" in name for name in model.state_dict())


def test_a_network_without_a_condition_takes_the_picture_alone() -> None:
    config = ModelConfig(channels=(4, 8), conditioning="none")
    model = ConditionalUNet(config).eval()
    with torch.inference_mode():
        assert model(torch.zeros(2, 3, 16, 32)).shape == (2, 3, 16, 32)
    assert not any("embedding" in name or "projection" in name for name in model.state_dict())


def test_labels_stand_in_the_header_only_where_there_are_some() -> None:
    """Files of the networks that earlier versions knew must not change by a byte."""
    assert list(ModelConfig().as_json()) == ["channels", "context", "embedding_dim", "conditioning", "palette"]
    assert ModelConfig(conditioning="label", labels=("a",)).as_json()["labels"] == ("a",)


@pytest.mark.parametrize(
    "values",
    [
        {"channels": (4,)},
        {"channels": (4, 0)},
        {"channels": (4, 100_000)},
        {"embedding_dim": 0},
        {"context": (4,)},
        {"context": (4, 0)},
        {"context": (8,) * 9},
        {"conditioning": "text"},
        {"conditioning": "vocabulary"},
        {"palette": VOCABULARY},
        {"conditioning": "label"},
        {"labels": ("a",)},
        {"conditioning": "none", "labels": ("a",)},
        {"conditioning": "none", "palette": VOCABULARY},
        {"conditioning": "label", "labels": ("a", "a")},
        {"conditioning": "label", "labels": ("a", "")},
        {"conditioning": "label", "labels": tuple(map(str, range(5000)))},
        {"conditioning": "vocabulary", "palette": (*VOCABULARY, VOCABULARY[0])},
    ],
)
def test_impossible_architectures_are_refused_when_described(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must|takes none"):
        ModelConfig(**values)  # type: ignore[arg-type]


def test_the_vocabulary_has_twenty_names_for_twenty_colors() -> None:
    assert len({name for name, _ in VOCABULARY}) == len({rgb for _, rgb in VOCABULARY}) == 20
