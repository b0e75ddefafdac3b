"""A graph for many colors must give what one run per color gives, and must not pay for the image more than once."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, parser
from torch import Tensor, nn

from polyexport.errors import ModelError
from polyexport.export.graph.many_colors import COLORS_AXIS, many_colors_graph
from polyexport.export.graph.trace import simplify, trace
from polyexport.export.source.load import load_source
from polyexport.export.source.source import Source
from polyexport.model.conditions.fields import ColorFields

pytestmark = pytest.mark.slow  # five networks are exported before the first test

Array = NDArray[Any]
NAMES = 7
"""Colors of the seed-style network."""


class SeedStyle(nn.Module):
    """A color's index -> a map of 1 channel, concatenated at the bottleneck: fits 64x64 alone."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(NAMES, 6)
        self.linear = nn.Linear(6, 16 * 16)
        self.down1, self.down2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 12, 3, padding=1)
        self.bottleneck = nn.Conv2d(12 + 1, 16, 3, padding=1)
        self.up2, self.up1 = nn.ConvTranspose2d(16, 12, 2, stride=2), nn.ConvTranspose2d(12, 8, 2, stride=2)
        self.conv2, self.conv1 = nn.Conv2d(24, 12, 3, padding=1), nn.Conv2d(16, 8, 3, padding=1)
        self.head = nn.Conv2d(8, 3, 1)

    def forward(self, image: Tensor, color: Tensor) -> Tensor:
        one = torch.relu(self.down1(image))
        two = torch.relu(self.down2(nn.functional.max_pool2d(one, 2)))
        map_ = self.linear(self.embedding(color)).view(color.size(0), 1, 16, 16)
        features = torch.relu(self.bottleneck(torch.cat([nn.functional.max_pool2d(two, 2), map_], dim=1)))
        features = torch.relu(self.conv2(torch.cat([self.up2(features), two], dim=1)))
        features = torch.relu(self.conv1(torch.cat([self.up1(features), one], dim=1)))
        return torch.tanh(self.head(features))


@pytest.fixture(scope="module")
def tiny(tiny_checkpoint: Path) -> onnx.ModelProto:
    return simplify(trace(load_source(tiny_checkpoint)).model)


def from_embedding(model: onnx.ModelProto) -> onnx.ModelProto:
    """The rgb network from its embedding on, float32 [batch, 5]."""
    name = [node.input[0] for node in model.graph.node if node.op_type == "Gemm"][-1]
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:]
    used = {"colored"}
    for node in reversed(model.graph.node):
        if used.intersection(node.output) - {name}:
            result.graph.node.insert(0, node)
            used.update(node.input)
    color = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 5])
    result.graph.input[1].CopyFrom(color)
    return result


@pytest.fixture(scope="module")
def graphs(tiny: onnx.ModelProto, vocabulary_checkpoint: Path) -> dict[str, onnx.ModelProto]:
    torch.manual_seed(5)
    seed_style = Source(
        module=SeedStyle().eval(),
        conditions=(
            ColorFields(
                conditioning="vocabulary", palette=tuple((f"color {index}", (index, 0, 0)) for index in range(NAMES))
            ),
        ),
        size_multiple=64,
        training_size=64,
        fixed_size=True,
        network="seed",
        sha256="0" * 64,
    )
    return {
        "rgb": tiny,
        "embedding": from_embedding(tiny),
        "vocabulary": simplify(trace(load_source(vocabulary_checkpoint)).model),
        "seed-style": simplify(trace(seed_style).model),
    }


def run(model: onnx.ModelProto, feed: dict[str, Array], *more: str) -> list[Array]:
    """The output, and more tensors by name."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in more)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feed))


def inputs(rewritten: onnx.ModelProto, n: int, k: int, h: int, w: int, seed: int = 0) -> dict[str, Array]:
    """Random inputs of a graph for many colors; a fixed size stays."""
    generator = np.random.default_rng(seed)
    feed: dict[str, Array] = {}
    for value in rewritten.graph.input:
        extents = value.type.tensor_type.shape.dim
        names = {"batch": n, COLORS_AXIS: k, "height": h, "width": w}
        shape = [names[extent.dim_param] if extent.dim_param else extent.dim_value for extent in extents]
        kind = value.type.tensor_type.elem_type
        assert kind in (TensorProto.UINT8, TensorProto.INT64, TensorProto.FLOAT)
        if kind == TensorProto.UINT8:
            feed[value.name] = generator.integers(0, 256, shape, np.uint8)
        elif kind == TensorProto.INT64:
            feed[value.name] = generator.integers(0, 3, shape)
        else:
            feed[value.name] = generator.standard_normal(shape, np.float32)
    return feed


def singles(model: onnx.ModelProto, feed: dict[str, Array], *more: str) -> list[Array]:
    """What K runs give, stacked: [N, K, ...] each."""
    image, color = feed
    runs = [
        run(model, {image: feed[image], color: feed[color][:, index]}, *more) for index in range(feed[color].shape[1])
    ]
    return [np.stack(values, axis=1) for values in zip(*runs, strict=True)]


def check_uint8(model: onnx.ModelProto, rewritten: onnx.ModelProto, feed: dict[str, Array]) -> None:
    quantize = next(node for node in model.graph.node if node.op_type == "QuantizeLinear" and node.output[0] != "color")
    before = quantize.input[0]
    (levels, floats), (expected, reference) = run(rewritten, feed, before), singles(model, feed, before)

    assert levels.shape == expected.shape
    np.testing.assert_allclose(floats.reshape(reference.shape), reference, rtol=0, atol=1e-4)
    off = np.abs(levels.astype(np.int16) - expected)
    assert off.max() <= 1
    assert np.mean(off > 0) < 1e-3


@pytest.mark.parametrize("kind", ["rgb", "embedding", "vocabulary", "seed-style"])
@pytest.mark.parametrize(("n", "k", "h", "w"), [(1, 1, 16, 16), (1, 5, 32, 16), (3, 2, 16, 48), (2, 3, 4, 8)])
def test_equals_one_run_per_color(
    graphs: dict[str, onnx.ModelProto], kind: str, n: int, k: int, h: int, w: int
) -> None:
    rewritten = many_colors_graph(graphs[kind])
    check_uint8(graphs[kind], rewritten, inputs(rewritten, n, k, h, w))


def test_equals_one_run_per_color_at_any_extents(tiny: onnx.ModelProto) -> None:
    rewritten = many_colors_graph(tiny)
    sizes = st.integers(1, 9)

    @settings(max_examples=20, deadline=None, derandomize=True, database=None)
    @given(n=st.integers(1, 3), k=st.integers(1, 4), h=sizes, w=sizes, seed=st.integers(0, 99))
    def check(n: int, k: int, h: int, w: int, seed: int) -> None:
        check_uint8(tiny, rewritten, inputs(rewritten, n, k, 4 * h, 4 * w, seed))

    check()


def test_one_more_axis_and_nothing_else_is_new(graphs: dict[str, onnx.ModelProto]) -> None:
    for model in graphs.values():
        before = [*model.graph.input, *model.graph.output]
        after = many_colors_graph(model).graph
        for old, new in zip(before, [*after.input, *after.output], strict=True):
            extents = [extent.dim_param or extent.dim_value for extent in old.type.tensor_type.shape.dim]
            expected = extents if old.name == "image" else [extents[0], COLORS_AXIS, *extents[1:]]
            assert new.name == old.name
            assert new.type.tensor_type.elem_type == old.type.tensor_type.elem_type
            assert [extent.dim_param or extent.dim_value for extent in new.type.tensor_type.shape.dim] == expected


def depending(graph: onnx.GraphProto, *sources: str) -> set[str]:
    """Tensors that depend on others by value: extents do not count."""
    reached = set(sources)
    for node in graph.node:
        if node.op_type != "Shape" and reached.intersection(node.input):
            reached.update(node.output)
    return reached


@pytest.mark.parametrize("kind", ["rgb", "vocabulary", "seed-style"])
def test_what_the_color_does_not_change_is_computed_once(graphs: dict[str, onnx.ModelProto], kind: str) -> None:
    model, rewritten = graphs[kind].graph, many_colors_graph(graphs[kind]).graph
    n, k = 2, 5
    convolutions = [node.output[0] for node in rewritten.node if node.op_type == "Conv"]
    feed = inputs(many_colors_graph(graphs[kind]), n, k, 16, 16)
    batches = dict(zip(convolutions, run(many_colors_graph(graphs[kind]), feed, *convolutions)[1:], strict=True))
    by_color = depending(rewritten, "color")
    encoder = {node.output[0] for node in model.node if node.op_type == "Conv"} - depending(model, "color")

    assert encoder <= set(convolutions)
    assert encoder.isdisjoint(by_color)
    for name, value in batches.items():
        assert len(value) == (n * k if name in by_color else n if name in depending(rewritten, "image") else 1)
    # No image channel goes through a convolution of the color, except where it was added to the color before.
    produced = {node.output[0]: node for node in rewritten.node}
    for name in by_color & set(convolutions):
        source = produced[produced[name].input[0]]
        assert source.op_type not in ("Concat", "Expand")
    widths = {tensor.name: tensor.dims[1] for tensor in rewritten.initializer if len(tensor.dims) > 1}
    split = set(convolutions) - {output for node in model.node for output in node.output} - by_color
    steady = sum(widths[produced[name].input[1]] for name in split & depending(rewritten, "image"))
    assert steady == {"rgb": 6 + 8 + 4, "vocabulary": 4 + 6, "seed-style": 12 + 12 + 8}[kind]


def test_the_bottleneck_color_needs_no_convolution_over_the_map(tiny: onnx.ModelProto) -> None:
    rewritten = many_colors_graph(tiny)
    taps = [node.output[0] for node in rewritten.graph.node if node.op_type == "Conv" and "_taps" in node.output[0]]
    (values,) = run(rewritten, inputs(rewritten, 2, 3, 16, 64), *taps)[1:]
    assert values.shape == (6, 6, 3, 3)


def test_tensors_keep_their_names_and_at_one_color_their_values(tiny: onnx.ModelProto) -> None:
    rewritten = many_colors_graph(tiny)
    feed = inputs(rewritten, 2, 1, 16, 24)
    own = {output for node in tiny.graph.node for output in node.output} - {"colored"}
    kept = sorted(own & {output for node in rewritten.graph.node for output in node.output})

    assert len(kept) > 0.85 * len(own)
    ours, theirs = run(rewritten, feed, *kept), run(tiny, {**feed, "color": feed["color"][:, 0]}, *kept)
    for name, value, reference in zip(kept, ours[1:], theirs[1:], strict=True):
        assert value.shape == reference.shape, name
        np.testing.assert_allclose(value, reference, atol=1e-4, err_msg=name)


def test_names_are_unique_and_nothing_is_left_over(graphs: dict[str, onnx.ModelProto]) -> None:
    for model in graphs.values():
        graph = many_colors_graph(model).graph
        names = [node.name for node in graph.node]
        outputs = [output for node in graph.node for output in node.output]
        used = {name for node in graph.node for name in node.input} | {"colored"}
        assert all(names)
        assert len(set(names)) == len(names)
        assert len(set(outputs)) == len(outputs)
        assert {tensor.name for tensor in graph.initializer} <= used
        assert set(outputs) <= used


def test_same_bytes_in_every_process_and_the_model_is_left_alone(tiny: onnx.ModelProto, tmp_path: Path) -> None:
    before = tiny.SerializeToString(deterministic=True)
    data = many_colors_graph(tiny).SerializeToString(deterministic=True)
    (tmp_path / "tiny.onnx").write_bytes(before)
    code = (
        "import hashlib, sys, onnx\nfrom polyexport.export.graph.many_colors import many_colors_graph\n"
        "model = many_colors_graph(onnx.load(sys.argv[1]))\n"
        "print(hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest())"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "tiny.onnx")]
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    elsewhere = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    assert many_colors_graph(tiny).SerializeToString(deterministic=True) == data
    assert elsewhere.strip() == hashlib.sha256(data).hexdigest()
    assert tiny.SerializeToString(deterministic=True) == before


HEAD = """<ir_version: 10, opset_import: ["" : 21, "other" : 1]>
g (uint8[batch,height,width,3] image, uint8[batch,3] color) => (float[batch,a,b,c] colored) {
    nhwc = Cast<to = 1>(image)
    levels = Transpose<perm = [0, 3, 1, 2]>(nhwc)
    hundred = Constant<value = float {100.0}>()
    x = Div(levels, hundred)
    channels = Cast<to = 1>(color)
    flat = Div(channels, hundred)
    last_axes = Constant<value = int64[2] {2, 3}>()
    c = Unsqueeze(flat, last_axes)
    batch_size = Shape<start = 0, end = 1>(image)
    spatial = Shape<start = 2>(x)
    one = Constant<value = int64[1] {1}>()
    three = Constant<value = int64[1] {3}>()
    sum = Add(x, c)
    whole = Concat<axis = 0>(batch_size, three, spatial)
    kernel = Constant<value = float[2,3,3,3] {KERNEL}>()
    wide = Constant<value = float[2,6,3,3] {WIDE}>()
    scales = Constant<value = float[4] {1, 1, 2, 2}>()
    BODY
}"""


def written(body: str) -> onnx.ModelProto:
    """A graph with x [N, 3, H, W] of the image, c [N, 3, 1, 1] and flat [N, 3] of the color, and their sum."""
    generator = np.random.default_rng(7)
    numbers = {
        name: ", ".join(f"{value:.3f}" for value in generator.standard_normal(count))
        for name, count in (("KERNEL", 54), ("WIDE", 108))
    }
    text = HEAD.replace("KERNEL", numbers["KERNEL"]).replace("WIDE", numbers["WIDE"]).replace("BODY", body)
    model = parser.parse_model(text)
    constants = {node.output[0]: node for node in model.graph.node if node.op_type == "Constant"}
    for name in ("kernel", "wide"):  # weights are initializers
        tensor = constants[name].attribute[0].t
        tensor.name = name
        model.graph.initializer.append(tensor)
        model.graph.node.remove(constants[name])
    for number, node in enumerate(model.graph.node):
        node.name = f"n{number}"
    return model


ACCEPTED = {
    "image and color of the same extents": "colored = Mul(sum, x)",
    "three operands": "yes = Greater(x, c)\n colored = Where(yes, sum, x)",
    "repeated at a concat": "both = Concat<axis = 1>(x, sum, x)\n colored = Softmax<axis = -1>(both)",
    "expanded to the image": "map = Expand(c, whole)\n colored = Concat<axis = -3>(map, x)",
    "reshaped with the image's batch": """rest = Concat<axis = 0>(batch_size, three, one, one)
        d = Reshape(flat, rest)\n colored = Add(x, d)""",
    "reshaped with the color's batch": """size = Shape<start = 0, end = 1>(flat)
        rest = Concat<axis = 0>(size, three, one, one)\n d = Reshape(flat, rest)\n colored = Sub(x, d)""",
    "reshaped by -1": """rest = Constant<value = int64[4] {-1, 1, 3, 1}>()
        d = Reshape<allowzero = 1>(flat, rest)\n colored = Add(d, d)""",
    "reshaped, the rest by -1": "to = Constant<value = int64[4] {0, -1, 1, 1}>()\n colored = Reshape(sum, to)",
    "resized to an extent": """twice = Add(spatial, spatial)\n to = Concat<axis = 0>(batch_size, three, twice)
        colored = Resize<mode = "nearest">(sum, , , to)""",
    "matrices of both": """t = Transpose<perm = [0, 1, 3, 2]>(x)\n colored = MatMul(sum, t)""",
    "sliced, padded, tiled": """ends = Constant<value = int64[1] {2}>()\n from = Constant<value = int64[1] {1}>()
        part = Slice(sum, from, ends, one)\n pads = Constant<value = int64[8] {0, 1, 0, 1, 0, 0, 2, 0}>()
        padded = Pad(part, pads)\n times = Constant<value = int64[4] {1, 2, 1, 1}>()\n colored = Tile(padded, times)""",
    "reduced": "m = ReduceMean(sum, last_axes)\n colored = Add(m, x)",
    "normalized": """s = Constant<value = float[3] {1, 2, 3}>()\n colored = InstanceNormalization(sum, s, s)""",
    "taken from each sample": "i = Constant<value = int64[2] {2, 0}>()\n colored = Gather<axis = 1>(sum, i)",
    "the color squared": "d = Pow(c, c)\n e = Clip(d)\n colored = Add(e, x)",
    "a convolution of the sum": "colored = Conv<pads = [1, 1, 1, 1]>(sum, kernel)",
    "strided and dilated": "colored = Conv<pads = [2, 1, 0, 2], strides = [2, 1], dilations = [1, 2]>(sum, kernel)",
    "without padding": "colored = Conv(sum, kernel)",
    "padded by the operator": 'colored = Conv<auto_pad = "SAME_UPPER", strides = [2, 2]>(sum, kernel)',
    "the color before the image": """up = Resize<mode = "linear">(sum, , scales)
        more = Resize<mode = "nearest">(x, , scales)\n both = Concat<axis = 1>(up, more)
        colored = Conv<pads = [1, 1, 1, 1]>(both, wide)""",
    "another interpolation": """
        up = Resize<mode = "cubic", coordinate_transformation_mode = "align_corners">(sum, , scales)
        colored = Conv<pads = [1, 1, 1, 1]>(up, kernel)""",
    "two sums in one convolution": """y = Relu(x)\n other = Add(c, y)\n both = Concat<axis = 1>(sum, other)
        colored = Conv<pads = [0, 1, 1, 0]>(both, wide)""",
    "a sum and a color of its own": """y = Relu(sum)\n both = Concat<axis = 1>(y, sum)
        colored = Conv<pads = [1, 1, 1, 1]>(both, wide)""",
    "the sum used elsewhere": "d = Conv<pads = [1, 1, 1, 1]>(sum, kernel)\n colored = Concat<axis = 1>(d, sum)",
    "groups": """both = Concat<axis = 1>(x, sum)\n colored = Conv<pads = [1, 1, 1, 1], group = 2>(both, kernel)""",
}


@pytest.mark.parametrize("body", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_operators_known_to_keep_the_batch(body: str) -> None:
    model = written(body)
    rewritten = many_colors_graph(model)
    for n, k, h, w in ((1, 1, 4, 5), (2, 3, 5, 6), (3, 2, 6, 6)):
        feed = inputs(rewritten, n, k, h, w)
        (colored,), (expected,) = run(rewritten, feed), singles(model, feed)
        np.testing.assert_allclose(colored, expected, rtol=1e-5, atol=1e-4)


REFUSED = {
    "an unknown operator": "axis = Constant<value = int64 {1}>()\n colored = CumSum(sum, axis)",
    "another domain": "colored = other.Relu(sum)",
    "across the batch": "colored = Softmax<axis = 0>(sum)",
    "across the batch, from behind": "colored = Softmax<axis = -4>(sum)",
    "a mean of everything": "m = ReduceMean(sum)\n colored = Add(sum, m)",
    "batches side by side": "colored = Concat<axis = 0>(sum, sum)",
    "the batch moved": "colored = Transpose<perm = [1, 0, 2, 3]>(sum)",
    "the batch folded": "to = Constant<value = int64[4] {1, -1, 3, 1}>()\n colored = Reshape(sum, to)",
    "a batch split": "to = Constant<value = int64[4] {-1, 1, 1, 1}>()\n colored = Reshape(flat, to)",
    "the batch tiled": "times = Constant<value = int64[4] {2, 1, 1, 1}>()\n colored = Tile(sum, times)",
    "the batch sliced": "zero = Constant<value = int64[1] {0}>()\n colored = Slice(sum, zero, one)",
    "the batch padded": "pads = Constant<value = int64[8] {1, 0, 0, 0, 0, 0, 0, 0}>()\n colored = Pad(sum, pads)",
    "one sample for all": """i = Constant<value = int64[1] {0}>()\n y = Gather<axis = 0>(sum, i)
        colored = Add(y, x)""",
    "extents without a batch": "y = Expand(c, spatial)\n colored = Add(y, x)",
    "samples as channels": "colored = Add(flat, x)",
    "weights of the color": """to = Constant<value = int64[4] {0, 3, 1, 1}>()\n w = Reshape(flat, to)
        colored = Conv(x, w)""",
    "the number of colors": "size = Shape<start = 0, end = 1>(flat)\n f = Cast<to = 1>(size)\n colored = Mul(sum, f)",
    "the image told the color's batch": """size = Shape<start = 0, end = 1>(flat)
        to = Concat<axis = 0>(size, three, spatial)\n y = Reshape(x, to)\n colored = Add(y, c)""",
    "statistics of the batch": """s = Constant<value = float[3] {1, 2, 3}>()
        colored = BatchNormalization<training_mode = 1>(sum, s, s, s, s)""",
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
def test_what_may_mix_the_samples_is_refused_in_one_line(body: str) -> None:
    with pytest.raises(ModelError, match=r"\(n\d+\)|colored is \[\d") as caught:
        many_colors_graph(written(body))
    assert "\n" not in str(caught.value)


def test_graphs_of_another_form_are_refused(relu_model: onnx.ModelProto, tiny: onnx.ModelProto) -> None:
    with pytest.raises(ModelError, match="x -> y, expected image and one more input -> colored"):
        many_colors_graph(relu_model)
    with pytest.raises(ModelError, match="colored does not depend on color"):
        many_colors_graph(written("colored = Relu(x)"))
    for value, wrong in ((0, "image"), (1, "color")):
        fixed = onnx.ModelProto()
        fixed.CopyFrom(tiny)
        fixed.graph.input[value].type.tensor_type.shape.dim[0].dim_value = 4
        with pytest.raises(ModelError, match=rf"{wrong} is \[4, "):
            many_colors_graph(fixed)
    old = onnx.ModelProto()
    old.CopyFrom(tiny)
    old.opset_import[0].version = 13
    with pytest.raises(ModelError, match="opset 13"):
        many_colors_graph(old)
