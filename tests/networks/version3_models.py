"""Tiny models of contracts of version 3, built by hand: no training, no torch. A plugin of pytest."""

import base64
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from polyexport.imaging.codecs.png import encode_png
from polyexport.model.certificate import Parity, StageParity
from polyexport.model.conditions.fields import (
    ColorFields,
    ConditionFields,
    ImageFields,
    LabelFields,
    NumberFields,
    VectorFields,
)
from polyexport.model.contract import IMAGE_INPUT, METADATA_KEY, RESULT, Contract
from polyexport.model.golden import GoldenSample
from polyexport.model.locality import Locality
from polyexport.model.result import PICTURE, ResultFields
from polyexport.runtime.onnx_bytes import graph_sha256

__all__ = ["LOCAL_KINDS", "VERSION3_KINDS", "version3_bytes"]

SIGMA = NumberFields(name="sigma", minimum=0.0, maximum=75.0, default=25.0, unit="levels")
STYLE = LabelFields(name="style", labels=("sketch", "ukiyo-e", "van gogh"))
STRENGTH = NumberFields(name="strength", minimum=0.0, maximum=1.0)
CODE = VectorFields(name="code", dim=3)
MASK = ImageFields(name="mask", channels=1)
_TYPES = {"uint8": TensorProto.UINT8, "int64": TensorProto.INT64, "float32": TensorProto.FLOAT}
_GRAYS = np.array([0.0, 128.0, 255.0], np.float32)
"""Gray that each label of ``STYLE`` mixes in."""


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """A graph between ``pixels``, the image as float32, and ``made``, float32, and its contract."""

    nodes: Sequence[onnx.NodeProto]
    constants: dict[str, Any] = field(default_factory=dict)
    conditions: tuple[ConditionFields, ...] = ()
    result: ResultFields = PICTURE
    image_channels: int = 3
    entries: dict[str, Any] = field(default_factory=dict)


def _node(operator: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


_INVERT = [_node("Sub", "white pixels", "made")]
_WHITE = {"white": np.float32(255.0)}
_MEAN = [_node("ReduceMean", "pixels", "made", axes=[3], keepdims=1)]


def _rows(name: str, shaped: str) -> list[onnx.NodeProto]:
    """Give one number for each image the shape [batch, 1, 1, 1]."""
    return [_node("Unsqueeze", f"{name} numbers", shaped)]


_AXES = {"numbers": np.array([1, 2, 3]), "axes": np.array([1, 2])}
_ADD = [*_rows("sigma", "shaped"), _node("Add", "pixels shaped", "made")]

_KINDS: dict[str, _Kind] = {
    "plain": _Kind(nodes=_INVERT, constants=_WHITE),
    "number": _Kind(nodes=_ADD, constants=_AXES, conditions=(SIGMA,)),
    "label number": _Kind(
        nodes=[
            _node("Gather", "grays style", "gray"),
            *_rows("gray", "gray4"),
            *_rows("strength", "strength4"),
            _node("Sub", "gray4 pixels", "away"),
            _node("Mul", "away strength4", "step"),
            _node("Add", "pixels step", "made"),
        ],
        constants=_AXES | {"grays": _GRAYS},
        conditions=(STYLE, STRENGTH),
    ),
    "vector": _Kind(
        nodes=[
            _node("Unsqueeze", "code axes", "shaped"),
            _node("Mul", "shaped ten", "step"),
            _node("Add", "pixels step", "made"),
        ],
        constants=_AXES | {"ten": np.float32(10.0)},
        conditions=(CODE,),
    ),
    "color": _Kind(
        nodes=[
            _node("Cast", "color", "rgb", to=TensorProto.FLOAT),
            _node("Unsqueeze", "rgb axes", "shaped"),
            _node("Add", "pixels shaped", "sum"),
            *_rows("sigma", "more"),
            _node("Add", "sum more", "total"),
            _node("Mul", "total half", "made"),
        ],
        constants=_AXES | {"half": np.float32(0.5)},
        conditions=(ColorFields(conditioning="rgb"), SIGMA),
    ),
    "mask in": _Kind(
        nodes=[_node("Cast", "mask", "hidden", to=TensorProto.FLOAT), _node("Sub", "pixels hidden", "made")],
        conditions=(MASK,),
    ),
    "gray": _Kind(nodes=_INVERT, constants=_WHITE, image_channels=1, result=ResultFields(channels=1)),
    "rgba": _Kind(nodes=_INVERT, constants=_WHITE, image_channels=4, result=ResultFields(channels=4)),
    "x2": _Kind(
        nodes=[
            _node("Transpose", "pixels", "planes", perm=[0, 3, 1, 2]),
            helper.make_node("Resize", ["planes", "", "scales"], ["large"], mode="nearest"),
            _node("Transpose", "large", "made", perm=[0, 2, 3, 1]),
        ],
        constants={"scales": np.array([1.0, 1.0, 2.0, 2.0], np.float32)},
        result=ResultFields(scale="2"),
    ),
    "half": _Kind(
        nodes=[_node("Slice", "pixels starts ends sliced steps", "made")],
        constants={
            "starts": np.array([0, 0]),
            "ends": np.array([2**31, 2**31]),
            "sliced": np.array([1, 2]),
            "steps": np.array([2, 2]),
        },
        result=ResultFields(scale="1/2"),
    ),
    "mask out": _Kind(nodes=_MEAN, result=ResultFields(kind="mask", channels=1)),
    "alpha": _Kind(nodes=_MEAN, result=ResultFields(kind="alpha", channels=1)),
    "labels": _Kind(nodes=_MEAN, result=ResultFields(kind="labels", channels=1)),
    "batch one": _Kind(nodes=_ADD, constants=_AXES, conditions=(SIGMA,), entries={"batch_one": True}),
    "fixed": _Kind(
        nodes=_ADD,
        constants=_AXES,
        conditions=(SIGMA,),
        entries={"fixed_size": True, "training_size": 24, "training_width": 40},
    ),
}

VERSION3_KINDS = tuple(_KINDS)
"""Names of the models: what each takes or gives that files of version 2 do not say."""

_BINOMIAL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]).astype(np.float32)


def _local(nodes: Sequence[onnx.NodeProto], result: ResultFields = PICTURE, **constants: Any) -> _Kind:
    """Blur 5x5 pixels, and add a number and a second picture: every value is exact, in whatever order it is summed.

    The contract gives each pixel so much memory that no machine holds an image, so that all are cut into small tiles.
    """
    blur = [
        _node("Transpose", "pixels", "planes", perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "binomial"], ["sums"], pads=[2] * 4, group=3),
        _node("Transpose", "sums", "summed", perm=[0, 2, 3, 1]),
        _node("Mul", "summed share", "blurred"),
        *_rows("sigma", "shaped"),
        _node("Add", "blurred shaped", "brighter"),
        _node("Cast", "mask", "masked", to=TensorProto.FLOAT),
        _node("Mul", "masked half", "hidden"),
        _node("Sub", "brighter hidden", "mixed"),
    ]
    weights = {"binomial": np.stack([_BINOMIAL[None]] * 3), "share": np.float32(1 / 256), "half": np.float32(0.5)}
    return _Kind(
        nodes=[*blur, *nodes],
        constants={"numbers": _AXES["numbers"]} | weights | constants,
        conditions=(SIGMA, MASK),
        result=result,
        entries={"locality": Locality(kind="local", reach=2, bytes_per_pixel=2**40)},
    )


_LOCAL = {
    "local": _local([_node("Identity", "mixed", "made")]),
    "local x2": _local(
        [
            _node("Transpose", "mixed", "small", perm=[0, 3, 1, 2]),
            helper.make_node("Resize", ["small", "", "scales"], ["large"], mode="nearest"),
            _node("Transpose", "large", "made", perm=[0, 2, 3, 1]),
        ],
        **_KINDS["x2"].constants,
        result=ResultFields(scale="2"),
    ),
    "local half": _local(
        [_node("Slice", "mixed starts ends sliced steps", "made")],
        **_KINDS["half"].constants,
        result=ResultFields(scale="1/2"),
    ),
}

LOCAL_KINDS = tuple(_LOCAL)
"""Names of further models, whose contracts say that they are local: 5x5 pixels decide one."""


def _inputs(kind: _Kind, contract: Contract) -> list[onnx.ValueInfoProto]:
    batch = 1 if contract.batch_one else "batch"
    sides = contract.fixed_shape or ("height", "width")
    image = helper.make_tensor_value_info(IMAGE_INPUT, TensorProto.UINT8, [batch, *sides, kind.image_channels])
    found = [image]
    for condition in contract.built_conditions():
        shape = condition.row_shape if condition.textual else (*sides, condition.fields.channels)
        found.append(helper.make_tensor_value_info(condition.name, _TYPES[condition.dtype.name], [batch, *shape]))
    return found


def _graph(kind: _Kind, contract: Contract) -> onnx.GraphProto:
    batch = 1 if contract.batch_one else "batch"
    ratio, fixed = contract.result.ratio, contract.fixed_shape
    sides = tuple(math.ceil(side * ratio) for side in fixed) if fixed else ("made height", "made width")
    constants = kind.constants | {"low": np.float32(0.0), "high": np.float32(255.0)}
    return helper.make_graph(
        [
            _node("Cast", "image", "pixels", to=TensorProto.FLOAT),
            *kind.nodes,
            _node("Clip", "made low high", "clipped"),
            _node("Round", "clipped", "rounded"),
            _node("Cast", "rounded", "result", to=TensorProto.UINT8),
        ],
        "tiny",
        _inputs(kind, contract),
        [helper.make_tensor_value_info(RESULT, TensorProto.UINT8, [batch, *sides, contract.result.channels])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )


def _contract(kind: _Kind) -> Contract:
    stage = StageParity(
        name="raw", nodes=5, max_abs_diff=1e-6, uint8_max_diff=0, uint8_equal=1.0, psnr_db=100.0, values=1000
    )
    parity = Parity(
        reference="PyTorch",
        candidate="ONNX Runtime",
        stages=(stage,),
        images=2,
        colors=3,
        batches=(1,),
        sizes=((16, 16),),
    )
    entries: dict[str, Any] = {"size_multiple": 4, "training_size": 16} | kind.entries
    return Contract(
        image_channels=kind.image_channels,
        conditions=kind.conditions,
        result=kind.result,
        opset=17,
        versions={"polyexport": "0"},
        network="tiny.networks:Network",
        checkpoint_sha256="b" * 64,
        graph_sha256="",
        parity=parity,
        golden=GoldenSample(image_png="", values=(0,) * len(kind.conditions), result_png=""),
        **entries,
    )


def _picture(shape: tuple[int, int], channels: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (*shape, channels), dtype=np.uint8)


def _base64(pixels: NDArray[np.uint8]) -> str:
    return base64.b64encode(encode_png(pixels)).decode()


def version3_bytes(name: str, **changes: Any) -> bytes:
    """The bytes of a model of ``VERSION3_KINDS`` or ``LOCAL_KINDS``.

    ``changes`` go into its contract last, true or not.
    """
    kind = (_KINDS | _LOCAL)[name]
    contract = _contract(kind)
    graph = _graph(kind, contract)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    shape = contract.fixed_shape or (16, 16)
    image = _picture(shape, kind.image_channels, 1)
    feeds: dict[str, Any] = {IMAGE_INPUT: image[None]}
    values: list[Any] = []
    for condition in contract.built_conditions():
        value = (
            condition.golden_values()[0]
            if condition.textual
            else _base64(_picture(shape, condition.fields.channels, 2))
        )
        values.append(value)
        feeds[condition.name] = condition.encode(value)[None]
    result = ort.InferenceSession(model.SerializeToString()).run([RESULT], feeds)[0][0]
    golden = GoldenSample(image_png=_base64(image), values=tuple(values), result_png=_base64(result))
    contract = replace(contract, golden=golden, graph_sha256=graph_sha256(model.SerializeToString()))
    helper.set_model_props(model, {METADATA_KEY: replace(contract, **changes).to_json()})
    return bytes(model.SerializeToString())


@pytest.fixture(scope="session")
def version3_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A model file of one of ``VERSION3_KINDS`` or ``LOCAL_KINDS``, built once."""
    folder = tmp_path_factory.mktemp("version3")

    def path_of(name: str) -> Path:
        path = folder / f"{name.replace(' ', '-')}.onnx"
        if not path.exists():
            path.write_bytes(version3_bytes(name))
        return path

    return path_of
