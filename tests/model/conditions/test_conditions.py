import base64
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnx
import pytest
from contracts import color_contract, color_golden, with_color
from onnx import TensorProto, helper, numpy_helper

from polyexport.errors import ColorError, ContractError
from polyexport.imaging.color import parse_color
from polyexport.model.certificate import Parity, StageParity
from polyexport.model.conditions.color_condition import ColorCondition
from polyexport.model.conditions.fields import Embedding
from polyexport.model.contract import Contract
from polyexport.runtime.session import TensorType

PALETTE = (("red", (255, 0, 0)), ("lime", (0, 255, 0)), ("sea", (0, 105, 148)))
ROWS = np.arange(6, dtype=np.float32).reshape(3, 2) / 3
WEIGHTS = np.array([[1, -1], [0.5, 0], [0, 0.25]], dtype=np.float32)  # [3, 2]


def contract(**changes: Any) -> Contract:
    stage = StageParity(
        name="raw", nodes=1, max_abs_diff=0.0, uint8_max_diff=0, uint8_equal=1.0, psnr_db=100.0, values=1
    )
    parity = Parity(reference="a", candidate="b", stages=(stage,), images=1, colors=1, batches=(1,), sizes=((8, 8),))
    promised: dict[str, Any] = {"conditioning": "rgb", "size_multiple": 4, "training_size": 8, "opset": 21}
    promised |= {"network": "a", "checkpoint_sha256": "b", "graph_sha256": "c", "parity": parity}
    return color_contract(**promised | {"golden": color_golden()} | changes)


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def encoder(
    *, rows: int | str = "n", dim: int = 2, kind: int = TensorProto.UINT8, output: str = "color_embedding"
) -> str:
    """color [n, 3] -> color @ WEIGHTS, [n, 2]."""
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["color"], ["c"], to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["c", "w"], [output]),
        ],
        "encoder",
        [helper.make_tensor_value_info("color", kind, [rows, 3])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [rows, dim])],
        [numpy_helper.from_array(np.resize(WEIGHTS, (3, dim)), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return base64_of(model.SerializeToString())


def vectors(embedding: Embedding, **changes: Any) -> Contract:
    return contract(color_input="embedding", embedding=embedding, **changes)


RGB = contract()
VOCABULARY = contract(conditioning="vocabulary", palette=PALETTE)
TABLE = Embedding(dim=2, table=base64_of(ROWS.astype("<f4").tobytes()))
VOCABULARY_TABLE = vectors(TABLE, conditioning="vocabulary", palette=PALETTE)
ENCODER = vectors(Embedding(dim=2, encoder=encoder()))
BARE = vectors(Embedding(dim=2), conditioning="embedding")


def opened(made: Contract) -> ColorCondition:
    (condition,) = made.built_conditions()
    assert isinstance(condition, ColorCondition)
    condition.open()
    return condition


def same(row: np.ndarray, expected: np.ndarray) -> bool:
    return (row.dtype, row.shape) == (expected.dtype, expected.shape) and np.array_equal(row, expected)


def test_rgb_takes_every_color() -> None:
    condition = opened(RGB)
    assert (condition.name, condition.dtype, condition.row_shape) == ("color", np.dtype(np.uint8), (3,))
    for color in ("tomato", "#ff6347", (255, 99, 71), parse_color("tomato")):
        assert same(condition.row(color), np.array([255, 99, 71], np.uint8))
    assert same(condition.encode((1, 2, 3)), np.array([1, 2, 3], np.uint8))


def test_a_vocabulary_takes_its_names_and_values_and_names_the_nearest() -> None:
    condition = opened(VOCABULARY)
    assert (condition.name, condition.dtype, condition.row_shape) == ("color", np.dtype(np.int64), ())
    assert same(condition.row("lime"), np.array(1, np.int64))
    assert same(condition.row("#00ff00"), np.array(1, np.int64))
    assert same(condition.row((0, 105, 148)), np.array(2, np.int64))  # a name of its own, known by its value
    with pytest.raises(ColorError, match="color tomato is not one of this model's 3; the nearest are red, sea, lime"):
        condition.row("tomato")
    with pytest.raises(ColorError, match="the nearest are sea, "):
        condition.row("#006a95")


@pytest.mark.parametrize("conditioning", ["vocabulary", "embedding"])
def test_a_table_gives_its_rows(conditioning: str) -> None:
    condition = opened(vectors(TABLE, conditioning=conditioning, palette=PALETTE))
    assert (condition.name, condition.dtype, condition.row_shape) == ("color_embedding", np.dtype(np.float32), (2,))
    assert same(condition.row("red"), ROWS[0])
    assert same(condition.row((0, 105, 148)), ROWS[2])
    assert same(condition.encode(1), ROWS[1])
    assert condition.fill_color((0, 105, 148)) == (0, 105, 148)
    with pytest.raises(ColorError, match="nearest"):
        condition.row("blue")


def test_an_encoder_makes_vectors_of_every_color() -> None:
    condition = opened(ENCODER)
    assert (condition.name, condition.dtype, condition.row_shape) == ("color_embedding", np.dtype(np.float32), (2,))
    for text, rgb in (("red", (255, 0, 0)), ("#010203", (1, 2, 3))):
        assert same(condition.row(text), np.array(rgb, np.float32) @ WEIGHTS)
        assert same(condition.encode(rgb), np.array(rgb, np.float32) @ WEIGHTS)


def test_vectors_that_the_caller_makes_have_no_colors() -> None:
    condition = opened(BARE)
    assert (condition.name, condition.row_shape) == ("color_embedding", (2,))
    assert condition.fill_color("red") is None
    with pytest.raises(ColorError, match="takes embeddings and knows none of its own.*Model.run"):
        condition.row("red")


def test_an_encoder_that_may_run_without_end_is_not_loaded() -> None:
    model = onnx.load_model_from_string(base64.b64decode(encoder()))
    branch = helper.make_graph([], "branch", [], [])
    model.graph.node.append(helper.make_node("If", ["color"], ["y"], then_branch=branch, else_branch=branch))
    text = base64_of(model.SerializeToString())
    with pytest.raises(ContractError, match=r"a node with a graph of its own \('If'\)"):
        opened(vectors(Embedding(dim=2, encoder=text)))


@pytest.mark.parametrize("made", [VOCABULARY_TABLE, ENCODER], ids=["table", "encoder"])
def test_nobody_changes_a_vector_for_the_next_caller(made: Contract) -> None:
    condition = opened(made)
    before = condition.row("red").copy()
    with pytest.raises(ValueError, match="read-only"):
        condition.row("red")[:] = 7
    assert same(condition.row("red"), before)


@pytest.mark.parametrize("made", [RGB, VOCABULARY, VOCABULARY_TABLE, ENCODER], ids=["rgb", "names", "table", "encoder"])
def test_what_is_no_color_is_refused(made: Contract) -> None:
    condition = opened(made)
    for color in ("no color", (1, 2), (1, 2, 256), b"red", None):
        with pytest.raises(ColorError, match="unknown color"):
            condition.row(color)


@pytest.mark.parametrize(
    ("made", "dtype", "row"),
    [
        (RGB, "tensor(uint8)", (3,)),
        (VOCABULARY, "tensor(int64)", ()),
        (VOCABULARY_TABLE, "tensor(float)", (2,)),
        (ENCODER, "tensor(float)", (2,)),
        (BARE, "tensor(float)", (2,)),
    ],
)
def test_the_type_of_the_input(made: Contract, dtype: str, row: tuple[int, ...]) -> None:
    assert opened(made).tensor_type == TensorType(dtype, (None, *row))
    assert opened(with_color(made, many_colors=True)).tensor_type == TensorType(dtype, (None, None, *row))


@pytest.mark.parametrize(
    "text",
    [
        encoder(dim=3),
        encoder(rows=1),
        encoder(kind=TensorProto.INT64),
        encoder(output="embedding"),
    ],
    ids=["another width", "one color alone", "other levels", "another name"],
)
def test_an_encoder_with_other_inputs_or_outputs_is_refused(text: str) -> None:
    with pytest.raises(ContractError, match="encoder in its contract has other inputs or outputs"):
        opened(vectors(Embedding(dim=2, encoder=text)))


@pytest.mark.parametrize("data", [b"text", base64.b64decode(encoder())[:-9]])
def test_an_encoder_that_is_no_model_is_refused(data: bytes) -> None:
    with pytest.raises(ContractError, match="not a whole ONNX model"):
        opened(vectors(Embedding(dim=2, encoder=base64_of(data))))


def test_several_threads_share_one() -> None:
    condition = opened(ENCODER)
    colors = [(i % 7, i % 5, i % 3) for i in range(200)]
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(condition.encode, colors))
    assert all(same(row, np.array(rgb, np.float32) @ WEIGHTS) for row, rgb in zip(rows, colors, strict=True))


def test_a_name_of_the_models_own_is_read_before_css_names() -> None:
    own = with_color(VOCABULARY, palette=(("house blue", (1, 2, 3)), ("red", (250, 0, 0)), ("lime", (0, 255, 0))))
    condition = opened(own)
    assert condition.parse(" House Blue ").rgb == (1, 2, 3)
    assert condition.parse("red").rgb == (250, 0, 0)
    assert condition.row("house blue") == 0


def test_an_embedding_that_was_changed_is_refused() -> None:
    other = base64_of((ROWS + 1).astype("<f4").tobytes())
    with pytest.raises(ValueError, match="was changed"):
        Embedding(dim=2, table=other, sha256=TABLE.sha256)
    assert Embedding(dim=2, table=TABLE.table, sha256=TABLE.sha256) == TABLE


@pytest.mark.parametrize(
    ("described", "count"),
    [
        (RGB, 6),
        (VOCABULARY, 3),
        (contract(conditioning="vocabulary", palette=tuple((f"c{i}", (i, 0, 0)) for i in range(40))), 6),
        (contract(conditioning="vocabulary", palette=PALETTE[:1]), 1),
        (VOCABULARY_TABLE, 3),
        (ENCODER, 6),
        (BARE, 5),
    ],
    ids=["rgb", "vocabulary", "large vocabulary", "one color", "table", "encoder", "vectors"],
)
def test_golden_samples_get_different_values(described: Contract, count: int) -> None:
    (condition,) = described.built_conditions()
    rows = [condition.encode(value).tobytes() for value in condition.golden_values()]
    assert len(rows) == len(set(rows)) == count
