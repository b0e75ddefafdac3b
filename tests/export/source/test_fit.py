"""Which of several sets of weights in one file is taken, and what is said about it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from polyexport.errors import CheckpointError, PolyexportError, UsageError
from polyexport.export.source.fit import FittedWeights, fit_weights
from polyexport.export.source.load import load_source
from polyexport.export.source.weights import Weights, read_weights

NETWORKS = Path(__file__).parents[2] / "networks"

State = dict[str, Tensor]


class Tiny(nn.Module):
    """One layer with a buffer of integers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.register_buffer("count", torch.zeros((), dtype=torch.int32))

    def forward(self, image: Tensor, color: Tensor) -> Tensor:
        return image * self.layer.weight.sum()


def state(value: float, dtype: torch.dtype = torch.float32) -> State:
    return {
        "layer.weight": torch.full((2, 2), value, dtype=dtype),
        "layer.bias": torch.full((2,), value, dtype=dtype),
        "count": torch.tensor(3, dtype=torch.int32),
    }


def under(prefix: str, tensors: State) -> State:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def fit(path: Path, content: Any, **options: str) -> tuple[float, FittedWeights]:
    """The value of the weights that were taken, and what was said."""
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(content, path)
    else:
        torch.save(content, path)
    module = Tiny()
    fitted = fit_weights(module, read_weights(path), **options)
    values = [
        value for name in ("layer.weight", "layer.bias") for value in module.state_dict()[name].flatten().tolist()
    ]
    assert len(set(values)) == 1
    return values[0], fitted


def refusal(path: Path, content: Any, kind: type[PolyexportError], **options: str) -> str:
    with pytest.raises(kind) as caught:
        fit(path, content, **options)
    assert caught.type is kind
    assert "\n" not in str(caught.value)
    return str(caught.value)


NAMES = ["model", "ema", "params", "params_ema", "state_dict", "generator", "G", "netG", "model_ema", "module"]


@pytest.mark.parametrize("form", ["nested", "flat", "deep", "list"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_of_two_sets_that_differ_none_is_taken(tmp_path: Path, form: str, suffix: str) -> None:
    one, other = ("0", "1") if form == "list" else ("model", "ema")
    start = {"deep": "a.b.", "list": "all."}.get(form, "")
    contents: dict[str, Any] = {
        "nested": {"model": state(1), "ema": state(2)},
        "flat": under("model.", state(1)) | under("ema.", state(2)),
        "deep": {"a": {"b": {"model": state(1), "ema": state(2)}}},
        "list": {"all": [state(1), state(2)]},
    }
    content = contents[form]
    if suffix == ".safetensors":
        content = under(f"{start}{one}.", state(1)) | under(f"{start}{other}.", state(2))
    path = tmp_path / f"w{suffix}"
    message = refusal(path, content, UsageError)
    # safetensors keeps no order, so its names are sorted.
    first, second = sorted((one, other)) if suffix == ".safetensors" else (one, other)
    assert f"2 sets of weights that fit the network and differ: {start}{first}, {start}{second};" in message
    # A moving average is what most projects evaluate.
    assert f"--weights-key {start}{'0' if form == 'list' else 'ema, a moving average by its name,'}" in message
    for value, key in ((1.0, one), (2.0, other)):
        taken, fitted = fit(path, content, key=start + key)
        assert (taken, fitted.key) == (value, start + key)
        assert fitted.remarks[0] == f"took the weights under {start}{key} of {path}"
        assert "left out 3 tensors" in fitted.remarks[1]


@pytest.mark.parametrize("name", NAMES)
def test_a_second_set_under_any_name_is_seen(tmp_path: Path, name: str) -> None:
    message = refusal(tmp_path / "w.pth", {**state(1), name: state(2)}, UsageError)
    assert f"differ: ., {name};" in message
    assert fit(tmp_path / "w.pth", {**state(1), name: state(2)}, key=".")[0] == 1
    assert fit(tmp_path / "w.pth", {**state(1), name: state(2)}, key=name)[0] == 2
    flat = state(1) | under(f"{name}.", state(2))
    assert f"differ: ., {name};" in refusal(tmp_path / "w.pth", flat, UsageError)
    assert fit(tmp_path / "w.pth", flat, key=".")[0] == 1


def test_sets_with_further_prefixes(tmp_path: Path) -> None:
    content = {"model": under("module.", state(1)), "ema": under("module._orig_mod.", state(2))}
    message = refusal(tmp_path / "w.pth", content, UsageError)
    assert "model.module, ema.module._orig_mod" in message
    for key in ("ema", "ema.module", "ema.module._orig_mod"):
        assert fit(tmp_path / "w.pth", content, key=key)[0] == 2


def test_equal_sets_are_one(tmp_path: Path) -> None:
    same = state(1)
    for content in ({"model": same, "ema": same}, {"model": state(1), "ema": state(1, torch.float16)}):
        value, fitted = fit(tmp_path / "w.pth", content)
        assert (value, fitted.key) == (1, "model")
        assert "the weights under model, ema are equal" in fitted.remarks
    counted = {"model": state(1), "ema": state(1) | {"count": torch.tensor(4, dtype=torch.int32)}}
    assert "differ: model, ema" in refusal(tmp_path / "w.pth", counted, UsageError)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda part: part.pop("layer.bias"), "1 missing (layer.bias)"),
        (lambda part: part.update({"layer.bias": torch.ones(3)}), "1 wrongly shaped (layer.bias (float32 [3]"),
        (lambda part: part.update({"more": torch.ones(3)}), "1 unexpected (more)"),
        (lambda part: part.update({"layer.bias": torch.ones(()).expand(2)}), "expected a dense tensor"),
        (lambda part: part.update({"more": 3}), "more as int, expected a dense tensor"),
    ],
)
def test_the_set_that_fits_wholly_is_taken(tmp_path: Path, change: Callable[[Any], Any], said: str) -> None:
    part = state(1)
    change(part)
    value, fitted = fit(tmp_path / "w.pth", {"model": part, "ema": state(2)})
    assert (value, fitted.key) == (2, "ema")
    assert fitted.remarks[0].startswith("took the weights under ema of ")
    assert fitted.remarks[1].startswith("the weights under model do not fit: ")
    assert said in fitted.remarks[1]
    assert said in refusal(tmp_path / "w.pth", {"model": part, "ema": state(2)}, CheckpointError, key="model")
    assert said in refusal(tmp_path / "w.pth", {"model": part}, CheckpointError)


def test_a_set_is_not_completed_by_another(tmp_path: Path) -> None:
    """BatchNorm2d fills in a counter that is missing: with its own, not with the one of a set that was tried before."""

    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(1)

    one = Normed().state_dict() | {"norm.num_batches_tracked": torch.tensor(7), "norm.bias": torch.ones(2)}
    other = {name: tensor for name, tensor in Normed().state_dict().items() if "num" not in name}
    torch.save({"one": one, "other": other}, tmp_path / "w.pth")
    module = Normed()
    assert fit_weights(module, read_weights(tmp_path / "w.pth")).key == "other"
    assert int(module.get_buffer("norm.num_batches_tracked")) == 0


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    content = {
        "state_dict": under("generator.", state(1)) | {"discriminator.weight": torch.ones(9)},
        "optimizer": {"state": {0: {"mean": torch.ones(2)}}},
        "epoch": 42,
        "losses": [0.1, 0.2],
    }
    value, fitted = fit(tmp_path / "w.pth", content)
    assert (value, fitted.key) == (1, "state_dict.generator")
    assert fitted.remarks == (
        f"took the weights under state_dict.generator of {tmp_path / 'w.pth'} (epoch 42)",
        f"left out 2 tensors of {tmp_path / 'w.pth'} (state_dict.discriminator.weight, optimizer.state.0.mean)",
    )


def test_an_ordinary_file_needs_no_remark(tmp_path: Path) -> None:
    assert fit(tmp_path / "w.pth", state(1))[1] == FittedWeights(key=".", remarks=(), table=None)
    assert fit(tmp_path / "w.safetensors", state(1))[1].remarks == ()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_converted_numbers_are_said(tmp_path: Path, dtype: torch.dtype) -> None:
    name = str(dtype).removeprefix("torch.")
    _, fitted = fit(tmp_path / "w.safetensors", state(1, dtype))
    assert fitted.remarks == (f"converted 2 tensors of {name} to the network's own type",)


def test_integers_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    wide = state(1) | {"count": torch.tensor(2**40 + 3)}
    assert "integers that the network's own type does not hold: count (int64" in refusal(
        tmp_path / "w.pth", wide, CheckpointError
    )
    _, fitted = fit(tmp_path / "w.pth", state(1) | {"count": torch.tensor(3)})
    assert fitted.remarks == ("converted 1 tensor of int64 to the network's own type",)


def test_a_key_that_is_not_there(tmp_path: Path) -> None:
    content = {"model": state(1), "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}}
    for key in ("moel", "mode", "model.layer.weight", "layer", "model."):
        message = refusal(tmp_path / "w.pth", content, UsageError, key=key)
        assert message.endswith("give one of its keys: model, optimizer")
    assert "of its 3 keys, 3 missing" in refusal(tmp_path / "w.pth", content, CheckpointError, key="optimizer")
    assert "of its 3 keys, 3 missing" in refusal(tmp_path / "w.pth", content, CheckpointError, key=".")


def test_an_optimizer_alone_is_not_weights(tmp_path: Path) -> None:
    content: dict[str, Any] = {"state": {}, "param_groups": [{"lr": 1e-3, "params": [0, 1]}]}
    assert "expected a state dict of tensors" in refusal(tmp_path / "w.pth", content, CheckpointError)
    content["state"] = {0: {"exp_avg": torch.ones(2, 2), "step": torch.tensor(1.0)}}
    assert "3 missing (count, layer.weight, layer.bias)" in refusal(tmp_path / "w.pth", content, CheckpointError)


def test_too_many_sets_are_not_tried(tmp_path: Path) -> None:
    content = {f"step{number}": state(number) for number in range(40)}
    assert "holds 40 sets of weights that may fit: step0, step1, step2 and 37 more" in refusal(
        tmp_path / "w.pth", content, UsageError
    )
    assert fit(tmp_path / "w.pth", content, key="step7")[0] == 7


def test_a_table_beside_several_sets(tmp_path: Path) -> None:
    def table(content: Any, apart: str, key: str = "") -> list[float]:
        found = fit(tmp_path / "w.pth", content, apart=apart, key=key)[1].table
        assert found is not None
        return found.tolist()

    colors = [torch.ones(1), torch.ones(1) * 2, torch.ones(1) * 3]
    content = {"model": {**state(1), "colors": colors[0]}, "colors": colors[1], "other": {"colors": colors[2]}}
    assert table(content, "colors") == [1]
    del content["model"]["colors"]  # type: ignore[attr-defined]
    assert table(content, "colors") == [2]
    assert table(content, "other.colors", "model") == [3]
    del content["colors"]
    assert table(content, "colors") == [3]
    content["more"] = {"colors": colors[0]}
    assert "holds 2 tensors named colors: other.colors, more.colors" in refusal(
        tmp_path / "w.pth", content, UsageError, apart="colors"
    )


def test_two_lists_of_colors_that_differ(tmp_path: Path) -> None:
    weights = Weights(
        path=tmp_path, tensors={}, color_mappings=({"red": 0, "lime": 1}, {0: "lime", 1: "red"}), sha256=""
    )
    with pytest.raises(CheckpointError, match="names its colors 2 times, and differently"):
        weights.color_names()
    same = replace(weights, color_mappings=({"red": 0, "lime": 1}, {"1": "lime", "0": "red"}))
    assert same.color_names() == ("red", "lime")


def test_from_the_description_to_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(NETWORKS)
    import tiny_networks

    states = [tiny_networks.EmbeddingNet().state_dict() for _ in range(2)]
    torch.save({"model": states[0], "ema": states[1]}, tmp_path / "w.pth")
    text = 'network = "tiny_networks:EmbeddingNet"\nweights = "w.pth"\nconditioning = "embedding"\nembedding-dim = 5\n'
    text += "size = 16\n"
    file = tmp_path / "n.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match="model, ema; choose one with --weights-key"):
        load_source(file)
    named = tmp_path / "named.toml"
    named.write_text(f'{text}weights-key = "ema"')
    for source in (load_source(file, weights_key="ema"), load_source(named)):
        assert source.weights_key == "ema"
        assert source.remarks[0] == f"took the weights under ema of {tmp_path / 'w.pth'}"
        assert torch.equal(source.module.get_parameter("enter.weight"), states[1]["enter.weight"])


TREES = st.recursive(
    st.sampled_from([1, "text", None, torch.ones(2), torch.ones(2, 2), torch.tensor(3, dtype=torch.int32)])
    | st.builds(state, st.sampled_from([1.0, 2.0])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["model", "ema", "layer", "bias", "a.b", "", "layer.bias", 0]), inner, max_size=4
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["model", "ema", "count", "layer.weight", "a", ""]), TREES, max_size=4))
def test_any_file_gives_one_set_or_one_line(tmp_path_factory: pytest.TempPathFactory, content: dict[Any, Any]) -> None:
    path = tmp_path_factory.mktemp("any") / "w.pth"
    try:
        _, fitted = fit(path, content)
    except PolyexportError as error:
        assert len(str(error).splitlines()) == 1
        return
    assert fit(path, content, key=fitted.key)[1].key == fitted.key
