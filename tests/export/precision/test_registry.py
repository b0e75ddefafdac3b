"""A precision is one file and one row: what the registry promises, and a precision that polyexport does not have."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from polyexport.errors import ModelError
from polyexport.export.precision import PRECISIONS, REFERENCE, precision_named
from polyexport.export.precision.precision import NodeTolerance, Precision, Reduced, Tolerance
from polyexport.model.contract import PRECISION_NAME, Contract
from polyexport.runtime.provider import all_providers

ROOT = Path(__file__).parents[3]

FAKE = '''
"""Precision fake: the fp32 graph under another name."""

from polyexport.export.precision import fp32
from polyexport.export.precision.precision import Precision, PrecisionFlag, QualityGate, Reduced


def _convert(conversion):
    conversion.report(f"fake: {len(conversion.fp32.graph.node)} nodes, flags {sorted(conversion.flags)}")
    assert len(conversion.calibration_feeds()) > 0
    assert conversion.headroom_db(conversion.fp32) > 0
    assert len(conversion.probe_feeds()) > 0
    return Reduced(model=conversion.fp32)


PRECISION = Precision(
    name="fake",
    description="floats of a test",
    provider="cpu",
    tolerance=fp32.PRECISION.tolerance,
    node_tolerance=fp32.PRECISION.node_tolerance,
    gate=QualityGate(psnr_to_fp32_db=99, psnr_loss_db=0.5, within_8_loss=0.0),
    convert=_convert,
    flags=(PrecisionFlag(name="louder", help="Say more about the fake graph."),),
)
'''

WITH_FAKE = """
import sys
import fake_precision
from polyexport.export.precision import PRECISIONS
PRECISIONS[fake_precision.PRECISION.name] = fake_precision.PRECISION
from polyexport.cli.main import main
main()
"""


def polyexport(folder: Path, *arguments: object) -> str:
    """Run the command line, with the fake precision's row in the registry, and return its stdout."""
    paths = os.pathsep.join((str(folder), str(ROOT)))
    done = subprocess.run(
        [sys.executable, "-c", WITH_FAKE, *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": paths, "NO_COLOR": "1", "COLUMNS": "300"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_a_precision_in_one_file_and_one_row_is_exported_inspected_and_run(
    tiny_checkpoint: Path, drawings: Path, tmp_path: Path
) -> None:
    (tmp_path / "fake_precision.py").write_text(FAKE)
    told = polyexport(tmp_path, "export", "--help")
    exported = polyexport(
        tmp_path, "export", tiny_checkpoint, "--precision", "fake", "--louder", "--min-speedup", 0, "-o", "fake.onnx"
    )
    verified = polyexport(tmp_path, "verify", "fake.onnx", "--provider", "cpu", "--against", tiny_checkpoint)
    # A machine without the fake precision runs the file all the same.
    plain = [sys.executable, "-m", "polyexport.cli.main"]
    shown = subprocess.run([*plain, "inspect", "fake.onnx", "--json"], cwd=tmp_path, capture_output=True, check=True)
    arguments = ["infer", str(drawings), "--color", "red", "-m", "fake.onnx", "-o", "out", "--provider", "cpu"]
    subprocess.run([*plain, *arguments], cwd=tmp_path, check=True)

    assert "<fp32|fp16|int8|fake>" in told
    assert "fake: floats of a test" in told
    assert "0.5 for fake" in told
    assert "--louder" in told
    assert "flags ['louder']" in exported
    assert "fidelity: 100.0 dB to fp32" in verified
    contract = json.loads(shown.stdout)["contract"]
    assert contract["precision"] == "fake"
    assert [stage["name"] for stage in contract["parity"]["stages"]] == ["raw", "simplified", "fake"]
    assert len(contract["fidelity"]) > 1
    assert len(list((tmp_path / "out" / "red").iterdir())) == 6


def test_every_row_is_under_its_own_well_formed_name() -> None:
    assert all(name == precision.name and PRECISION_NAME.fullmatch(name) for name, precision in PRECISIONS.items())
    default = Contract.__dataclass_fields__["precision"].default
    assert isinstance(default, str)
    assert PRECISIONS[default] is REFERENCE
    assert {precision.provider for precision in PRECISIONS.values()} <= {provider.name for provider in all_providers()}
    flags = [flag.name for precision in PRECISIONS.values() for flag in precision.flags]
    assert len(flags) == len(set(flags))
    assert all(flag.isidentifier() for flag in flags)


def test_all_but_the_reference_have_a_gate_and_a_conversion() -> None:
    assert [precision for precision in PRECISIONS.values() if precision.convert is None] == [REFERENCE]
    with pytest.raises(ValueError, match="belong together"):
        Precision(
            name="x",
            description="x",
            provider="cpu",
            tolerance=Tolerance(max_abs_diff=0, uint8_max_diff=0, uint8_equal=1, psnr_db=0),
            node_tolerance=NodeTolerance(relative_error=0, mean_levels=0),
            convert=lambda conversion: Reduced(model=conversion.fp32),
        )


def test_an_unknown_precision_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ModelError, match="precision 'x_4' is not known, expected fp32, fp16, int8; use the version"):
        precision_named("x_4")


NAMED_ELSEWHERE = {
    "fp16": {
        "bench/charts.py": "colors of a chart by precision",
        "export/source/onnx_network.py": "advises on files whose inputs are floats of 16 bits",
        "passport/tolerance.py": "rounding of a graph whose own floats have 16 bits, on every provider",
        "runtime/providers/cuda.py": "advises on the precisions that CUDA takes",
        "runtime/providers/tensorrt.py": "allows TensorRT to compute in the precision of the graph, and in no other",
    },
    "int8": {
        "bench/charts.py": "colors of a chart by precision",
        "bench/limit.py": "number formats of the multiplications that bench measures, and keys of its reports",
        "bench/run.py": "chooses the limit of a model by the number format that it multiplies in",
        "cli/train.py": "names the exports whose rounding a training can take part in",
        "export/graph/foreign.py": "type of a tensor",
        "export/graph/quantization.py": "NumPy's type",
        "export/source/onnx_file.py": "type of an input",
        "model/file.py": "name of a shipped model, beside its hash",
        "passport/difference.py": "type of a tensor",
        "passport/tolerance.py": "rounding of a graph whose own values have 8 bits, on every provider",
        "runtime/provider.py": "number formats of matrix multiplications, for the limits that bench measures",
        "runtime/providers/cpu.py": "number formats of its matrix multiplications, for the limits of bench",
        "runtime/providers/cuda.py": "advises on the precisions that CUDA takes",
        "runtime/providers/openvino.py": "refuses 8-bit weights that it would multiply as floats",
        "runtime/providers/tensorrt.py": "allows TensorRT to compute in the precision of the graph, and in no other",
        "runtime/providers/webgpu.py": "advises on the precisions that WebGPU takes",
    },
}
"""Files that name a precision although they are neither its own file nor the registry, with the reason."""


def test_a_reduced_precision_is_named_in_its_own_file_and_the_registry_alone() -> None:
    for name in set(PRECISIONS) - {REFERENCE.name}:  # all others are compared with the reference
        files = {
            str(file.relative_to(ROOT / "polyexport"))
            for file in (ROOT / "polyexport").rglob("*.py")
            if re.search(rf"\b{name}\b", file.read_text(encoding="utf-8"))
        }
        own = {f"export/precision/{name}.py", "export/precision/__init__.py"}
        assert files - own == set(NAMED_ELSEWHERE[name]), name


def test_the_registry_and_the_commands_load_no_heavy_library() -> None:
    code = (
        "import sys, polyexport.export.precision\n"
        "from polyexport.cli.app import make_app\n"
        "make_app()\n"
        "print({'torch', 'onnx', 'numpy', 'onnxruntime'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
