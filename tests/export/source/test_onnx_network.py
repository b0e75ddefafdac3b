from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper
from onnx_files import FILES, inputs, keras, picture, save_graph, torchscript, weights

from polyexport.errors import ModelError, ParityError, UsageError
from polyexport.export.export import export_source
from polyexport.export.graph import inlining
from polyexport.export.graph.trace import simplify
from polyexport.export.proof.parity import ParityOptions
from polyexport.export.proof.proof import Proof
from polyexport.export.proof.verify import verify_against
from polyexport.export.source import onnx_network
from polyexport.export.source.condition_spec import parse_condition
from polyexport.export.source.load import load_source
from polyexport.model.model import Model
from polyexport.runtime.session import SessionOptions

SMALL = ParityOptions(sizes=((16, 16), (16, 32)), batches=(1, 2), images=2)
CPU = SessionOptions(provider="cpu")


@dataclass(frozen=True)
class Found:
    scale: str = "1"
    values: tuple[float, float] = (0.0, 1.0)
    multiple: int = 1
    fixed: tuple[int, int] | None = None
    batch_one: bool = False


FOUND = {
    "torchscript": Found(multiple=4),
    "half": Found(multiple=16, fixed=(32, 48), batch_one=True),
    "keras": Found(scale="2", values=(-1.0, 1.0), multiple=2),
    "levels": Found(values=(0.0, 255.0)),
    "newer": Found(),
    "upsample": Found(scale="2"),
    "function": Found(batch_one=True),
    "two_outputs": Found(),
}


@pytest.mark.parametrize("name", FILES)
def test_what_a_file_takes_is_found_out(name: str, tmp_path: Path) -> None:
    source = load_source(FILES[name](tmp_path / f"{name}.onnx"))

    found = Found(
        scale=source.result.scale,
        values=source.value_range,
        multiple=source.size_multiple,
        fixed=source.fixed_shape,
        batch_one=source.batch_one,
    )
    assert found == FOUND[name]
    assert source.output_range == source.value_range
    assert source.network == f"{name}.onnx"
    assert source.reference.endswith(f"{name}.onnx")


@pytest.mark.parametrize("name", FILES)
def test_the_graph_of_a_file_equals_it(name: str, tmp_path: Path) -> None:
    proof = Proof.of(load_source(FILES[name](tmp_path / f"{name}.onnx")), parity=SMALL)
    simplified = simplify(proof.traced.model)

    for stage, model in (("raw", proof.traced.model), ("simplified", simplified)):
        assert proof.check(proof.candidate(stage, model)).max_abs_diff < 1e-5
    names = [node.name for node in simplified.graph.node]
    assert "" not in names
    assert len(set(names)) == len(names)


def test_the_certificate_names_the_file_and_the_operators_are_those_of_its_opset(tmp_path: Path) -> None:
    source = load_source(FILES["newer"](tmp_path / "newer.onnx"), size=16)
    exported = export_source(source, tmp_path / "model.onnx")

    assert exported.parity.reference == f"ONNX Runtime {ort.__version__}, CPU, newer.onnx"
    assert exported.remarks[0].startswith("took its input x float32 [?, 3, ?, ?] for the image, NCHW")
    contract = Model.from_bytes((tmp_path / "model.onnx").read_bytes(), CPU).contract
    assert contract.opset == onnx.load(tmp_path / "model.onnx").opset_import[0].version == 23


def test_the_model_gives_what_a_loop_over_the_file_gives(tmp_path: Path) -> None:
    file = keras(tmp_path / "keras.onnx")
    export_source(load_source(file, size=32), tmp_path / "model.onnx")
    model = Model.from_bytes((tmp_path / "model.onnx").read_bytes(), CPU)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)

    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (plain,) = session.run(None, {"input_1:0": images.astype(np.float32) / 127.5 - 1})
    expected = np.clip(np.rint((plain + 1) * 127.5), 0, 255)

    assert np.abs(model.run(images).astype(int) - expected).max() <= 1


@pytest.mark.slow
def test_a_model_is_verified_against_its_file_and_not_against_another(tmp_path: Path) -> None:
    file = keras(tmp_path / "keras.onnx")
    export_source(load_source(file, size=32), tmp_path / "model.onnx")
    data = (tmp_path / "model.onnx").read_bytes()

    stage, _ = verify_against(data, load_source(file, size=32), CPU)
    assert stage.max_abs_diff < 1e-4

    changed = onnx.load(file)
    tensor = changed.graph.initializer[1]
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.01), tensor.name))
    onnx.save(changed, tmp_path / "other.onnx")
    with pytest.raises(ParityError, match=r"differs from the original file: .*first wrong node: Conv original/"):
        verify_against(data, load_source(tmp_path / "other.onnx", size=32), CPU)


def test_a_wrong_weight_in_the_written_graph_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = load_source(torchscript(tmp_path / "net.onnx"), size=32)
    right = inlining._inlined

    def wrong(*args: object) -> object:
        nodes, constants = right(*args)  # type: ignore[arg-type]
        kernel = next(each for each in constants if list(each.dims) == [6, 6, 3, 3])
        values = numpy_helper.to_array(kernel) * np.float32(1.01)
        kernel.CopyFrom(numpy_helper.from_array(values, kernel.name))
        return nodes, constants

    monkeypatch.setattr(inlining, "_inlined", wrong)
    with pytest.raises(
        ParityError, match=r"stage (raw|simplified) differs from the original file.*first wrong node: Conv original/"
    ):
        export_source(source, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_further_inputs_are_asked_for_one_after_the_other(tmp_path: Path) -> None:
    file = inputs(tmp_path / "inputs.onnx")
    with pytest.raises(UsageError, match="nothing says what its mask and 3 more is") as caught:
        load_source(file)
    assert "--condition 'mask=image:channels=1'" in caught.value.remedy


def test_conditions_of_every_kind_reach_the_file(tmp_path: Path) -> None:
    file = inputs(tmp_path / "inputs.onnx")
    said = ("mask=image:channels=1", "sigma=number:range=0..75,scale=1/75", "style=label:labels=ink|wash")
    source = load_source(file, conditions=tuple(map(parse_condition, said)), fixed={"gain": 0.5}, size=16)
    export_source(source, tmp_path / "model.onnx")
    model = Model.from_bytes((tmp_path / "model.onnx").read_bytes(), CPU)
    generator = np.random.default_rng(0)
    image, mask = (generator.integers(0, 256, (1, 16, 16, channels), np.uint8) for channels in (3, 1))

    rows = (mask, np.array([30], np.float32), np.array([1], np.int64))
    found = model.run(image, *rows)

    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    planes, second = (each.transpose(0, 3, 1, 2).astype(np.float32) / 255 for each in (image, mask))
    feeds = {
        "x": planes,
        "mask": second,
        "sigma": rows[1] / np.float32(75),
        "style": rows[2],
        "gain": np.array(0.5, np.float32),
    }
    (plain,) = session.run(None, feeds)
    assert np.abs(found.astype(int) - np.rint(plain.transpose(0, 2, 3, 1) * 255)).max() <= 1


def test_options_of_a_module_do_not_go_with_a_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="weights-key does not go with an ONNX file"):
        load_source(keras(tmp_path / "keras.onnx"), weights_key="ema")


def test_a_file_of_one_size_takes_no_multiple_and_no_size_beyond_the_contract(tmp_path: Path) -> None:
    relu = [onnx.helper.make_node("Relu", ["x"], ["y"])]
    small = save_graph(tmp_path / "a.onnx", relu, [picture("x", 1, 3, 32, 32)], [picture("y", 1, 3, 32, 32)])
    with pytest.raises(UsageError, match=r"of one size, and not multiples of 8"):
        load_source(small, size_multiple=8)
    large = save_graph(tmp_path / "b.onnx", relu, [picture("x", 1, 3, 720, 1280)], [picture("y", 1, 3, 720, 1280)])
    with pytest.raises(ModelError, match="1280x720 pixels alone, expected up to 1024"):
        load_source(large)


def test_a_float16_file_must_equal_its_graph_in_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = FILES["half"](tmp_path / "half.onnx")
    assert any("the float16 file itself differs from it by up to 0.000" in line for line in load_source(file).remarks)
    monkeypatch.setattr(onnx_network, "_FLOAT16_TOLERANCE", 1e-6)
    with pytest.raises(ModelError, match="is float16, and differs from the same graph in float32 by 0.000"):
        load_source(file)


def test_weights_are_not_needed_for_a_mean_and_std(tmp_path: Path) -> None:
    nodes = [onnx.helper.make_node("Conv", ["x", "W"], ["y"], pads=[1, 1, 1, 1])]
    file = save_graph(tmp_path / "a.onnx", nodes, [picture("x")], [picture("y")], [weights("W", 3, 3, 3, 3)])
    source = load_source(file, mean=(0.4, 0.5, 0.6), std=(0.2, 0.2, 0.2), output_range=(0.0, 1.0), size=16)
    export_source(source, tmp_path / "model.onnx")
    model = Model.from_bytes((tmp_path / "model.onnx").read_bytes(), CPU)
    image = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), np.uint8)
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    scaled = ((image / 255 - [0.4, 0.5, 0.6]) / 0.2).transpose(0, 3, 1, 2).astype(np.float32)
    (plain,) = session.run(None, {"x": scaled})
    assert np.abs(model.run(image).astype(int) - np.clip(np.rint(plain * 255), 0, 255).transpose(0, 2, 3, 1)).max() <= 1


def test_a_toml_file_describes_an_onnx_file(tmp_path: Path) -> None:
    inputs(tmp_path / "inputs.onnx")
    (tmp_path / "net.toml").write_text(
        'network = "inputs.onnx"\nsize = 16\nlayout = "NCHW"\n[fixed]\ngain = 0.5\n'
        '[[condition]]\nname = "sigma"\nkind = "number"\nrange = "0..1"\n'
        '[[condition]]\nname = "style"\nkind = "label"\nlabels = ["ink", "wash"]\n'
        '[[condition]]\nname = "cut"\nkind = "image"\nargument = "mask"\n'
    )
    source = load_source(tmp_path / "net.toml")
    assert source.network == "inputs.onnx"
    assert [(each.kind, each.name) for each in source.conditions] == [
        ("image", "cut"), ("number", "sigma"), ("label", "style"),
    ]  # fmt: skip
    assert source.fixed_shape == (16, 16)
