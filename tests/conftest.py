"""Real parts for every test: a tiny network, exported as users export, and the shipped model."""

import os
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from polyexport.data.drawings import draw
from polyexport.model.contract import METADATA_KEY
from polyexport.model.file import default_model_path
from polyexport.model.loading.load import load_model
from polyexport.model.model import Model
from polyexport.runtime.probe import probe_provider

pytest_plugins = ("command_server", "every_contract", "signing_keys", "two_sides", "version3_models")


def pytest_configure(config: pytest.Config) -> None:
    # Tests neither read nor fill the cache of whoever runs them.
    cache = tempfile.TemporaryDirectory(prefix="polyexport-tests-cache-")
    config.add_cleanup(cache.cleanup)
    os.environ["XDG_CACHE_HOME"] = cache.name
    # Threads of OpenMP that spin while they wait take the cores from the tests beside them: a sixth of the time of
    # those that train.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Tiny networks gain nothing from a second thread, and the worker beside this one has the other core.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # What a shell starts in the background ignores interrupts, and so would every program that a test starts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


_LONGEST = ("test_docs.py", "test_export.py", "test_infer.py", "test_train.py", "test_api.py", "test_infer_ray.py")
"""Files that take the longest. They come first, so that no worker has one of them left when the others
have ended; `make test` tells pytest-xdist to keep this order."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _LONGEST.index(item.path.name) if item.path.name in _LONGEST else len(_LONGEST))
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
    if not probe_provider("cuda").works:
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason=f"no CUDA: {probe_provider('cuda').reason}"))


@pytest.fixture(scope="session")
def shipped() -> Model:
    return load_model(provider="cpu")


@pytest.fixture(scope="session")
def shipped_path() -> Path:
    return default_model_path()


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A three-level network with random weights; its batch normalization has seen data."""
    import torch

    from trainer.checkpoint import Checkpoint, save_checkpoint
    from trainer.network import ConditionalUNet, ModelConfig

    torch.manual_seed(3)
    model = ConditionalUNet(ModelConfig(channels=(4, 6, 8), embedding_dim=5))
    for _ in range(3):
        model(torch.rand(4, 3, 32, 32) * 2 - 1, torch.rand(4, 3) * 2 - 1)
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    save_checkpoint(Checkpoint(model=model.eval(), training_size=32, training={"steps": 0}), path)
    return path


@pytest.fixture(scope="session")
def tiny_model_path(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from polyexport.export.export import export_source
    from polyexport.export.source.load import load_source

    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    export_source(load_source(tiny_checkpoint), path)
    return path


@pytest.fixture
def tiny_model(tiny_model_path: Path) -> Model:
    return load_model(tiny_model_path, provider="cpu")


@pytest.fixture(scope="session")
def vocabulary_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-level network with random weights that knows three colors."""
    import torch

    from trainer.checkpoint import Checkpoint, save_checkpoint
    from trainer.network import ConditionalUNet, ModelConfig

    torch.manual_seed(4)
    palette = (("red", (255, 0, 0)), ("lime", (0, 255, 0)), ("blue", (0, 0, 255)))
    model = ConditionalUNet(ModelConfig(channels=(4, 6), embedding_dim=3, conditioning="vocabulary", palette=palette))
    path = tmp_path_factory.mktemp("vocabulary") / "v.safetensors"
    save_checkpoint(Checkpoint(model=model.eval(), training_size=16), path)
    return path


@pytest.fixture(scope="session")
def vocabulary_model(vocabulary_checkpoint: Path) -> Model:
    from polyexport.export.export import export_source
    from polyexport.export.source.load import load_source

    export_source(load_source(vocabulary_checkpoint), vocabulary_checkpoint.with_suffix(".onnx"))
    return load_model(vocabulary_checkpoint.with_suffix(".onnx"), provider="cpu")


@pytest.fixture
def drawings(tmp_path: Path) -> Path:
    """A folder of six 64x64 drawings."""
    folder = tmp_path / "drawings"
    folder.mkdir()
    for number in range(6):
        Image.fromarray(draw(np.random.default_rng(number), 64).image).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def with_metadata(tiny_model_path: Path) -> Callable[[str | None], bytes]:
    """The tiny model with another contract, or none."""

    def build(contract: str | None) -> bytes:
        model = onnx.load_model_from_string(tiny_model_path.read_bytes())
        del model.metadata_props[:]
        if contract is not None:
            helper.set_model_props(model, {METADATA_KEY: contract})
        return bytes(model.SerializeToString())

    return build


@pytest.fixture
def relu_model() -> onnx.ModelProto:
    """A valid ONNX model that is not ours."""
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "relu",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
