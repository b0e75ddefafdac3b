import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from version3_models import VERSION3_KINDS

from polyexport.model.contract import COLORED
from polyexport.model.loading.load import load_model
from polyexport.model.model import Model
from polyexport.model.nan_watch import WATCH
from polyexport.package.triton import TritonOptions, triton_config, triton_name

KINDS = (
    "rgb",
    "rgb fixed",
    "rgb many",
    "vocabulary",
    "vocabulary many",
    "table",
    "encoder",
    "encoder many",
    "vectors",
)
ORT_TYPES = {"tensor(uint8)": "TYPE_UINT8", "tensor(int64)": "TYPE_INT64", "tensor(float)": "TYPE_FP32"}
BYTES = {"TYPE_UINT8": np.uint8, "TYPE_INT64": np.int64, "TYPE_FP32": np.float32}


@pytest.fixture
def any_model(model_of: Callable[[str], Path], version3_of: Callable[[str], Path]) -> Callable[[str], Model]:
    def load(kind: str) -> Model:
        return load_model((model_of if kind in KINDS else version3_of)(kind), provider="cpu")

    return load


@pytest.mark.parametrize("kind", [*KINDS, *VERSION3_KINDS])
def test_triton_takes_it_and_it_says_what_the_graph_says(
    kind: str, any_model: Callable[[str], Model], triton_schema: ModuleType
) -> None:
    model = any_model(kind)
    config = text_format.Parse(triton_config(model.contract, TritonOptions(name="tiny")), triton_schema.ModelConfig())

    assert (config.name, config.platform) == ("tiny", "onnxruntime_onnx")
    tensors = [*zip(("in",) * 9, config.input, strict=False), *zip(("out",) * 9, config.output, strict=False)]
    graph = {("in", name): one for name, one in model.session.inputs.items()} | {
        ("out", name): one for name, one in model.session.outputs.items() if name != WATCH
    }
    assert {(way, tensor.name) for way, tensor in tensors} == set(graph)
    batch = [] if config.max_batch_size == 0 else [-1]  # without batches, the shapes of Triton are those of the graph
    assert (config.max_batch_size == 0) == (kind == "batch one")
    for way, tensor in tensors:
        kind_of = graph[way, tensor.name]
        assert triton_schema.DataType.Name(tensor.data_type) == ORT_TYPES[kind_of.dtype]
        dims = list(tensor.reshape.shape) if tensor.HasField("reshape") else list(tensor.dims)
        assert [*batch, *dims] == [-1 if extent is None else extent for extent in kind_of.shape]
        assert len(tensor.dims) >= 1  # Triton refuses an empty shape
        assert all(extent == -1 or extent >= 1 for extent in tensor.dims)
    scalars = {"vocabulary", "number", "label number", "color", "fixed"}
    assert any(tensor.HasField("reshape") for _, tensor in tensors) == (kind in scalars)
    assert config.HasField("dynamic_batching") == (kind != "batch one")


@pytest.mark.parametrize("kind", [*KINDS, *VERSION3_KINDS])
def test_its_warm_up_runs_on_the_graph(kind: str, any_model: Callable[[str], Model], triton_schema: ModuleType) -> None:
    model = any_model(kind)
    options = TritonOptions(name="tiny", max_batch_size=6, preferred_batch_sizes=(2, 5))
    config = text_format.Parse(triton_config(model.contract, options), triton_schema.ModelConfig())
    reshaped = {tensor.name for tensor in config.input if tensor.HasField("reshape")}
    batched = config.max_batch_size > 0

    assert [warm_up.batch_size for warm_up in config.model_warmup] == ([1, 5] if batched else [1])
    for warm_up in config.model_warmup:
        feeds: dict[str, Any] = {}
        for name, value in warm_up.inputs.items():
            assert value.WhichOneof("input_data_type") == ("random_data" if name == "image" else "zero_data")
            dtype = BYTES[triton_schema.DataType.Name(value.data_type)]
            batch = (warm_up.batch_size,) if batched else ()
            feeds[name] = np.zeros((*batch, *(() if name in reshaped else value.dims)), dtype)
        contract = model.contract
        assert feeds["image"].shape[1:3] == (contract.fixed_shape or (contract.training_size,) * 2)
        assert len(model.session.run(contract.output_name, feeds)) == warm_up.batch_size


def test_batching_as_asked_for(model_of: Callable[[str], Path], triton_schema: ModuleType) -> None:
    contract = load_model(model_of("rgb"), provider="cpu").contract
    options = TritonOptions(name="a-1", max_batch_size=4, preferred_batch_sizes=(4,), max_queue_delay_us=0)
    config = text_format.Parse(triton_config(contract, options), triton_schema.ModelConfig())

    assert config.max_batch_size == 4
    assert list(config.dynamic_batching.preferred_batch_size) == [4]
    assert config.dynamic_batching.max_queue_delay_microseconds == 0
    assert triton_schema.ModelInstanceGroup.Kind.Name(config.instance_group[0].kind) == "KIND_AUTO"
    assert config.version_policy.latest.num_versions == 1


@pytest.mark.parametrize(
    "field", ["max_batch_size", "dims", "preferred_batch_size", "model_warmup", "version_policy", "KIND_AUTO", "key"]
)
def test_the_schema_refuses_a_misspelt_field(
    field: str, model_of: Callable[[str], Path], triton_schema: ModuleType
) -> None:
    text = triton_config(load_model(model_of("rgb"), provider="cpu").contract, TritonOptions(name="tiny"))
    with pytest.raises(text_format.ParseError):
        text_format.Parse(re.sub(rf"\b{field}\b", f"{field}x", text, count=1), triton_schema.ModelConfig())


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "../up"},
        {"name": "a b"},
        {"name": ".hidden"},
        {"name": "dot."},
        {"name": 'quote"'},
        {"name": "line\n"},
        {"name": "x" * 65},
        {"max_batch_size": 0},
        {"max_batch_size": 4},
        {"preferred_batch_sizes": ()},
        {"preferred_batch_sizes": (8, 4)},
        {"preferred_batch_sizes": (0, 4)},
        {"max_queue_delay_us": -1},
    ],
)
def test_options_that_triton_would_refuse(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"got"):
        TritonOptions(**{"name": "tiny", **wrong})


@pytest.mark.parametrize(
    ("stem", "name"), [("small", "small"), ("my model (1)", "my-model-1"), ("..", "model"), ("é" * 300, "model")]
)
def test_names_of_files_become_names_of_models(stem: str, name: str) -> None:
    assert triton_name(stem) == name
    TritonOptions(name=triton_name(stem + "x" * 80))


def test_the_client_of_the_page_asks_for_what_is_served(shipped: Model) -> None:
    page = (Path(__file__).parents[2] / "docs" / "serve.md").read_text()
    config = triton_config(shipped.contract, TritonOptions(name="small"))
    asked = re.findall(r'InferInput\("(\w+)", .*?, "(\w+)"\)', page)
    assert len(asked) == 2
    for name, kind in asked:
        assert f'name: "{name}", data_type: TYPE_{kind}' in config
    assert f'output [\n  {{ name: "{COLORED}"' in config
    assert f'as_numpy("{COLORED}")' in page
