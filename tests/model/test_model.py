import base64
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from contracts import color_contract, color_golden, with_color
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import polyexport
from polyexport.data.drawing_config import DrawingConfig
from polyexport.data.drawings import draw
from polyexport.errors import ColorError, ContractError, UsageError
from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.psnr import psnr_db
from polyexport.model.certificate import Parity, StageParity
from polyexport.model.conditions.color_condition import COLOR_INPUT, EMBEDDING_INPUT
from polyexport.model.conditions.fields import Embedding
from polyexport.model.contract import COLORED, IMAGE_INPUT, METADATA_KEY, Contract
from polyexport.model.loading.load import load_model
from polyexport.model.model import Model
from polyexport.runtime.onnx_bytes import graph_sha256
from polyexport.runtime.open import open_session
from polyexport.runtime.session import Session, SessionOptions

CPU = SessionOptions(provider="cpu")
CLEAN = DrawingConfig(antialiased=0, gapped=0, noisy=0, tinted=0)


def test_the_shipped_model_fills_drawings_it_never_saw(shipped: Model) -> None:
    """Golden quality: the drawings and the model are fixed, and so is the score, but for rounding."""
    drawings = [draw(np.random.default_rng([99, i]), 128, CLEAN) for i in range(12)]
    scores = [psnr_db(shipped.colorize([one.image], [one.color])[0][0], one.colored) for one in drawings]
    assert np.median(scores) > 40
    assert min(scores) > 20


def test_images_times_colors(shipped: Model, tmp_path: Path) -> None:
    small, large = draw(np.random.default_rng(0), 64).image, draw(np.random.default_rng(1), 200).image
    Image.fromarray(large[:, :150]).save(tmp_path / "large.png")
    results = shipped.colorize([small, tmp_path / "large.png", Image.fromarray(small)], ["red", "#00f", (1, 2, 3)])

    assert [[colored.shape for colored in row] for row in results] == [
        [(64, 64, 3)] * 3,
        [(200, 150, 3)] * 3,
        [(64, 64, 3)] * 3,
    ]
    assert np.array_equal(results[0][1], results[2][1])
    assert not np.array_equal(results[0][0], results[0][1])


def test_the_public_way_in() -> None:
    model = polyexport.load_model(provider="cpu")
    [[red]] = model.colorize([np.full((20, 30, 3), 255, np.uint8)], ["red"])
    assert red.shape == (20, 30, 3)


def test_a_batch_is_its_images_one_by_one(tiny_model: Model) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (5, 12, 20, 3), dtype=np.uint8)
    color = rng.integers(0, 256, (5, 3), dtype=np.uint8)
    single = np.concatenate([tiny_model.run(image[i : i + 1], color[i : i + 1]) for i in range(5)])
    assert np.array_equal(tiny_model.run(image, color), single)


@pytest.mark.parametrize(
    ("image", "color", "said"),
    [
        (np.zeros((1, 8, 8, 3), np.float32), np.zeros((1, 3), np.uint8), "float32"),
        (np.zeros((8, 8, 3), np.uint8), np.zeros((1, 3), np.uint8), "give uint8"),
        (np.zeros((1, 8, 8, 4), np.uint8), np.zeros((1, 3), np.uint8), "give uint8"),
        (np.zeros((0, 8, 8, 3), np.uint8), np.zeros((0, 3), np.uint8), "give uint8"),
        (np.zeros((1, 8, 9, 3), np.uint8), np.zeros((1, 3), np.uint8), "cannot take 9x8.*multiples of 4"),
        (np.zeros((2, 8, 8, 3), np.uint8), np.zeros((1, 3), np.uint8), "color is uint8"),
        (np.zeros((1, 8, 8, 3), np.uint8), np.zeros((1, 3), np.int64), "color is int64"),
    ],
)
def test_inputs_that_break_the_contract_are_refused(
    tiny_model: Model, image: np.ndarray, color: np.ndarray, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        tiny_model.run(image, color)


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_arrays_that_are_no_image_are_refused(tiny_model: Model, image: np.ndarray) -> None:
    with pytest.raises(UsageError, match="H, W, 3"):
        tiny_model.colorize([image], ["red"])


def test_a_model_without_the_contract_is_refused(
    relu_model: onnx.ModelProto, with_metadata: Callable[[str | None], bytes], tiny_model: Model
) -> None:
    with pytest.raises(ContractError, match=METADATA_KEY):
        Model.from_bytes(with_metadata(None), CPU)
    with pytest.raises(ContractError, match="version"):
        Model.from_bytes(with_metadata("{}"), CPU)
    foreign = replace(tiny_model.contract, graph_sha256=graph_sha256(relu_model.SerializeToString()))
    helper.set_model_props(relu_model, {METADATA_KEY: foreign.to_json()})
    with pytest.raises(ContractError, match="inputs are x"):
        Model.from_bytes(relu_model.SerializeToString(), CPU)


def test_a_contract_that_lies_about_the_graph_is_refused(
    with_metadata: Callable[[str | None], bytes], tiny_model: Model
) -> None:
    lie = with_color(tiny_model.contract, conditioning="vocabulary", palette=(("red", (255, 0, 0)),))
    with pytest.raises(ContractError, match="color"):
        Model.from_bytes(with_metadata(lie.to_json()), CPU)


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.999])
def test_a_truncated_file_is_refused_by_name(tiny_model_path: Path, tmp_path: Path, kept: float) -> None:
    data = tiny_model_path.read_bytes()
    (tmp_path / "cut.onnx").write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(ContractError, match="cut.onnx"):
        load_model(tmp_path / "cut.onnx", provider="cpu")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="cannot be read"):
        load_model(tmp_path / "missing.onnx")


def test_a_vocabulary_takes_its_names_and_values_and_names_the_nearest(vocabulary_model: Model) -> None:
    assert vocabulary_model.color_condition.row("lime") == 1
    assert vocabulary_model.color_condition.row("#0000ff") == 2
    with pytest.raises(ColorError, match="nearest are red"):
        vocabulary_model.color_condition.row("tomato")
    assert vocabulary_model.colorize([np.zeros((8, 8, 3), np.uint8)], ["blue"])[0][0].shape == (8, 8, 3)


def changed(path: Path, change: Callable[[onnx.ModelProto], None], *, stamped: bool = False) -> bytes:
    """A model file after a change of its graph; ``stamped`` with the new graph's hash, as nobody does by accident."""
    model = onnx.load(path)
    contract = Contract.from_json(model.metadata_props[0].value)
    change(model)
    if stamped:
        contract = replace(contract, graph_sha256=graph_sha256(model.SerializeToString()))
        helper.set_model_props(model, {METADATA_KEY: contract.to_json()})
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("value", [0.0, float("nan"), 3.0])
def test_a_model_with_other_weights_is_refused(tiny_model_path: Path, value: float) -> None:
    def tamper(model: onnx.ModelProto) -> None:
        for weight in (each for each in model.graph.initializer if len(each.dims) == 4):
            weight.CopyFrom(numpy_helper.from_array(np.full(list(weight.dims), value, np.float32), weight.name))

    with pytest.raises(ContractError, match="graph was changed"):
        Model.from_bytes(changed(tiny_model_path, tamper), CPU)
    with pytest.raises(ContractError, match="golden sample (comes out|cannot be repeated)"):
        Model.from_bytes(changed(tiny_model_path, tamper, stamped=True), CPU)


def test_one_bit_of_one_weight_is_enough_to_refuse(tiny_model_path: Path, tmp_path: Path) -> None:
    """Too little for the golden sample to show."""

    def tamper(model: onnx.ModelProto) -> None:
        weight = max(model.graph.initializer, key=lambda each: len(each.raw_data))
        weight.raw_data = bytes([weight.raw_data[0] ^ 1]) + weight.raw_data[1:]

    (tmp_path / "bit.onnx").write_bytes(changed(tiny_model_path, tamper))
    with pytest.raises(
        ContractError, match=r"bit.onnx is refused: its graph was changed: .*; fetch or export it again"
    ):
        load_model(tmp_path / "bit.onnx", provider="cpu")
    Model.from_bytes(changed(tiny_model_path, tamper, stamped=True), CPU)


def test_a_model_of_another_shape_is_refused(tiny_model_path: Path) -> None:
    def one_image(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1

    with pytest.raises(ContractError, match=r"inputs are .*\[1, \?, \?, 3\]"):
        Model.from_bytes(changed(tiny_model_path, one_image, stamped=True), CPU)


def test_a_golden_sample_that_is_none_is_refused(
    tiny_model: Model, with_metadata: Callable[[str | None], bytes]
) -> None:
    for png in ("", "!", base64.b64encode(b"text").decode()):
        lie = replace(tiny_model.contract, golden=replace(tiny_model.contract.golden, image_png=png))
        with pytest.raises(ContractError, match="golden sample cannot be repeated"):
            Model.from_bytes(with_metadata(lie.to_json()), CPU)


def test_pillow_images_are_read_as_their_files_are(tiny_model: Model, tmp_path: Path) -> None:
    rgba = np.random.default_rng(0).integers(0, 256, (16, 16, 4), dtype=np.uint8)
    deep = np.random.default_rng(0).integers(0, 65536, (16, 16)).astype(np.uint16)
    for pixels in (rgba, deep):
        Image.fromarray(pixels).save(tmp_path / "file.png")
        from_file, from_memory = tiny_model.colorize([tmp_path / "file.png", Image.fromarray(pixels)], ["red"])
        assert np.array_equal(from_file[0], from_memory[0])


def test_results_belong_to_the_caller(tiny_model: Model) -> None:
    for extent in (8, 32, 100):
        [[colored]] = tiny_model.colorize([np.zeros((extent, extent, 3), np.uint8)], ["red"])
        colored[:] = 0


def test_an_unknown_size_is_refused(tiny_model: Model) -> None:
    with pytest.raises(UsageError, match="unknown size"):
        tiny_model.contract.canvas_rule("fitt")  # type: ignore[arg-type]


def test_a_pipe_or_a_device_is_no_model(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(ContractError, match="cannot be read"):
            load_model(path)


PALETTE = (("red", (255, 0, 0)), ("lime", (0, 255, 0)), ("sea", (0, 105, 148)))
TABLE = np.array([rgb for _, rgb in PALETTE], np.float32) / 255
SIDE = 8


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def encoder() -> str:
    """color / 255."""
    graph = helper.make_graph(
        [
            helper.make_node("Cast", [COLOR_INPUT], ["levels"], to=TensorProto.FLOAT),
            helper.make_node("Div", ["levels", "white"], [EMBEDDING_INPUT]),
        ],
        "encoder",
        [helper.make_tensor_value_info(COLOR_INPUT, TensorProto.UINT8, ["batch", 3])],
        [helper.make_tensor_value_info(EMBEDDING_INPUT, TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(np.array(255, np.float32), "white")],
    )
    opset = [helper.make_opsetid("", 21)]
    return base64_of(helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString())


KINDS: Mapping[str, dict[str, Any]] = {
    "rgb": {"conditioning": "rgb"},
    "encoder": {"conditioning": "rgb", "color_input": "embedding", "embedding": Embedding(dim=3, encoder=encoder())},
    "vocabulary": {"conditioning": "vocabulary", "palette": PALETTE},
    "table": {
        "conditioning": "embedding",
        "palette": PALETTE,
        "color_input": "embedding",
        "embedding": Embedding(dim=3, table=base64_of(TABLE.astype("<f4").tobytes())),
    },
    "vectors": {"conditioning": "embedding", "color_input": "embedding", "embedding": Embedding(dim=3)},
}


def handmade_bytes(kind: str = "rgb", *, many_colors: bool = False, fixed: bool = False, **changes: Any) -> bytes:
    """image * color / 255, in a model file that takes the color as ``kind`` says."""
    promised = KINDS[kind]
    embedded, named = "embedding" in promised, promised["conditioning"] == "vocabulary"
    colors = ["colors"] if many_colors else []
    name = EMBEDDING_INPUT if embedded else COLOR_INPUT
    dtype = TensorProto.FLOAT if embedded else TensorProto.INT64 if named else TensorProto.UINT8
    if embedded:
        shares = [helper.make_node("Identity", [name], ["shares"])]
    elif named:
        shares = [helper.make_node("Gather", ["table", name], ["shares"])]
    else:
        shares = [
            helper.make_node("Cast", [name], ["levels"], to=TensorProto.FLOAT),
            helper.make_node("Div", ["levels", "white"], ["shares"]),
        ]
    nodes = [
        *shares,
        helper.make_node("Unsqueeze", ["shares", "rows"], ["everywhere"]),
        helper.make_node("Cast", [IMAGE_INPUT], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["pixels", "one"], ["repeated"]),
        helper.make_node("Mul", ["repeated" if many_colors else "pixels", "everywhere"], ["product"]),
        helper.make_node("Cast", ["product"], [COLORED], to=TensorProto.UINT8),
    ]
    stored: dict[str, np.ndarray] = {
        "table": TABLE,
        "white": np.array(255, np.float32),
        "rows": np.array([2, 3] if many_colors else [1, 2], np.int64),
        "one": np.array([1], np.int64),
    }
    image = ["batch", *([SIDE, SIDE] if fixed else ["height", "width"]), 3]
    graph = helper.make_graph(
        nodes,
        "handmade",
        [
            helper.make_tensor_value_info(IMAGE_INPUT, TensorProto.UINT8, image),
            helper.make_tensor_value_info(name, dtype, ["batch", *colors, *([] if named else [3])]),
        ],
        [helper.make_tensor_value_info(COLORED, TensorProto.UINT8, ["batch", *colors, *image[1:]])],
        [numpy_helper.from_array(array, key) for key, array in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    data = model.SerializeToString()

    pixels = np.random.default_rng(0).integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8)
    row = TABLE[1] if embedded else np.int64(1) if named else np.array([0, 255, 0], np.uint8)
    feeds = {IMAGE_INPUT: pixels, name: np.stack([row])[None] if many_colors else np.stack([row])}
    colored = open_session(data, CPU).run(COLORED, feeds)
    pngs = [base64_of(encode_png(each.reshape(SIDE, SIDE, 3))) for each in (pixels, colored)]
    golden = (0, 255, 0) if promised["conditioning"] == "rgb" else 1
    stage = StageParity(
        name="raw", nodes=6, max_abs_diff=0.0, uint8_max_diff=0, uint8_equal=1.0, psnr_db=100.0, values=1
    )
    contract = color_contract(
        **{
            **promised,
            "many_colors": many_colors,
            "fixed_size": fixed,
            "size_multiple": 4,
            "training_size": SIDE,
            "opset": 21,
            "network": "handmade",
            "checkpoint_sha256": "0" * 64,
            "graph_sha256": graph_sha256(data),
            "parity": Parity(
                reference="a", candidate="b", stages=(stage,), images=1, colors=1, batches=(1,), sizes=((SIDE, SIDE),)
            ),
            "golden": color_golden(
                image_png=pngs[0],
                color=base64_of(TABLE[1].astype("<f4").tobytes()) if kind == "vectors" else golden,
                colored_png=pngs[1],
            ),
            **changes,
        }
    )
    helper.set_model_props(model, {METADATA_KEY: contract.to_json()})
    return bytes(model.SerializeToString())


def handmade(kind: str = "rgb", **options: Any) -> Model:
    return Model.from_bytes(handmade_bytes(kind, **options), CPU)


IMAGES = [np.random.default_rng(i).integers(0, 256, (5 + i, 9, 3), dtype=np.uint8) for i in range(3)]


@pytest.mark.parametrize("many_colors", [False, True])
@pytest.mark.parametrize("kind", ["rgb", "encoder", "vocabulary", "table"])
def test_a_color_means_the_same_to_every_kind_of_model(kind: str, many_colors: bool) -> None:
    expected = handmade().colorize(IMAGES, ["red", "#006994", "lime"])
    found = handmade(kind, many_colors=many_colors).colorize(IMAGES, ["red", "#006994", "lime"])
    for rows in zip(expected, found, strict=True):
        for one, other in zip(*rows, strict=True):
            assert np.array_equal(one, other)


def test_a_model_that_takes_vectors_alone_runs_on_vectors_alone() -> None:
    model = handmade("vectors")
    image = np.full((2, 8, 4, 3), 200, np.uint8)
    colored = model.run(image, np.array([[1, 0.5, 0], [0, 0, 1]], np.float32))
    assert colored[0, 0, 0].tolist() == [200, 100, 0]
    assert colored[1, 0, 0].tolist() == [0, 0, 200]
    with pytest.raises(ColorError, match="takes embeddings"):
        model.colorize(IMAGES, ["red"])
    with pytest.raises(UsageError, match=r"color_embedding is float32 \[2, 4\]; give float32 \[2, 3\]"):
        model.run(image, np.zeros((2, 4), np.float32))
    with pytest.raises(UsageError, match="color_embedding is float64"):
        model.run(image, np.zeros((2, 3)))


@pytest.mark.parametrize("kind", ["rgb", "encoder", "vocabulary", "table"])
def test_many_colors_in_one_run_are_as_many_runs(kind: str) -> None:
    many, single = handmade(kind, many_colors=True), handmade(kind)
    image = np.stack([np.roll(IMAGES[2][:4, :8], i, axis=1) for i in range(2)])
    rows = [
        [single.color_condition.row(name) for name in names]
        for names in (("red", "lime", "#006994"), ("lime", "lime", "red"))
    ]
    color: np.ndarray = np.array(rows)
    found = many.run(image, color)

    assert found.shape == (2, 3, 4, 8, 3)
    for i in range(2):
        for k in range(3):
            assert np.array_equal(found[i, k], single.run(image[i : i + 1], color[i : i + 1, k])[0])


@pytest.mark.parametrize(
    ("color", "said"),
    [
        (np.zeros((1, 3), np.uint8), r"color is uint8 \[1, 3\]; give uint8 \[1, colors, 3\]"),
        (np.zeros((1, 0, 3), np.uint8), r"color is uint8 \[1, 0, 3\]"),
        (np.zeros((2, 1, 3), np.uint8), r"color is uint8 \[2, 1, 3\]"),
        (np.zeros((1, 1, 3), np.int64), r"color is int64 \[1, 1, 3\]"),
        (np.zeros(3, np.uint8), r"color is uint8 \[3\]"),
    ],
)
def test_colors_without_an_axis_of_their_own_are_refused(color: np.ndarray, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        handmade(many_colors=True).run(np.zeros((1, 8, 8, 3), np.uint8), color)


A, B, C = (np.random.default_rng(i).integers(0, 256, (4, 8, 3), dtype=np.uint8) for i in range(3))


@pytest.mark.parametrize(
    ("canvases", "runs"),
    [
        ([A, A, A], [(1, 3)]),
        ([A, A, B, B], [(2, 2)]),
        ([A, B, C], [(3, 1)]),
        ([A, A, B, C, C], [(1, 2), (1, 1), (1, 2)]),
        ([A, B, A, A], [(2, 1), (1, 2)]),
        ([A, A.copy()], [(2, 1)]),
    ],
)
def test_an_image_in_several_colors_is_run_once(
    canvases: list[np.ndarray], runs: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    single, many = handmade("vocabulary"), handmade("vocabulary", many_colors=True)
    rows = [(np.array(i % 3, np.int64),) for i in range(len(canvases))]
    expected = single.run_rows(canvases, rows)
    seen = []

    real = type(many.session).run_all

    def run_all(session: Session, outputs: Sequence[str], feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        seen.append(feeds[COLOR_INPUT].shape)
        return real(session, outputs, feeds)

    monkeypatch.setattr(type(many.session), "run_all", run_all)
    found = many.run_rows(canvases, rows)
    assert seen == runs
    assert all(np.array_equal(*pair) for pair in zip(expected, found, strict=True))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=12))
def test_any_order_of_images_and_colors_comes_back_in_that_order(pairs: list[tuple[int, int]]) -> None:
    canvases = [(A, B, C)[image] for image, _ in pairs]
    rows = [(np.array(color, np.int64),) for _, color in pairs]
    expected = SINGLE.run_rows(canvases, rows)
    found = MANY.run_rows(canvases, rows)
    assert all(np.array_equal(*pair) for pair in zip(expected, found, strict=True))


SINGLE, MANY = handmade("vocabulary"), handmade("vocabulary", many_colors=True)


def test_a_model_of_one_size_takes_images_of_every_size_and_canvases_of_its_own() -> None:
    model, free = handmade(fixed=True), handmade()
    for shape in ((8, 8), (3, 5), (20, 30), (1, 100)):
        image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
        [[found]], [[expected]] = model.colorize([image], ["red"]), free.colorize([image], ["red"], size="fit")
        assert found.shape == image.shape
        assert np.array_equal(found, expected)
    assert model.contract.canvas_rule(SIDE) == model.contract.canvas_rule("fit")
    for size in ("native", 4, 16):
        with pytest.raises(UsageError, match="takes only 8x8 pixels; give --size fit"):
            model.contract.canvas_rule(size)
    with pytest.raises(UsageError, match="cannot take 8x4 pixels; give 8x8, the only size"):
        model.run(np.zeros((1, 4, 8, 3), np.uint8), np.zeros((1, 3), np.uint8))


@pytest.mark.parametrize("many_colors", [False, True])
def test_a_size_that_is_fixed_in_the_graph_or_the_contract_alone_is_refused(many_colors: bool) -> None:
    for fixed, said in ((True, r"not color: .*\[\?, \?, \?, 3\]"), (False, r"not color: .*\[\?, 8, 8, 3\]")):
        with pytest.raises(ContractError, match=said):
            handmade(many_colors=many_colors, fixed=fixed, fixed_size=not fixed)


def promising(data: bytes, **changes: Any) -> bytes:
    """The same graph under another contract."""
    model = onnx.load_model_from_string(data)
    contract = with_color(Contract.from_json(model.metadata_props[0].value), **changes)
    helper.set_model_props(model, {METADATA_KEY: contract.to_json()})
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        ("rgb", {"many_colors": True}, r"inputs are .*not color: tensor\(uint8\) \[\?, \?, 3\]"),
        ("rgb", KINDS["vectors"], "not color_embedding: "),
        ("rgb", KINDS["vocabulary"], r"not color: tensor\(int64\) \[\?\]"),
        ("vectors", KINDS["rgb"] | {"color_input": "color", "embedding": None}, "not color: "),
        ("vectors", {"embedding": Embedding(dim=4)}, r"not color_embedding: tensor\(float\) \[\?, 4\]"),
    ],
)
def test_a_contract_that_lies_about_the_second_input_is_refused(kind: str, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ContractError, match=said):
        Model.from_bytes(promising(handmade_bytes(kind), **changes), CPU)


@pytest.mark.parametrize(
    ("kind", "color"),
    [
        ("rgb", 1),
        ("rgb", "AAAA"),
        ("vocabulary", (0, 255, 0)),
        ("vocabulary", 3),
        ("vocabulary", 2**70),
        ("table", 3),
        ("table", (0, 1, 2)),
        ("vectors", 0),
        ("vectors", "no base64"),
        ("vectors", base64_of(bytes(8))),
        ("encoder", 0),
    ],
)
def test_a_golden_sample_in_no_color_of_the_model_is_refused(
    kind: str, color: int | tuple[int, int, int] | str
) -> None:
    data = handmade_bytes(kind)
    golden = Model.from_bytes(data, CPU).contract.golden
    with pytest.raises(ContractError, match="golden sample cannot be repeated"):
        Model.from_bytes(promising(data, golden=replace(golden, values=(color,))), CPU)


def test_a_golden_sample_of_another_size_is_refused() -> None:
    """Numpy would compare one pixel with all of them."""
    one = base64_of(encode_png(np.zeros((1, 1, 3), np.uint8)))
    black = base64_of(encode_png(np.zeros((SIDE, SIDE, 3), np.uint8)))
    with pytest.raises(ContractError, match=r"golden sample .*: it is \[8, 8, 3\], and \[1, 1, 3\] in the contract"):
        handmade(golden=color_golden(image_png=black, color=(0, 255, 0), colored_png=one))


FILE = handmade_bytes()


@given(st.integers(0, len(FILE) - 1), st.integers(1, 255))
def test_any_changed_byte_is_refused_or_changes_no_pixel(place: int, mask: int) -> None:
    """What is left to change unseen is the text of the metadata."""
    damaged = bytearray(FILE)
    damaged[place] ^= mask
    try:
        model = Model.from_bytes(bytes(damaged), CPU)
    except ContractError:
        return
    assert place >= FILE.index(METADATA_KEY.encode())
    feeds = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(1, 8, 8, 3), np.array([[10, 100, 200]], np.uint8)
    assert np.array_equal(model.run(*feeds), handmade().run(*feeds))


def test_text_that_is_not_utf_8_is_refused() -> None:
    """Protobuf does not mind it, and ONNX Runtime hands it on."""
    old = b"polyexport.contract"
    data = FILE.replace(old, b"\xff" + old[1:])
    for name, said in (("", "the model"), ("some.onnx", "model some.onnx")):
        with pytest.raises(ContractError, match=f"{said} is refused: it holds text that is not UTF-8"):
            Model.from_bytes(data, CPU, name=name)
    renamed = FILE[: FILE.index(old)].replace(b"image", b"imag\xff") + FILE[FILE.index(old) :]
    stamp = graph_sha256(renamed).encode()
    with pytest.raises(ContractError, match="not UTF-8"):
        Model.from_bytes(renamed.replace(graph_sha256(FILE).encode(), stamp), CPU)


@given(st.binary(max_size=300), st.integers(0, len(FILE)))
def test_any_bytes_are_a_model_or_refused(data: bytes, kept: int) -> None:
    for damaged in (data, FILE[:kept] + data):
        try:
            Model.from_bytes(damaged, CPU)
        except ContractError:
            continue
        assert damaged.startswith(FILE)
