"""Every row of ``wants`` through the commands: export, verify, infer, serve, package, and the package's own script.

The rows of ``weight_layouts``, files of weights as they are shipped, go the same way after them. Run it as ``python
tests/networks/wants_chain.py [FOLDER] [NAME ...]``; it prints a table and ends with the number of rows that failed. It
takes many minutes, so it is no test; the rows are tested one by one in ``test_wants.py`` and ``test_layouts.py``.
"""

import io
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from PIL import Image

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import wanting  # noqa: E402
import weight_layouts as layouts  # noqa: E402
from wants import WANTS, Case, Want, picture, words_of  # noqa: E402

from polyexport.export.source.fit import fit_weights  # noqa: E402
from polyexport.export.source.weights import read_weights  # noqa: E402

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
    source = (f"wanting:{want.network}", "--weights", "w.safetensors", *size, *words_of(want))
    found = _through(folder, source, values)
    if isinstance(found, str):
        return found
    with torch.no_grad():
        expected = want.hand(Case(network=network, image=image, mask=mask))
    off = int(np.abs(expected.reshape(found.shape).astype(int) - found).max())
    return "" if off <= 1 else f"infer is {off} levels off"


def shipped(row: layouts.Row, folder: Path) -> str:
    """Run one file of weights; return what failed, or how far the result of `infer` is from the network's, in levels.

    The weights of such a file are all one, so the result is checked to be that of the module with these weights.
    """
    (folder / "in").mkdir(parents=True, exist_ok=True)
    image, _ = picture()
    Image.fromarray(image).save(folder / "in" / "one.png")
    layouts.save(row, folder / row.file)
    module = row.network().eval()
    fit_weights(module, read_weights(folder / row.file))
    (folder / "network.py").write_text(
        f"import weight_layouts\n\n\ndef make():\n"
        f"    return next(row for row in weight_layouts.TAKEN if row.name == {row.name!r}).network()\n"
    )
    size = ("--size", "32", "--size-multiple", "4", "--value-range", "0..1", "--output-range", "0..100")
    found = _through(folder, ("network:make", "--weights", row.file, *size), [])
    if isinstance(found, str):
        return found
    with torch.no_grad():
        result = module(torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)[None])
    expected = (result[0].permute(1, 2, 0) * 2.55).round().clamp(0, 255)
    off = int(np.abs(expected.numpy() - found).max())
    return "" if off <= 1 else f"infer is {off} levels off"


def _through(folder: Path, source: Sequence[str], values: Sequence[str]) -> np.ndarray | str:
    """Run the commands on a network; return the picture that `infer` made, or what failed."""
    steps = [
        ("export", *source, "-o", "m.onnx"),
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
    result = np.asarray(Image.open(found))
    if not np.array_equal(result, np.asarray(Image.open(own))):
        return "run.py gives other pixels than infer"
    try:
        answer = _served(folder, values)
    except urllib.error.HTTPError as error:
        return f"serve: {error.code} {error.read()[:300]!r}"
    if not np.array_equal(result, np.asarray(Image.open(io.BytesIO(answer)))):
        return "serve gives other pixels than infer"
    return result


def _served(folder: Path, values: Sequence[str]) -> bytes:
    """Start the service on the model, and return what it makes of the picture."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = (*PROGRAM, "serve", "-m", "m.onnx", "--port", str(port), "--provider", "cpu")
    address, boundary = f"http://127.0.0.1:{port}", uuid.uuid4().hex
    fields = {"image": (folder / "in" / "one.png").read_bytes()}
    for option, value in zip(values[::2], values[1::2], strict=True):
        name, _, content = value.partition("=") if option != "--color" else ("color", "", value)
        fields[name] = (folder / content).read_bytes() if option == "--with" else content.encode()
    body = b"".join(_part(boundary, name, content) for name, content in fields.items()) + f"--{boundary}--\r\n".encode()
    kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    with subprocess.Popen(words, cwd=folder, stderr=subprocess.DEVNULL, env=_ENVIRONMENT) as service:
        try:
            while True:
                try:
                    urllib.request.urlopen(f"{address}/health", timeout=30).close()
                    break
                except (ConnectionError, urllib.error.URLError):
                    if service.poll() is not None:
                        raise
                    time.sleep(0.05)
            with urllib.request.urlopen(urllib.request.Request(f"{address}/infer", body, kind), timeout=60) as answer:
                return bytes(answer.read())
        finally:
            service.terminate()


def _part(boundary: str, name: str, content: bytes) -> bytes:
    file = f'; filename="{name}.png"' if content[:4] == b"\x89PNG" else ""
    return f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + content + b"\r\n"


def _value(name: str, value: object) -> tuple[str, str]:
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return ("--color", text) if name == "color" else ("--set", f"{name}={text}")


def _run(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, env=_ENVIRONMENT)


if __name__ == "__main__":
    paths = os.pathsep.join(sys.path[:2])
    _ENVIRONMENT = os.environ | {"PYTHONPATH": paths, "NO_COLOR": "1"}
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="wants-"))
    failed = 0
    rows: list[Want | layouts.Row] = [*WANTS, *layouts.TAKEN]
    for number, row in enumerate(rows, 1):
        if len(sys.argv) > 2 and row.name not in sys.argv[2:]:
            continue
        folder = root / str(number)
        fault = chain(row, folder) if isinstance(row, Want) else shipped(row, folder)
        failed += bool(fault)
        print(f"{number:2}  {row.name:50}  {fault or 'as by hand'}", flush=True)  # noqa: T201 - a script
    sys.exit(failed)
