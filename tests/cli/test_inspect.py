"""polyexport inspect."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper, numpy_helper

from polyexport.cli.inspect import inspect
from polyexport.model.certificate import Fidelity, Quality
from polyexport.model.conditions.fields import Embedding
from polyexport.model.contract import METADATA_KEY, Contract
from polyexport.model.inspect import Inspection, Macs, inspect_model
from polyexport.model.model import Model

Cli = Callable[..., subprocess.CompletedProcess[str]]
Refused = Callable[..., str]

LABELS = ["file", "SHA-256", "weights", "input", "input", "output", "sizes", "result", "colors", "parameters", "MACs"]
LABELS += ["nodes", "precision", "parity", "golden", "versions"]

FIDELITY = Fidelity(
    data="plain",
    images=12,
    psnr_to_fp32_mean_db=51.234,
    psnr_to_fp32_min_db=43.21,
    fp32_psnr_mean_db=55.5,
    psnr_mean_db=54.4,
    fp32_within_8=0.99912,
    within_8=0.99834,
)


def promising(path: Path, target: Path, **changes: Any) -> Contract:
    """The same graph under another contract."""
    model = onnx.load(path)
    contract = replace(Contract.from_json(model.metadata_props[0].value), **changes)
    helper.set_model_props(model, {METADATA_KEY: contract.to_json()})
    target.write_bytes(model.SerializeToString())
    return contract


def rows(text: str) -> dict[str, str]:
    """Label -> everything under it; the first one of several."""
    found: dict[str, str] = {}
    last = ""
    for line in text.splitlines():
        label, content = line[:11].strip(), line[11:]
        if label and label in found:
            last = ""
        elif label:
            last, found[label] = label, content
        elif last:
            found[last] += "\n" + content
    return found


def test_one_aligned_screen(cli: Cli, tiny_model_path: Path) -> None:
    done = cli("inspect", tiny_model_path, check=0)
    lines = done.stdout.splitlines()
    said, found = rows(done.stdout), inspect_model(tiny_model_path)
    assert found.macs.total is not None

    assert done.stderr == ""
    assert [line[:11].strip() for line in lines if line[0] != " "] == LABELS
    assert all(line[10] == " " and line[11] != " " for line in lines)
    assert len(lines) <= 40
    assert max(map(len, lines[1:])) <= 111
    assert said["SHA-256"] == found.sha256
    assert found.contract.checkpoint_sha256 in said["weights"]
    assert said["input"] == "image uint8 [batch, height, width, 3]"
    assert said["output"] == "colored uint8 [batch, height, width, 3]"
    assert said["sizes"] == "height and width multiples of 4, trained at 32x32"
    assert said["colors"] == "any"
    assert said["parameters"].startswith(f"{found.parameters:,}; initializers ")
    assert said["MACs"].startswith(f"{found.macs.total / 1e6:.4g} M for one 32x32 image (Conv ")
    assert said["nodes"].startswith(f"{found.num_nodes}: Conv {found.nodes['Conv']}")
    assert said["precision"] == "fp32, opset 21"
    assert [line.split()[0] for line in said["parity"].splitlines()[2:]] == ["stage", "raw", "simplified"]
    assert said["golden"] == "repeated by this machine's CPU, 0 levels off on average"
    assert f"onnx {onnx.__version__}" in said["versions"]


def test_json_has_the_contract_as_it_stands_and_the_counts(cli: Cli, tiny_model_path: Path) -> None:
    report = json.loads(cli("inspect", tiny_model_path, "--json", check=0).stdout)
    found = inspect_model(tiny_model_path)

    assert Contract.from_json(json.dumps(report.pop("contract"))) == found.contract
    assert report == {
        "path": str(tiny_model_path),
        "size_bytes": tiny_model_path.stat().st_size,
        "sha256": found.sha256,
        "golden_difference": 0,
        "inputs": [
            {"name": "image", "dtype": "uint8", "shape": ["batch", "height", "width", 3]},
            {"name": "color", "dtype": "uint8", "shape": ["batch", 3]},
        ],
        "outputs": [{"name": "colored", "dtype": "uint8", "shape": ["batch", "height", "width", 3]}],
        "parameters": found.parameters,
        "initializer_bytes": found.initializer_bytes,
        "nodes": found.nodes,
        "num_nodes": found.num_nodes,
        "macs": {
            "size": 32,
            "total": found.macs.total,
            "by_type": found.macs.by_type,
            "further_color": None,
            "unknown": "",
        },
        "passports": [],
        "passports_fault": "",
    }


def test_what_else_was_measured(cli: Cli, tiny_model_path: Path, tmp_path: Path) -> None:
    quality = Quality(data="real", images=56, psnr_mean_db=58.123, psnr_min_db=47)
    two = (FIDELITY, replace(FIDELITY, data="noisy"))
    promising(tiny_model_path, tmp_path / "m.onnx", precision="int8", fidelity=two, quality=quality)
    text = cli("inspect", "m.onnx", check=0).stdout
    said = {label: content.replace("\n", " ") for label, content in rows(text).items()}

    assert said["precision"] == "int8, opset 21"
    assert said["fidelity"] == (
        "plain, 12 images: 51.23 dB to fp32 (min 43.21), 54.40 dB to the truth (fp32 55.50), "
        "99.834% of pixels within 8 (fp32 99.912%)"
    )
    assert [line.split(",")[0].split()[1] for line in text.splitlines() if line.startswith("fidelity")] == [
        "plain",
        "noisy",
    ]
    assert said["quality"] == "real, 56 images: PSNR 58.12 dB (min 47.00)"


def test_a_vocabulary_is_listed_and_a_long_one_cut(
    cli: Cli, vocabulary_model: Model, vocabulary_checkpoint: Path, tmp_path: Path
) -> None:
    short, path = vocabulary_checkpoint.with_suffix(".onnx"), tmp_path / "long.onnx"
    color = vocabulary_model.contract.color
    assert color is not None
    palette = (*color.palette, *((f"c{i}", (i, i, i)) for i in range(147)))
    promising(short, path, conditions=(replace(color, palette=palette),))

    assert rows(cli("inspect", short, check=0).stdout)["colors"] == "3: red, lime, blue"
    cut = cli("inspect", path, check=0).stdout
    assert rows(cut)["colors"].startswith("150: red, lime, blue, c0, ")
    assert rows(cut)["colors"].endswith("c8 and 138 more, see --json")
    assert len(json.loads(cli("inspect", path, "--json", check=0).stdout)["contract"]["palette"]) == 150


@pytest.fixture
def printed(
    tiny_model_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., dict[str, str]]:
    """The rows of an inspection that is changed a little."""
    found = inspect_model(tiny_model_path)

    def run(macs: Macs | None = None, **changes: Any) -> dict[str, str]:
        changed: Inspection = replace(found, macs=macs or found.macs, contract=replace(found.contract, **changes))
        monkeypatch.setattr("polyexport.model.inspect.inspect_model", lambda path, limits: changed)
        inspect(tiny_model_path)
        return rows(capsys.readouterr().out)

    return run


RED = (("red", (255, 0, 0)),)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"many_colors": True}, "any; several in one call"),
        (
            {"color_input": "embedding", "embedding": Embedding(dim=3, encoder="AAAA")},
            "any; as an embedding of 3 values, made by its encoder",
        ),
        (
            {"conditioning": "vocabulary", "palette": RED, "color_input": "embedding"}
            | {"embedding": Embedding(dim=3, table="AAAAAAAAAAAAAAAA")},
            "1: red; as an embedding of 3 values, made by its table",
        ),
        (
            {"conditioning": "embedding", "color_input": "embedding", "embedding": Embedding(dim=3)},
            "none of its own; as an embedding of 3 values, made by the caller",
        ),
    ],
)
def test_where_colors_come_from(
    changes: dict[str, Any], said: str, printed: Callable[..., dict[str, str]], tiny_model: Model
) -> None:
    color = replace(tiny_model.contract.conditions[0], **changes)
    assert printed(conditions=(color,))["colors"] == said


def test_one_size_alone(printed: Callable[..., dict[str, str]]) -> None:
    assert printed(fixed_size=True)["sizes"] == "32x32 alone"


def test_macs_that_are_not_known_and_of_several_colors(printed: Callable[..., dict[str, str]]) -> None:
    unknown = Macs(size=32, total=None, unknown="those of Einsum are not known here")
    assert printed(unknown)["MACs"] == "unknown: those of Einsum are not known here"
    several = Macs(size=32, total=1_234_567, by_type={"Conv": 1_234_567}, further_color=999)
    expected = "1.235 M for one 32x32 image (Conv 1.235 M); each further color 999"
    assert printed(several)["MACs"] == expected
    assert printed(Macs(size=32, total=0))["MACs"] == "0 for one 32x32 image (none)"


def test_names_that_are_no_text_stay_in_their_line(cli: Cli, tiny_model_path: Path, tmp_path: Path) -> None:
    promising(tiny_model_path, tmp_path / "m.onnx", versions={"a\x1b[31m\n": "1\u2028"}, network="x" * 300)
    done = cli("inspect", "m.onnx", check=0)
    assert "\x1b" not in done.stdout
    assert rows(done.stdout)["versions"].startswith("a\\x1b[31m")


def damaged(path: Path) -> dict[str, bytes]:
    model = onnx.load(path)
    weight = model.graph.initializer[0]
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) + 1, weight.name))
    data = path.read_bytes()
    bare = onnx.load(path)
    del bare.metadata_props[:]
    external = onnx.load(path)
    external.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    entry = external.graph.initializer[0].external_data.add()
    entry.key, entry.value = "location", "weights.bin"
    return {
        "graph was changed": model.SerializeToString(),
        "not a whole ONNX model": data[:-100],
        f"has no {METADATA_KEY}": bare.SerializeToString(),
        "keeps data in other files": external.SerializeToString(),
    }


def test_a_model_that_is_not_what_it_says_is_refused(refused: Refused, tiny_model_path: Path, tmp_path: Path) -> None:
    for said, data in damaged(tiny_model_path).items():
        (tmp_path / "m.onnx").write_bytes(data)
        for options in ((), ("--json",)):
            error = refused(4, "inspect", "m.onnx", *options)
            assert error.startswith("error: model m.onnx is refused: ")
            assert said in error
    assert "cannot be read" in refused(4, "inspect", "missing.onnx")
    assert "exclude" in refused(2, "inspect", tiny_model_path, "-v", "-q")


def test_a_model_must_be_named(cli: Cli) -> None:
    assert "MODEL" in cli("inspect", check=2).stderr


def test_without_onnx_the_extra_is_named(tiny_model_path: Path) -> None:
    code = "import sys; sys.modules['onnx'] = None\nfrom polyexport.cli.main import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, "inspect", str(tiny_model_path)], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "error: this command needs the onnx package; install it with pip install 'polyexport[inspect]'\n"
    )


@pytest.mark.parametrize("option", ["--json", "-q"])
def test_no_torch_is_loaded(option: str, tiny_model_path: Path) -> None:
    code = (
        "import sys\nfrom polyexport.cli.main import main\n"
        "try: main()\nexcept SystemExit as done: assert not done.code, done.code\n"
        "assert not {'onnx', 'torch', 'trainer', 'onnxscript', 'onnxsim'} & set(sys.modules)"
    )
    arguments = ["inspect", str(tiny_model_path), option]
    subprocess.run([sys.executable, "-W", "error", "-c", code, *arguments], check=True, capture_output=True)
