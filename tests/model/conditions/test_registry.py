"""A kind of condition is one file and one row: a new one runs through the commands without any other change."""

import hashlib
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import pytest
from contracts import with_color
from onnx import helper
from PIL import Image

from polyexport.errors import ContractError
from polyexport.model import conditions
from polyexport.model.conditions.color_condition import ColorCondition
from polyexport.model.conditions.fields import ColorFields, ColorInput, Embedding
from polyexport.model.contract import METADATA_KEY
from polyexport.model.file import read_contract
from polyexport.model.loading.limits import DEFAULT_LIMITS
from polyexport.model.loading.load import load_model
from polyexport.model.loading.verdicts import remember
from polyexport.model.model import Model
from polyexport.package.card import model_card
from polyexport.package.triton import TritonOptions, triton_config
from polyexport.runtime.onnx_bytes import graph_sha256

WARMTH = '''
import numpy as np

from polyexport.errors import ColorError
from polyexport.imaging.color import Color
from polyexport.model.conditions.color_condition import ColorCondition

COLORS = (Color("warm", (255, 136, 0)), Color("cold", (0, 90, 255)))


class WarmthCondition(ColorCondition):
    """Warm or cold: uint8 [3], the color that stands for it."""

    kind = "warmth"
    summary = "warm or cold"
    meaning = "how warm the picture is"
    default_name = "warmth"
    dtype = np.dtype(np.uint8)
    row_shape = (3,)

    def parse(self, value):
        found = [color for color in COLORS if str(value).strip().lower() == color.name]
        if not found:
            raise ColorError(f"{value} is not a warmth", remedy="give warm or cold")
        return found[0]

    def value_of(self, color):
        return COLORS.index(color)

    def encode(self, value):
        return np.array(COLORS[value].rgb, self.dtype)

    def describe(self):
        return "warm or cold, nothing between"

    def describe_value(self, value):
        return COLORS[value].name

    def example(self):
        return "warm"

    def golden_values(self):
        return (0, 1)

    def proof_rows(self):
        return np.array([color.rgb for color in COLORS], self.dtype)

    def drawing_row(self, rgb, rng):
        return np.array([rgb], self.dtype)


CONDITION = WarmthCondition
'''

COMMAND = """
import sys
from polyexport.model import conditions
conditions.COLOR_MODULES = {**conditions.COLOR_MODULES, "warmth": "warmth"}
# The process that loads a file first has the registry without the new row.
from dataclasses import asdict
from json import dumps, loads
from polyexport.model import inspect
inspect.run_confined = lambda task, model, limits: loads(dumps(asdict(inspect.inspect_graph(model))))
from polyexport.cli.main import main
main()
"""

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def warm_model(tiny_model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The graph of the tiny model, with a condition of a new kind in its contract."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "warmth.py").write_text(WARMTH)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    monkeypatch.setattr(conditions, "COLOR_MODULES", {**conditions.COLOR_MODULES, "warmth": "warmth"})
    model = onnx.load(tiny_model_path)
    contract = read_contract(tiny_model_path.read_bytes())
    del model.metadata_props[:]
    model.graph.input[1].name = "warmth"
    for node in model.graph.node:
        node.input[:] = ["warmth" if name == "color" else name for name in node.input]
    contract = with_color(
        contract,
        conditioning="warmth",
        golden=replace(contract.golden, values=(0,)),
        graph_sha256=graph_sha256(model.SerializeToString()),
    )
    helper.set_model_props(model, {METADATA_KEY: contract.to_json()})
    path = tmp_path / "warm.onnx"
    path.write_bytes(model.SerializeToString())
    remember(hashlib.sha256(path.read_bytes()).hexdigest(), DEFAULT_LIMITS.granted(path.stat().st_size))
    return path


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """A command of polyexport in a process of its own, whose registry has the new row."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", COMMAND, *map(str, arguments)],
            cwd=tmp_path,
            env=os.environ | {"NO_COLOR": "1", "PYTHONPATH": os.pathsep.join([str(tmp_path / "modules"), *sys.path])},
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


def test_a_new_kind_is_inspected(warm_model: Path, command: Command) -> None:
    done = command("inspect", warm_model)
    assert done.returncode == 0, done.stderr
    assert "colors     warm or cold, nothing between\n" in done.stdout
    assert "warmth uint8 [batch, 3]" in done.stdout
    assert json.loads(command("inspect", warm_model, "--json").stdout)["contract"]["conditioning"] == "warmth"


def test_a_new_kind_is_inferred(warm_model: Path, command: Command, tiny_model: Model, drawings: Path) -> None:
    output = warm_model.parent / "out"
    done = command("infer", drawings, "--model", warm_model, "--color", "warm", "--color", "cold", "-o", output)
    assert done.returncode == 0, done.stderr
    for name, rgb in (("warm", (255, 136, 0)), ("cold", (0, 90, 255))):
        [[expected]] = tiny_model.colorize([drawings / "3.png"], [rgb])
        assert np.array_equal(np.asarray(Image.open(output / name / "3.png")), expected)
    refused = command("infer", drawings, "--model", warm_model, "--color", "tepid", "-o", output)
    assert refused.returncode == 2
    assert "tepid is not a warmth; give warm or cold" in refused.stderr


def test_a_new_kind_is_packaged(warm_model: Path) -> None:
    contract = load_model(warm_model, provider="cpu").contract
    card = model_card(contract, name="warm", sha256="", size_bytes=0)
    assert "| conditioning | warmth: warm or cold |" in card
    assert "| `warmth` | uint8 | [batch, 3] | how warm the picture is |" in card
    assert 'name: "warmth", data_type: TYPE_UINT8' in triton_config(contract, TritonOptions(name="warm"))


def test_a_kind_that_is_in_no_row_is_refused(warm_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with pytest.raises(ContractError, match="conditioning must be rgb, vocabulary, embedding, got 'warmth'"):
        read_contract(warm_model.read_bytes())


def test_every_row_leads_to_a_class_of_its_name() -> None:
    for name, module in conditions.COLOR_MODULES.items():
        kind = importlib.import_module(module).CONDITION
        assert issubclass(kind, ColorCondition)
        assert kind.kind == name
    assert set(get_args(ColorInput)) - set(conditions.COLOR_MODULES) == {"color"}


def test_a_kind_without_an_embedding_says_so(warm_model: Path) -> None:
    assert load_model(warm_model, provider="cpu").color_condition.kind == "warmth"
    fields = ColorFields(conditioning="warmth", color_input="embedding", embedding=Embedding(dim=3))
    with pytest.raises(ValueError, match="warmth cannot be given to the network as an embedding"):
        conditions.condition_of(fields)
