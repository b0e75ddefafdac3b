import hashlib
import json
import os
import pickle
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from polyexport.errors import CheckpointError, ColorError, PolyexportError, UsageError
from polyexport.export.source.network import load_network
from polyexport.export.source.source import SIGNED
from polyexport.export.source.spec import NetworkSpec
from polyexport.export.source.texts import parse_argument, parse_colors, parse_range
from polyexport.export.source.toml_file import read_spec
from polyexport.model.conditions.fields import ColorFields, Embedding

NETWORKS = Path(__file__).parents[2] / "networks"

Save = Callable[..., NetworkSpec]


@pytest.fixture(autouse=True)
def networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(NETWORKS)


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Save one of the tiny networks, and say of it what is given."""

    def _save(name: str, file: str = "w.safetensors", /, **said: Any) -> NetworkSpec:
        import tiny_networks

        torch.manual_seed(1)
        module = getattr(tiny_networks, name)(**said.get("arguments", {}))
        write(tmp_path / file, module.state_dict())
        return NetworkSpec(**{"network": f"tiny_networks:{name}", "weights": tmp_path / file, "size": 16, **said})

    return _save


def write(path: Path, loaded: Any) -> None:
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(loaded, path)
    else:
        torch.save(loaded, path)


def change(spec: NetworkSpec, edit: Callable[[dict[str, Any]], Any], file: str = "changed.pth") -> NetworkSpec:
    """The same with other weights: ``edit`` changes the state dict, or gives what stands in its place."""
    path = spec.weights
    state = safetensors.torch.load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
    edited = edit(state)
    write(path.with_name(file), state if edited is None else edited)
    return replace(spec, weights=path.with_name(file))


def refusal(spec: NetworkSpec, kind: type[PolyexportError]) -> str:
    """What is said instead of loading it."""
    with pytest.raises(kind) as caught:
        load_network(spec)
    assert caught.type is kind
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700
    return str(caught.value)


# ---------------------------------------------------------------------------------------------------------------------
# What loads


def test_a_network_in_the_style_of_the_seed_project(tmp_path: Path) -> None:
    import seed_style

    reference = seed_style.save_seed(tmp_path / "seed.pth")
    spec = NetworkSpec(
        network="seed_style:SeedUNet", weights=tmp_path / "seed.pth", value_range=(0.0, 1.0), size=256,
        embedding="color_embedding",
    )  # fmt: skip
    source = load_network(spec)

    assert source.color == ColorFields(conditioning="vocabulary", palette=source.palette)
    assert (source.embedding, source.network) == ("color_embedding", spec.network)
    assert isinstance(source.module, seed_style.SeedUNet)  # traced as it is
    assert [name for name, _ in source.palette] == list(seed_style.COLORS)
    assert dict(source.palette)["lime"] == (0, 255, 0)
    assert (source.value_range, source.output_range) == ((0.0, 1.0), (0.0, 1.0))
    assert (source.size_multiple, source.training_size, source.fixed_size) == (256, 256, True)
    assert source.sha256 == hashlib.sha256(spec.weights.read_bytes()).hexdigest()
    assert not source.module.training
    image, indices = torch.rand(1, 3, 256, 256).repeat(2, 1, 1, 1), torch.tensor([0, 19])
    with torch.no_grad():
        colored = source.module(image, indices)
        assert torch.equal(colored, reference(image, indices))
    assert (colored[0] - colored[1]).abs().max() > 0.1  # the fixture tells its colors apart
    assert "[2, 3, 128, 128]" in refusal(replace(spec, size=128), UsageError)
    assert "size-multiple" in refusal(replace(spec, size_multiple=16), UsageError)


def test_a_continuous_network_of_any_size(save: Save) -> None:
    source = load_network(save("RgbNet", value_range=(0.0, 1.0), output_range=(-0.5, 1.5), size_multiple=4))

    assert source.color == ColorFields(conditioning="rgb")
    assert (source.size_multiple, source.training_size, source.fixed_size) == (4, 16, False)
    assert (source.value_range, source.output_range) == ((0.0, 1.0), (-0.5, 1.5))


def test_arguments_reach_the_constructor(save: Save) -> None:
    source = load_network(save("RgbNet", arguments={"width": 3, "act": "gelu", "bias": False}))
    assert source.module.get_submodule("enter").bias is None


def test_a_network_that_takes_vectors(save: Save) -> None:
    alone = save("EmbeddingNet", conditioning="embedding", embedding_dim=5)
    source = load_network(alone)
    assert source.color == ColorFields(conditioning="embedding", color_input="embedding", embedding=Embedding(dim=5))

    table = torch.arange(10.0).reshape(2, 5).to(torch.float16)
    with_table = replace(
        change(alone, lambda state: state.update(colors=table)),
        embedding_dim=0, embedding_table="colors", colors=parse_colors(["red", "brand=#123456"]),
    )  # fmt: skip
    beside = change(alone, lambda state: {"model": state, "colors": table, "color_map": {"red": 0, "lime": 1}}, "b.pt")
    beside = replace(beside, embedding_table="colors")
    for spec, names in ((with_table, ["red", "brand"]), (beside, ["red", "lime"])):
        source = load_network(spec)
        assert [name for name, _ in source.palette] == names
        assert source.color is not None
        assert source.color.embedding is not None
        assert np.array_equal(source.color.embedding.read_table(), table.float().numpy())

    misspelled = replace(with_table, embedding_table="colours")  # codespell:ignore
    assert "did you mean colors?" in refusal(misspelled, UsageError)
    assert "[3, D] for 3 colors" in refusal(
        replace(with_table, colors=parse_colors(["red", "lime", "blue"])), UsageError
    )
    assert "float [2, 4]" in refusal(replace(with_table, embedding_dim=4), UsageError)
    own = replace(with_table, weights=alone.weights, embedding_table="shift.bias")
    assert "float [2, D]" in refusal(own, UsageError)
    damaged = change(alone, lambda state: state.update(colors=table.float() / 0), "nan.pth")
    assert "the table colors" in refusal(replace(with_table, weights=damaged.weights), CheckpointError)
    assert "mat1" in refusal(replace(alone, embedding_dim=4), UsageError)


@pytest.mark.parametrize("key", [None, "model_state_dict", "state_dict", "model", "module"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_where_a_state_dict_stands(save: Save, key: str | None, prefix: str) -> None:
    def edit(state: dict[str, Any]) -> dict[str, Any]:
        state = {prefix + name: tensor for name, tensor in state.items()}
        return {key: state, "epoch": 3} if key else state

    spec = save("RgbNet")
    assert torch.equal(
        load_network(change(spec, edit)).module.get_parameter("enter.weight"),
        safetensors.torch.load_file(spec.weights)["enter.weight"],
    )


def test_a_network_may_have_such_prefixes_of_its_own(save: Save) -> None:
    assert load_network(save("Wrapped", value_range=(0.0, 1.0))).module.get_submodule("module.enter")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("file", ["half.safetensors", "half.pth"])
def test_other_precisions_become_float32(save: Save, dtype: torch.dtype, file: str) -> None:
    spec = save("RgbNet")
    weight = safetensors.torch.load_file(spec.weights)["enter.weight"]
    halved = change(
        spec, lambda state: {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}, file
    )
    loaded = load_network(halved).module.get_parameter("enter.weight")
    assert loaded.dtype == torch.float32
    assert torch.equal(loaded, weight.to(dtype).float())


def test_what_no_state_dict_has_is_the_same_in_every_export(save: Save) -> None:
    def frequencies() -> torch.Tensor:
        value = load_network(spec).module.frequencies
        assert isinstance(value, torch.Tensor)
        return value

    spec = save("Unsaved")
    before = torch.get_rng_state()
    first = frequencies()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(1)
    assert torch.equal(frequencies(), first)


def test_a_newer_pickle_protocol(save: Save) -> None:
    spec = save("RgbNet")
    state = safetensors.torch.load_file(spec.weights)
    torch.save(state, spec.weights.with_name("p4.pth"), pickle_protocol=4)
    # torch warns about it and then does not read it: one line, and it is ours.
    assert "is not in pickle protocol 2" in refusal(
        replace(spec, weights=spec.weights.with_name("p4.pth")), CheckpointError
    )


# ---------------------------------------------------------------------------------------------------------------------
# Colors


@pytest.mark.parametrize("key", ["color_mappings", "color_to_idx", "color_map"])
@pytest.mark.parametrize(
    "mapping", [{"lime": 1, "Red": 0, "blue": 2}, {2: "blue", 0: "red", 1: "lime"},
                {"0": "red", "1": "lime", "2": "blue"}]
)  # fmt: skip
@pytest.mark.parametrize("file", ["m.pth", "m.safetensors"])
def test_colors_beside_the_weights(save: Save, key: str, mapping: dict[Any, Any], file: str) -> None:
    spec = save("VocabularyNet")
    if file.endswith(".safetensors"):
        state = safetensors.torch.load_file(spec.weights)
        safetensors.torch.save_file(state, spec.weights.with_name(file), metadata={key: json.dumps(mapping)})
        spec = replace(spec, weights=spec.weights.with_name(file))
    else:
        spec = change(spec, lambda state: {"state_dict": state, key: mapping}, file)
    source = load_network(spec)
    assert source.color == ColorFields(conditioning="vocabulary", palette=source.palette)
    assert source.palette == (("red", (255, 0, 0)), ("lime", (0, 255, 0)), ("blue", (0, 0, 255)))

    ours = replace(spec, colors=parse_colors(["blue=navy", "red", "lime"]))
    assert load_network(ours).palette == (("red", (255, 0, 0)), ("lime", (0, 255, 0)), ("blue", (0, 0, 128)))
    fewer = refusal(replace(spec, colors=parse_colors(["red", "green", "blue"])), UsageError)
    assert "differ in green, lime" in fewer


@pytest.mark.parametrize(
    "mapping",
    [
        {"red": 0, "lime": 2}, {"red": 1, "lime": 2}, {"red": 0, "lime": 0}, {"red": 0.0}, {"red": True},
        {"red": 0, 1: "lime", "x": None}, {"a": "b"}, {0: 1}, {"red\n": -1},
    ],
)  # fmt: skip
def test_indices_with_gaps(save: Save, mapping: dict[Any, Any]) -> None:
    spec = change(save("VocabularyNet"), lambda state: {"state_dict": state, "color_mappings": mapping})
    assert "without gaps" in refusal(spec, CheckpointError)


def test_colors_that_only_the_user_knows(save: Save) -> None:
    plain = save("VocabularyNet")
    assert "condition" in refusal(plain, UsageError)  # taken for rgb, and the trial run tells
    assert "does not name" in refusal(replace(plain, conditioning="vocabulary"), UsageError)
    given = replace(plain, colors=parse_colors(["brand=#123456", "red", "lime"]))
    assert load_network(given).palette[0] == ("brand", (0x12, 0x34, 0x56))
    assert "out of range" in refusal(replace(plain, colors=parse_colors(["red", "lime", "blue", "cyan"])), UsageError)

    named = change(plain, lambda state: {"model": state, "color_map": {"Brand": 0, "red": 1, "lime": 2}})
    assert "'brand' among the names" in refusal(named, UsageError)
    assert load_network(replace(named, colors=given.colors)).palette == given.colors
    for name in ("../up", "a/b", "", "a\nb", "." * 3):
        odd = change(plain, lambda state, name=name: {"model": state, "color_map": {name: 0, "red": 1}})  # type: ignore[misc]
        assert "cannot name a color" in refusal(odd, UsageError)
    twice = change(plain, lambda state: {"model": state, "color_map": {"Red": 0, "red": 1}})
    assert "twice" in refusal(twice, UsageError)


def test_a_named_color_is_no_reason_against_rgb(save: Save) -> None:
    spec = change(save("RgbNet", conditioning="rgb"), lambda state: {"model": state, "color_map": {"red": 7}})
    assert load_network(spec).palette == ()
    none = change(save("RgbNet"), lambda state: {"model": state, "color_mappings": {}})
    assert load_network(none).color == ColorFields(conditioning="rgb")


# ---------------------------------------------------------------------------------------------------------------------
# Files of weights that are refused


class Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("form", ["zip", "pickle", "legacy"])
def test_a_pickle_that_runs_commands_runs_none(save: Save, tmp_path: Path, form: str) -> None:
    spec = replace(save("RgbNet"), weights=tmp_path / "evil.pth")
    payload = {"model_state_dict": Payload(tmp_path / "marker")}
    if form == "pickle":
        spec.weights.write_bytes(pickle.dumps(payload, protocol=2))
    else:
        torch.save(payload, spec.weights, _use_new_zipfile_serialization=form == "zip")
    message = refusal(spec, CheckpointError)
    assert not (tmp_path / "marker").exists()
    assert "weights_only" not in message
    if form == "zip":
        assert "posix.system" in message


def test_a_whole_pickled_module_is_refused(save: Save, tmp_path: Path) -> None:
    import tiny_networks

    torch.save(tiny_networks.RgbNet(), tmp_path / "whole.pth")
    assert "tiny_networks.RgbNet" in refusal(replace(save("RgbNet"), weights=tmp_path / "whole.pth"), CheckpointError)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.pth", b""), ("junk.pth", b"hello world\nfoo"), ("zip.pth", b"PK\3\4 and no more"),
        ("junk.pt", b"\x80\2."),
        ("empty.safetensors", b""), ("junk.safetensors", b"\xff" * 64), ("short.safetensors", b"\2\0\0\0\0\0\0\0{"),
        ("model.onnx", b""), ("model.pt2", b""), ("model", b""),
    ],
)  # fmt: skip
def test_damaged_and_foreign_files(save: Save, tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert name in refusal(replace(save("RgbNet"), weights=tmp_path / name), CheckpointError)


def test_every_truncated_file_is_refused(save: Save, tmp_path: Path) -> None:
    for file in ("whole.pth", "whole.safetensors"):
        spec = save("RgbNet", file)
        data = spec.weights.read_bytes()
        for length in range(0, len(data), len(data) // 20):
            cut = tmp_path / f"cut{spec.weights.suffix}"
            cut.write_bytes(data[:length])
            refusal(replace(spec, weights=cut), CheckpointError)


def test_missing_and_irregular_files(save: Save, tmp_path: Path) -> None:
    spec = save("RgbNet")
    assert "No such file" in refusal(replace(spec, weights=tmp_path / "none.pth"), CheckpointError)
    (tmp_path / "folder.pth").mkdir()
    refusal(replace(spec, weights=tmp_path / "folder.pth"), CheckpointError)
    refusal(replace(spec, weights=Path("nul\0.pth")), CheckpointError)
    os.mkfifo(tmp_path / "fifo.pth")
    assert "regular" in refusal(replace(spec, weights=tmp_path / "fifo.pth"), CheckpointError)


def test_programs_are_no_weights(save: Save, tmp_path: Path) -> None:
    spec = save("RgbNet")
    script, program = ("x/constants.pkl", "x/code/a.py"), ("x/archive_format", "x/models/model.json", "models/a.json")
    for marker in (*script, *program, "serialized_exported_program.json"):
        with zipfile.ZipFile(tmp_path / "program.pt", "w") as archive:
            archive.writestr(marker, b"{}")
        said = "TorchScript" if marker in script else ".pt2"
        assert said in refusal(replace(spec, weights=tmp_path / "program.pt"), CheckpointError)


def test_a_torch_export_archive_under_another_name(save: Save, tmp_path: Path) -> None:
    exported = torch.export.export(nn.Conv2d(3, 3, 1), (torch.rand(1, 3, 4, 4),))
    torch.export.save(exported, tmp_path / "e.pt2")
    (tmp_path / "e.pt2").rename(tmp_path / "e.pt")
    assert ".pt2" in refusal(replace(save("RgbNet"), weights=tmp_path / "e.pt"), CheckpointError)


def test_a_compressed_archive_is_refused(save: Save, tmp_path: Path) -> None:
    spec = save("RgbNet", "w.pth")
    with (
        zipfile.ZipFile(spec.weights) as source,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in source.namelist():
            bomb.writestr(name, source.read(name))
    assert "compressed" in refusal(replace(spec, weights=tmp_path / "bomb.pth"), CheckpointError)


def test_what_is_no_state_dict(save: Save) -> None:
    spec = save("RgbNet")
    assert "holds a list" in refusal(change(spec, lambda _: [torch.ones(1)]), CheckpointError)
    keys = refusal(change(spec, lambda _: {"epoch": 3, "net\n": {"a": 1}, "c": 1, "d": 2}), CheckpointError)
    assert "epoch, 'net\\n', c and 1 more" in keys
    assert "expected a state dict of tensors" in keys
    assert "holds nothing" in refusal(change(spec, lambda _: {}), CheckpointError)
    for odd in (3, torch.ones(1).expand(10**12), torch.ones(2, 2).to_sparse(), torch.ones(1, device="meta")):
        edited = change(spec, lambda state, odd=odd: {"model": {**state, "odd": odd}})  # type: ignore[misc]
        assert "odd as " in refusal(edited, CheckpointError)


def test_keys_that_do_not_fit_are_named(save: Save) -> None:
    def edit(state: dict[str, Any]) -> None:
        for name in ("enter.weight", "norm.weight"):
            state["x." + name] = state.pop(name)
        state["leave.bias"] = torch.ones(4)
        state["color.bias"] = torch.ones(6, dtype=torch.int64)
        for number in range(3):
            state[f"more\n{number}"] = torch.ones(1)

    message = refusal(change(save("RgbNet"), edit), CheckpointError)
    assert "2 missing (enter.weight, norm.weight)" in message
    assert "5 unexpected (x.enter.weight, x.norm.weight, 'more\\n0', 'more\\n1', 'more\\n2')" in message
    assert "2 wrongly shaped (" in message
    assert "leave.bias (float32 [4], expected float32 [3])" in message
    assert "color.bias (int64 [6], expected float32 [6])" in message


def test_a_prefix_of_some_keys_is_part_of_their_names(save: Save) -> None:
    def one(state: dict[str, Any]) -> None:
        state["module.enter.weight"] = state.pop("enter.weight")

    def all_but_one(state: dict[str, Any]) -> dict[str, Any]:
        return {("other." if name == "color.bias" else "module.") + name: tensor for name, tensor in state.items()}

    spec = save("RgbNet")
    assert "1 unexpected (module.enter.weight)" in refusal(change(spec, one), CheckpointError)
    assert "under module does not fit the network: of its 11 keys, 1 missing (color.bias);" in refusal(
        change(spec, all_but_one), CheckpointError
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite(save: Save, value: float) -> None:
    def edit(state: dict[str, Any]) -> None:
        state["norm.running_var"][2] = value

    assert "norm.running_var" in refusal(change(save("RgbNet"), edit), CheckpointError)


def test_float64_beyond_float32_is_not_finite(save: Save) -> None:
    def edit(state: dict[str, Any]) -> None:
        state["color.bias"] = torch.full((6,), 1e300, dtype=torch.float64)

    assert "infinite weights (color.bias)" in refusal(change(save("RgbNet"), edit), CheckpointError)


# ---------------------------------------------------------------------------------------------------------------------
# Classes that are refused


@pytest.mark.parametrize(
    ("network", "said"),
    [
        ("nowhere_to_be_found:Net", "there is no module nowhere_to_be_found"),
        ("tiny_networks.inner:Net", "no module tiny_networks.inner"),
        ("tiny_networks:RgbNets", "RgbNet, Wrapped, EmbeddingNet"),
        ("tiny_networks:not_a_network", "makes a NoneType, expected a torch.nn.Module"),
        ("tiny_networks:NotAModule", "neither a class derived from torch.nn.Module nor a function"),
        ("tiny_networks:RgbNet.forward", "missing 3 required positional arguments"),
        ("json:Net", "there is no network in"),
    ],
)
def test_no_such_network(save: Save, network: str, said: str) -> None:
    assert said in refusal(replace(save("RgbNet"), network=network), UsageError)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import nowhere_to_be_found", "needs nowhere_to_be_found, which is missing"),
        ("raise RuntimeError('one\\ntwo')", "(RuntimeError: one)"),
        ("import sys; sys.exit(3)", "(SystemExit: 3)"),
        ("def broken(", "SyntaxError"),
    ],
)
def test_modules_that_do_not_import(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, said: str
) -> None:
    (tmp_path / "of_the_user.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    assert said in refusal(replace(save("RgbNet"), network="of_the_user:Net"), UsageError)
    assert sys.path == before


def test_the_current_directory_is_searched_first(save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "network_of_mine.py").write_text("from tiny_networks import EmbeddingNet as Net")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "network_of_mine.py").write_text("raise RuntimeError")
    monkeypatch.syspath_prepend(tmp_path / "there")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delitem(sys.modules, "network_of_mine", raising=False)
    before = list(sys.path)
    spec = save("EmbeddingNet", conditioning="embedding", embedding_dim=5)
    assert load_network(replace(spec, network="network_of_mine:Net")).network == "network_of_mine:Net"
    assert sys.path == before


def test_arguments_that_the_constructor_refuses(save: Save) -> None:
    spec = save("RgbNet")
    unknown = refusal(replace(spec, arguments={"widht": 3}), UsageError)
    assert "unexpected keyword argument 'widht'" in unknown
    assert "(width: int = 6, act: str = 'relu', bias: bool = True)" in unknown
    raises = replace(spec, network="tiny_networks:Raises")
    assert "missing 1 required" in refusal(raises, UsageError)
    assert "RuntimeError: no good)" in refusal(replace(raises, arguments={"where": "constructor"}), UsageError)
    # Known, but not what the weights were trained with.
    assert "wrongly shaped" in refusal(replace(spec, arguments={"width": 3}), CheckpointError)


@pytest.mark.parametrize("name", ["ThreeNeeded", "KeywordNeeded"])
def test_a_forward_that_takes_something_else(save: Save, name: str) -> None:
    spec = replace(save("RgbNet"), network=f"tiny_networks:{name}")
    message = refusal(spec, UsageError)
    assert f"forward of tiny_networks:{name} takes (image" in message
    assert message.endswith("say it, such as --condition 'mask=image:channels=1', or --fixed mask=VALUE")


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("half", "gave float16 [2, 3, 16, 16], which is no image"), ("nan", "gave NaN"), ("nothing", "raised KeyError"),
        ("scores", "gave float32 [2, 5], which is no image"), ("text", "gave str, which is no image"),
        ("oblong", "gave float32 [2, 3, 8, 16], which is no image"),
    ],
)  # fmt: skip
def test_a_trial_run_that_gives_something_else(save: Save, what: str, said: str) -> None:
    message = refusal(save("Gives", arguments={"what": what}), UsageError)
    assert said in message
    assert "run on an image float32 [2, 3, 16, 16] and a color float32 [2, 3]; expected an image" in message


def test_lazy_modules_and_missing_forwards(save: Save) -> None:
    spec = save("RgbNet")
    assert "lazy" in refusal(replace(spec, network="tiny_networks:Lazy"), UsageError)
    spec = replace(save("NoForward"), network="tiny_networks:NoForward")
    assert "NotImplementedError" in refusal(spec, UsageError)


def test_sizes_that_the_network_does_not_take(save: Save) -> None:
    spec = save("RgbNet", size_multiple=2)
    message = refusal(spec, UsageError)
    assert "[1, 3, 4, 6]" in message
    assert message.endswith("leave size-multiple out to export for 16x16 alone")
    assert "[2, 3, 18, 18]" in refusal(replace(spec, size=18, size_multiple=None), UsageError)


def test_a_submodule_that_is_not_there(save: Save) -> None:
    spec = save("VocabularyNet", colors=parse_colors(["red", "lime", "blue"]), embedding="inner.embed")
    assert isinstance(load_network(spec).embedder(), nn.Embedding)
    assert "did you mean inner.embed?" in refusal(replace(spec, embedding="embed"), UsageError)
    assert "no submodule 'inner.weight'" in refusal(replace(spec, embedding="inner.weight"), UsageError)


# ---------------------------------------------------------------------------------------------------------------------
# What is said: the command line and the file

SAID: Mapping[str, Any] = {"network": "a.b:C", "weights": Path("w.pth")}


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"network": "a.b"}, "names no network"), ({"network": "a/b.py:C"}, "names no network"),
        ({"network": ":C"}, "names no network"), ({"network": "a:"}, "names no network"),
        ({"network": "a:B:C"}, "names no network"),
        ({"value_range": (1.0, 0.0)}, "does not grow"), ({"output_range": (0.0, float("nan"))}, "does not grow"),
        ({"value_range": (0.0, 1e-60)}, "does not grow"), ({"value_range": (0.0, 10**400)}, "does not grow"),
        ({"conditioning": "hsv"}, "conditioning is 'hsv'"),
        ({"size": 0}, "expected 1 to 1024"), ({"size": 4096}, "expected 1 to 1024"),
        ({"size_multiple": 0}, "not a multiple"), ({"size": 128, "size_multiple": 48}, "not a multiple"),
        ({"size": 128, "size_multiple": 256}, "multiple"),
        ({"conditioning": "rgb", "colors": (("red", (255, 0, 0)),)}, "no list of colors"),
        ({"conditioning": "embedding"}, "width of the embedding is unknown"),
        ({"conditioning": "embedding", "embedding_dim": 4, "embedding": "x"}, "no submodule"),
        ({"conditioning": "embedding", "embedding_dim": 4, "colors": (("red", (255, 0, 0)),)}, "without a table"),
        ({"conditioning": "embedding", "embedding_dim": 70_000}, "embedding-dim"),
        ({"embedding_dim": -1}, "embedding-dim"),
        ({"embedding_dim": 4}, "belong to"), ({"embedding_table": "t", "conditioning": "rgb"}, "belong to"),
        ({"arguments": {"not a name": 1}}, "names of arguments"),
    ],
)  # fmt: skip
def test_what_cannot_be(said: dict[str, Any], fault: str) -> None:
    with pytest.raises(UsageError, match=fault):
        NetworkSpec(**{**SAID, **said})


def test_ranges() -> None:
    assert parse_range("0..1") == (0.0, 1.0)
    assert parse_range(" -1..1 ") == SIGNED
    assert parse_range("-0.5..+2.25") == (-0.5, 2.25)
    assert parse_range("0..255") == (0.0, 255.0)
    for text in ("", "1", "0-1", "0,1", "1..0", "0..0", "0...5", "..", "0..", "a..b", "0..nan", "0..inf", "0..1e9",
                 "0..9999999", "0..1\n2", "0 .. 1", "\u0660..\u0661"):  # fmt: skip
        with pytest.raises(UsageError):
            parse_range(text)


def test_arguments() -> None:
    for text, expected in {
        "num_colors=20": 20, "rate = 0.5": 0.5, "bias=false": False, "widths=[8, 16]": [8, 16], "act=relu": "relu",
        'act="relu"': "relu", "path=a=b": "a=b", "table={a = 1}": {"a": 1}, "empty=": "", "hex=#ff0000": "#ff0000",
        "tag=1, b = 2": "1, b = 2", "tag=1 }\nc = { d = 2": "1 }\nc = { d = 2", "tag=1 # 2": "1 # 2",
        "weights=None": None,
    }.items():  # fmt: skip
        name, value = parse_argument(text)
        assert (name, value, type(value)) == (text.partition("=")[0].strip(), expected, type(expected))
    for text in ("", "=", "=1", "novalue", "a b=1", "1a=1", "b=True", "b=[1, 2", "b=(1, 2)", "b='x", "a.b=1",
                 "b=" + "[" * 5000):  # fmt: skip
        with pytest.raises(UsageError):
            parse_argument(text)
    with pytest.raises(UsageError, match="give false"):
        parse_argument("bias=False")


def test_colors() -> None:
    assert parse_colors([]) == ()
    assert parse_colors(["Red", "brand = #123456", "green=lime", "rgb(1, 2, 3)", "hsl(0 100% 50%)"]) == (
        ("red", (255, 0, 0)), ("brand", (0x12, 0x34, 0x56)), ("green", (0, 255, 0)), ("010203", (1, 2, 3)),
        ("ff0000", (255, 0, 0)),
    )  # fmt: skip
    for texts in (
        ["brand"],
        ["brand="],
        ["=red"],
        ["../up=red"],
        ["red", "RED"],
        ["a=b=red", "a\nb=red"],
        ["x" * 65 + "=red"],
    ):
        with pytest.raises(UsageError):
            parse_colors(texts)
    with pytest.raises(ColorError, match="did you mean red"):
        parse_colors(["readd"])


FULL = """
network = "seed_style:SeedUNet"
weights = "sub/seed.pth"
weights-key = "ema"
value-range = "0..1"
output-range = [-1, 1.0]
conditioning = "vocabulary"
embedding = "color_embedding"
size = 256
size-multiple = 16

[arguments]
num_colors = 20
widths = [8, 16]

[colors]
red = "#ff0000"
Brand = "rgb(1, 2, 3)"
"""


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "network.toml").write_text(FULL, encoding="utf-8-sig")
    assert read_spec(tmp_path / "network.toml") == NetworkSpec(
        network="seed_style:SeedUNet",
        weights=tmp_path / "sub" / "seed.pth",
        weights_key="ema",
        arguments={"num_colors": 20, "widths": [8, 16]},
        value_range=(0.0, 1.0),
        output_range=SIGNED,
        conditioning="vocabulary",
        colors=(("red", (255, 0, 0)), ("brand", (1, 2, 3))),
        embedding="color_embedding",
        size=256,
        size_multiple=16,
    )
    (tmp_path / "short.toml").write_text('network = "a:B"\nweights = "/w.pth"\ncolors = ["red", "brand=#010203"]')
    spec = read_spec(tmp_path / "short.toml")
    assert spec == NetworkSpec(
        network="a:B", weights=Path("/w.pth"), colors=(("red", (255, 0, 0)), ("brand", (1, 2, 3)))
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "lacks network"), ('network = "a:B"', "lacks weights"), ("network =", "not TOML"), ("\xff", "not TOML"),
        ('value_range = "0..1"', "did you mean value-range"), ("wieghts = 1", "did you mean weights"),
        ("zzz = 1", "the keys are network, weights"), ("network = 3\nweights = 3", "network is 3, expected text"),
        ("size = true", "expected an integer"), ("size = 2.0", "expected an integer"),
        ("size = 0", "expected 1 to 1024"),
        ("size = 0x" + "f" * 5000, "smaller numbers"), ("size = " + "9" * 4000, "expected at most 2147483648"),
        (".".join(["a"] * 300_000) + " = 1", "more than 32 parts"),
        ("['a'" + ' . "a"' * 33 + "]", "more than 32 parts"),
        ("x = '" + "a" * 900_000 + "'", "unknown key"), ("x = " + '"' * 900_001, "not TOML"),
        ("value-range = [0]", "not a range"),
        ("value-range = [0, true]", "not a range"), ("value-range = [0, '1']", "not a range"),
        ("value-range = 1", "a range"),
        ("value-range = [1, 0]", "does not grow"), ("value-range = '1'", "not a range"), ("colors = 'red'", "a table"),
        ("colors = [1]", "a color is not text"), ("colors.red = 1", "a color is not text"),
        ("colors.red = 'redd'", "unknown color"),
        ("arguments = [1]", "a table"), ("arguments.'a b' = 1", "names of arg"),
        ("conditioning = 'x'", "give rgb or vocabulary or embedding"), ("x = " + "[" * 5000, "not TOML"),
    ],
)  # fmt: skip
def test_files_that_are_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "network.toml"
    needed = "" if "network" in text or not text else 'network = "a:B"\nweights = "w.pth"\n'
    path.write_bytes((needed + text).encode("latin-1"))
    with pytest.raises(UsageError, match=said) as caught:
        read_spec(path)
    assert caught.type in (UsageError, ColorError)
    assert len(str(caught.value).splitlines()) == 1
    assert str(path) in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "large.toml").write_text("#" * (1 << 20) + "\n")
    os.mkfifo(tmp_path / "fifo.toml")
    for name, said in (
        ("none.toml", "No such file"),
        ("large.toml", "limit"),
        ("fifo.toml", "regular"),
        (".", "regular"),
    ):
        with pytest.raises(UsageError, match=said):
            read_spec(tmp_path / name)


def only_usage_errors(function: Callable[[Any], object], value: object) -> None:
    try:
        function(value)
    except UsageError as error:
        assert len(str(error).splitlines()) == 1


NEAR_RANGE = st.text("0123456789.-+e \n", max_size=12)
NEAR_TOML = st.text("ab01=[]{}()\"'#,.:-_ \n\\tTrueFalse", max_size=30)


@given(st.text(max_size=20) | NEAR_RANGE)
def test_any_text_as_a_range(text: str) -> None:
    only_usage_errors(parse_range, text)


@given(st.floats(-1e5, 1e5).map(lambda x: round(x, 3)), st.floats(1e-2, 1e5).map(lambda x: round(x, 3)))
def test_ranges_come_back(low: float, width: float) -> None:
    assert parse_range(f"{low:.3f}..{low + width:.3f}") == (
        float(f"{low:.3f}"),
        float(f"{low + width:.3f}"),
    )


@given(st.text(max_size=20) | NEAR_TOML.map(lambda text: f"x={text}"))
def test_any_text_as_an_argument(text: str) -> None:
    only_usage_errors(parse_argument, text)


@given(st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.lists(st.integers(0, 9)) | st.floats(allow_nan=False))
def test_values_come_back(value: Any) -> None:
    parsed = parse_argument(f"x={json.dumps(value).replace('Infinity', 'inf')}")[1]
    assert (parsed, type(parsed)) == (value, type(value))


@given(st.lists(st.text(max_size=12) | st.sampled_from(["red", "x=red", "=", "#fff", "add=1"]), max_size=4))
def test_any_texts_as_colors(texts: list[str]) -> None:
    only_usage_errors(parse_colors, texts)


TOML_VALUE = st.sampled_from(
    ["1", "-1", "0", "256", "true", "1.5", "nan", "inf", '"a:B"', '"0..1"', "[0, 1]", "[]", "{}", "{ a = 1 }",
     '"\\u0000"',
     '{ red = "red" }', '["red"]', "1979-05-27", "0xffffffffffffffffffff", '"rgb"', '"embedding"', "[[1]]", "9" * 400,
     '[{ name = "s", kind = "number", range = [0, 1], default = 3 }]', '[{ name = "s", kind = "label", labels = [1] }]',
     '[{ name = 1 }]', '"argmax"', '"1/3"', "[0.5, nan]"]
)  # fmt: skip
KEYS = ["network", "weights", "weights-key", "arguments", "value-range", "output-range", "conditioning", "colors",
        "embedding", "embedding-dim", "embedding-table", "size", "size-multiple", "other", "condition", "fixed", "mean",
        "output-std", "residual", "gray", "channels", "input-space", "output-key", "activation",
        "label-colors"]  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(st.sampled_from(KEYS), TOML_VALUE).map(lambda d: "\n".join(f"{k} = {v}" for k, v in d.items()))
    | st.builds(lambda at, text: FULL[:at] + text + FULL[at:], st.integers(0, len(FULL)), NEAR_TOML)
    | st.text(max_size=40)
)
def test_any_text_as_a_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "any.toml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    only_usage_errors(read_spec, path)
