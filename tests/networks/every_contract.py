"""Tiny models of every kind of contract, built by hand: no training, no torch. A plugin of pytest."""

import base64
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from contracts import color_contract, color_golden, with_color
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from polyexport.data.drawings import draw
from polyexport.imaging.codecs.png import encode_png
from polyexport.model.certificate import Fidelity, Parity, Quality, StageParity
from polyexport.model.conditions.fields import ColorFields, Embedding
from polyexport.model.contract import METADATA_KEY, Contract
from polyexport.runtime.onnx_bytes import graph_sha256

PALETTE = (("red", (255, 0, 0)), ("lime", (0, 255, 0)), ("house blue", (10, 20, 200)))
DIM = 4
SIZE = 32
_RNG = np.random.default_rng(5)
TABLE = _RNG.random((len(PALETTE), DIM), dtype=np.float32)
MIX = _RNG.random((DIM, 3), dtype=np.float32) * 100

KINDS: dict[str, dict[str, Any]] = {
    "rgb": {"conditioning": "rgb"},
    "rgb fixed": {"conditioning": "rgb", "fixed_size": True},
    "rgb many": {"conditioning": "rgb", "many_colors": True},
    "vocabulary": {"conditioning": "vocabulary", "palette": PALETTE},
    "vocabulary many": {"conditioning": "vocabulary", "palette": PALETTE, "many_colors": True},
    "table": {"conditioning": "vocabulary", "palette": PALETTE, "color_input": "embedding"},
    "encoder": {"conditioning": "rgb", "color_input": "embedding"},
    "encoder many": {"conditioning": "rgb", "color_input": "embedding", "many_colors": True},
    "vectors": {"conditioning": "embedding", "color_input": "embedding"},
}


def encoder() -> bytes:
    """uint8 [batch, 3] -> float32 [batch, DIM]."""
    weights = numpy_helper.from_array(np.linspace(0, 0.01, 3 * DIM, dtype=np.float32).reshape(3, DIM), "weights")
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["color"], ["value"], to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["value", "weights"], ["color_embedding"]),
        ],
        "encoder",
        [helper.make_tensor_value_info("color", TensorProto.UINT8, ["batch", 3])],
        [helper.make_tensor_value_info("color_embedding", TensorProto.FLOAT, ["batch", DIM])],
        [weights],
    )
    return bytes(_model(graph).SerializeToString())


def _model(graph: onnx.GraphProto) -> onnx.ModelProto:
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _graph(contract: Contract) -> onnx.GraphProto:
    """The mean of the image and a color: every pixel depends on both, and on where it is."""
    many = ["colors"] if contract.many_colors else []
    sides = [SIZE, SIZE] if contract.fixed_size else ["height", "width"]
    constants = {"half": np.float32(0.5), "axes": np.array([2, 3] if many else [1, 2])}
    fields = _color(contract)
    if fields.embedding is not None:
        second = helper.make_tensor_value_info("color_embedding", TensorProto.FLOAT, ["batch", *many, DIM])
        nodes = [helper.make_node("MatMul", ["color_embedding", "mix"], ["rgb"])]
        constants["mix"] = MIX
    elif fields.conditioning == "rgb":
        second = helper.make_tensor_value_info("color", TensorProto.UINT8, ["batch", *many, 3])
        nodes = [helper.make_node("Cast", ["color"], ["rgb"], to=TensorProto.FLOAT)]
    else:
        second = helper.make_tensor_value_info("color", TensorProto.INT64, ["batch", *many])
        nodes = [helper.make_node("Gather", ["palette", "color"], ["rgb"])]
        constants["palette"] = np.array([rgb for _, rgb in fields.palette], np.float32)
    pixels = "image"
    if many:
        constants["one"] = np.array([1])
        nodes.append(helper.make_node("Unsqueeze", ["image", "one"], ["images"]))
        pixels = "images"
    nodes += [
        helper.make_node("Unsqueeze", ["rgb", "axes"], ["ink"]),
        helper.make_node("Cast", [pixels], ["paper"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["ink", "paper"], ["sum"]),
        helper.make_node("Mul", ["sum", "half"], ["mean"]),
        helper.make_node("Cast", ["mean"], ["colored"], to=TensorProto.UINT8),
    ]
    return helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", *sides, 3]), second],
        [helper.make_tensor_value_info("colored", TensorProto.UINT8, ["batch", *many, *sides, 3])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )


def _color(contract: Contract) -> ColorFields:
    assert contract.color is not None
    return contract.color


def contract_of(kind: str) -> Contract:
    """Of a kind, without the hash of its graph and without a true golden sample."""
    embedding = None
    if "color_input" in KINDS[kind]:
        table = base64.b64encode(TABLE.astype("<f4").tobytes()).decode() if kind == "table" else ""
        made = base64.b64encode(encoder()).decode() if kind.startswith("encoder") else ""
        embedding = Embedding(dim=DIM, table=table, encoder=made)
    stage = StageParity(
        name="raw", nodes=7, max_abs_diff=1e-6, uint8_max_diff=1, uint8_equal=0.9999999, psnr_db=99.5, values=1000
    )
    return color_contract(
        **KINDS[kind],
        embedding=embedding,
        size_multiple=4,
        training_size=SIZE,
        opset=17,
        versions={"polyexport": "0", "torch": "2|<b>"},
        network="trainer",
        checkpoint_sha256="a" * 64,
        graph_sha256="",
        parity=Parity(
            reference="PyTorch",
            candidate="ONNX Runtime",
            stages=(stage, replace(stage, name="simplified", uint8_equal=1.0)),
            images=2,
            colors=3,
            batches=(1, 2),
            sizes=((32, 32), (32, 64)),
        ),
        fidelity=(
            Fidelity(
                data="clean",
                images=4,
                psnr_to_fp32_mean_db=50.0,
                psnr_to_fp32_min_db=40.0,
                fp32_psnr_mean_db=60.0,
                psnr_mean_db=49.0,
                fp32_within_8=0.99,
                within_8=0.98,
            ),
        ),
        quality=Quality(data="a|b", images=9, psnr_mean_db=44.0, psnr_min_db=33.0),
        golden=color_golden(),
    )


def _build(kind: str, **changes: Any) -> bytes:
    """A whole model file. ``changes`` go into the contract last, true or not."""
    contract = contract_of(kind)
    model = _model(_graph(contract))
    image = draw(np.random.default_rng(1), SIZE).image
    fields = _color(contract)
    color: int | tuple[int, int, int] | str = (255, 136, 0) if fields.conditioning == "rgb" else 1
    row: NDArray[Any]
    if fields.embedding is None:
        row = np.array(color, np.uint8 if fields.conditioning == "rgb" else np.int64)
    elif fields.embedding.encoder:
        row = ort.InferenceSession(encoder()).run(None, {"color": np.array([color], np.uint8)})[0][0]
    elif fields.embedding.table:
        row = TABLE[1]
    else:
        row = np.linspace(0, 1, DIM, dtype=np.float32)
        color = base64.b64encode(row.astype("<f4").tobytes()).decode()
    name = "color_embedding" if fields.embedding else "color"
    feeds = {"image": image[None], name: row[None, None] if contract.many_colors else row[None]}
    colored = ort.InferenceSession(model.SerializeToString()).run(None, feeds)[0].reshape(SIZE, SIZE, 3)
    golden = color_golden(
        image_png=base64.b64encode(encode_png(image)).decode(),
        color=color,
        colored_png=base64.b64encode(encode_png(colored)).decode(),
    )
    contract = replace(contract, golden=golden, graph_sha256=graph_sha256(model.SerializeToString()))
    contract = with_color(contract, **changes)
    helper.set_model_props(model, {METADATA_KEY: contract.to_json()})
    return bytes(model.SerializeToString())


@pytest.fixture(scope="session")
def model_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A model file of a kind, built once."""
    folder = tmp_path_factory.mktemp("models")

    def path_of(kind: str) -> Path:
        path = folder / f"{kind}.onnx"
        if not path.exists():
            path.write_bytes(_build(kind))
        return path

    return path_of


@pytest.fixture(scope="session")
def build_model() -> Callable[..., bytes]:
    """The bytes of a model of a kind, with changes to its contract."""
    return _build
