"""Every row of ``wants`` through the commands: export, verify, infer, package, and the package's own script.

Run it as ``python tests/networks/wants_chain.py [FOLDER] [NAME ...]``; it prints a table and ends with the number of
rows that failed. It takes minutes, so it is no test; the rows are tested one by one in ``test_wants.py``.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from PIL import Image

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import wanting  # noqa: E402
from wants import WANTS, Case, Want, picture, words_of  # noqa: E402

PROGRAM = (sys.executable, "-m", "polyexport.cli.main")


def chain(want: Want, folder: Path) -> str:
    """Run one row; return what failed, or how far the result of `infer` is from the network's, in levels."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(2)
    network = getattr(wanting, want.network)(**want.arguments).eval()
    safetensors.torch.save_file(network.state_dict(), folder / "w.safetensors")
    image, mask = picture()
    (folder / "in").mkdir(exist_ok=True)
    given = np.concatenate([image, mask], 2) if want.of_image == 4 else image
    Image.fromarray(given).save(folder / "in" / "one.png")
    values = [word for name, value in want.values.items() for word in _value(name, value)]
    for name in want.masks:
        second = mask[..., 0] if name == "mask" else image[::-1]
        Image.fromarray(np.ascontiguousarray(second)).save(folder / f"{name}.png")
        values += ["--with", f"{name}={name}.png"]
    size = [] if "size" in want.said else ["--size", "32", "--size-multiple", "4"]
    steps = [
        ("export", f"wanting:{want.network}", "--weights", "w.safetensors", "-o", "m.onnx", *size, *words_of(want)),
        ("verify", "m.onnx", "--provider", "cpu"),
        ("infer", "in", "-m", "m.onnx", "-o", "out", "--provider", "cpu", *values),
        ("package", "m.onnx", "-o", "packed"),
    ]
    for step in steps:
        done = _run(*PROGRAM, *step, folder=folder)
        if done.returncode:
            return f"{step[0]}: {done.stderr.strip().splitlines()[-1]}"
    done = _run(sys.executable, "packed/run.py", "in/one.png", "-o", "own", *values, folder=folder)
    if done.returncode:
        return f"run.py: {done.stderr.strip().splitlines()[-1]}"
    found, own = (min((folder / name).rglob("*.png")) for name in ("out", "own"))
    with torch.no_grad():
        expected = want.hand(Case(network=network, image=image, mask=mask))
    result = np.asarray(Image.open(found))
    if not np.array_equal(result, np.asarray(Image.open(own))):
        return "run.py gives other pixels than infer"
    off = int(np.abs(expected.reshape(result.shape).astype(int) - result).max())
    return "" if off <= 1 else f"infer is {off} levels off"


def _value(name: str, value: object) -> tuple[str, str]:
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return ("--color", text) if name == "color" else ("--set", f"{name}={text}")


def _run(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, env=_ENVIRONMENT)


if __name__ == "__main__":
    import os

    paths = os.pathsep.join([str(HERE.parents[1]), str(HERE)])
    _ENVIRONMENT = os.environ | {"PYTHONPATH": paths, "NO_COLOR": "1"}
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="wants-"))
    failed = 0
    for number, row in enumerate(WANTS):
        if len(sys.argv) > 2 and row.name not in sys.argv[2:]:
            continue
        fault = chain(row, root / str(number))
        failed += bool(fault)
        print(f"{number + 1:2}  {row.name:50}  {fault or 'as by hand'}", flush=True)  # noqa: T201 - a script
    sys.exit(failed)
