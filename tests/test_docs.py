"""Every command of the documentation runs, in the order in which it is shown."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from signing_keys import KeyPair
from version3_models import version3_bytes

from polyexport.data.drawings import draw
from polyexport.errors import ExitCode
from polyexport.imaging.codecs.png import encode_png
from polyexport.model.contract import Contract

ROOT = Path(__file__).parents[1]
# Their commands need a device, a cluster or a store, or serve for ever; they have tests of their own.
ELSEWHERE = frozenset(("docs/demo.md", "docs/providers.md", "docs/ray.md", "docs/serve.md"))
PAGES = [
    "README.md",
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md") if "decisions" not in path.parts),
]


def commands(page: str) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [line for line in lines if re.search(r"(^|\| )polyexport ", line)]


_NET = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 24, 3, padding=1), nn.ReLU(),
                                  nn.Conv2d(24, 3, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.clamp(x + 0.2 * self.body(x), 0, 1)


def save() -> None:
    net = Net().eval()
    torch.save(net.state_dict(), "net.pth")
    torch.onnx.export(net, (torch.zeros(1, 3, 32, 32),), "model.onnx", dynamo=False, input_names=["x"],
                      dynamic_axes={"x": {0: "n", 2: "h", 3: "w"}})
"""


@pytest.fixture(scope="module")
def prepared(
    program: str, tiny_checkpoint: Path, tiny_model_path: Path, keys: KeyPair, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with everything that the pages name."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "drawing.png").write_bytes(encode_png(draw(np.random.default_rng(0), 100).image))
    (folder / "stamp").touch()
    os.utime(folder / "stamp", (0, 0))
    (folder / "colors.csv").write_text("image,color\ndrawings/0.png,red\ndrawings/1.png,#00ff00\n")
    (folder / "scans" / "a").mkdir(parents=True)
    Image.open(folder / "drawing.png").save(folder / "scans" / "a" / "page.jpg")
    for name in ("small.onnx", "small-int8.onnx"):
        shutil.copy(ROOT / "artifacts" / name, folder)
    for name, kind in (("upscaler", "x2"), ("denoiser", "number"), ("inpainter", "mask in")):
        (folder / f"{name}.onnx").write_bytes(version3_bytes(kind))
    for pictures in ("drawings", "photos", "masks"):
        (folder / pictures).mkdir()
        for number in range(6):
            (folder / pictures / f"{number}.png").write_bytes(encode_png(draw(np.random.default_rng(number), 64).image))
    for name in ("artifacts", "benchmarks"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "runs").mkdir()
    shutil.copy(tiny_checkpoint, folder / "runs" / "mine.safetensors")
    shutil.copy(tiny_model_path, folder / "runs" / "mine.onnx")
    shutil.copy(tiny_checkpoint, folder / "tiny.safetensors")
    shutil.copy(keys.private, folder / "signing.pem")
    shutil.copy(keys.public, folder / "signing.pub")
    (folder / "models").mkdir()
    code = (ROOT / "tests" / "networks" / "seed_style.py").read_text()
    small = "\n\nclass UNet(SeedUNet):\n    def __init__(self, num_colors: int = 20) -> None:\n"
    small += "        super().__init__(num_colors, base=2)\n"
    (folder / "models" / "unet.py").write_text(code + small)
    (folder / "models" / "net.py").write_text(_NET)
    (folder / "pictures").mkdir()
    for number in range(16):
        picture = draw(np.random.default_rng(number), 48).colored
        (folder / "pictures" / f"{number}.png").write_bytes(encode_png(picture))
    save = "import pathlib, models.net, models.unet; models.net.save(); "
    save += "models.unet.save_seed(pathlib.Path('best.pth'), base=2)"
    subprocess.run([sys.executable, "-c", save], cwd=folder, check=True)
    subprocess.run([program, "dataset", "DIR", "--count", "8", "-q"], cwd=folder, check=True)
    return folder


@pytest.fixture
def desk(program: str, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with everything that the pages name."""
    shutil.copytree(prepared, tmp_path, symlinks=True, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    # With the Python of the tests, which has what the pages' own programs import.
    places = [Path(program).parent, Path(sys.executable).parent, os.environ["PATH"]]
    monkeypatch.setenv("PATH", os.pathsep.join(map(str, places)))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    return tmp_path


_FEW = "--initial tiny.safetensors --validate-every 2 --batch-size 2 --workers 0"


def quickened(line: str) -> str:
    """The same command, on less."""
    line = line.split("  #", maxsplit=1)[0].rstrip()
    line = re.sub(r"--minutes \d+", f"--steps {4 if '--resume' in line else 2} {_FEW}", line)
    line = re.sub(r"--split all --count \d+", "--split all --count 1", line)
    if "--precision" in line:
        line += " --min-speedup 0"
    if "polyexport bench" in line:
        line += " --seconds 0.05 --processes 3 --size 64 --probe-seconds 1"
        line += "" if "openvino" in line else " --provider cpu"
    if "polyexport infer" in line and " -o " not in line and " - " not in line:
        line += " --overwrite"
    return line


class Done:
    """Commands that a page before has shown, and what they made: they need not be run again for the pages behind it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[str, tuple[Path, list[str]]] = {}

    def repeat(self, line: str) -> bool:
        """Put what a command made into the working folder; False if no page has shown it."""
        if line not in self._made:
            return False
        copies, names = self._made[line]
        for name in names:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(copies / name, name)
        return True

    def keep(self, line: str, before: dict[str, int]) -> None:
        """Remember a command, and the files that are not as they were before it."""
        copies = self._folder / str(len(self._made))
        names = [name for name, time in files().items() if before.get(name) != time]
        for name in names:
            (copies / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(name, copies / name)
        self._made[line] = copies, names


def files() -> dict[str, int]:
    """Of the working folder, with their times."""
    return {str(path): path.stat().st_mtime_ns for path in Path().rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def done_before(tmp_path_factory: pytest.TempPathFactory) -> Done:
    return Done(tmp_path_factory.mktemp("done"))


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if commands(page) and page not in ELSEWHERE])
def test_every_command_of_a_page(page: str, desk: Path, tiny_checkpoint: Path, done_before: Done) -> None:
    if any("polyexport train" in line for line in commands(page)):
        Path("runs/mine.safetensors").unlink()
    if any("polyexport export runs" in line for line in commands(page)):
        Path("runs/mine.onnx").unlink()
    trained = False
    for line in commands(page):
        if trained and "polyexport train" not in line:
            shutil.copy(tiny_checkpoint, "runs/mine.safetensors")  # whose proof takes seconds, not minutes
        trained = "polyexport train" in line
        if done_before.repeat(quickened(line)):
            continue
        before = files()
        done = subprocess.run(quickened(line), shell=True, capture_output=True, text=True, executable="/bin/bash")
        # No test is timed: a busy machine gives no figure, and finds nothing to compare with.
        busy = {ExitCode.TARGET_MISSED, ExitCode.USAGE} if "polyexport bench" in line else set()
        assert done.returncode in {ExitCode.OK, *busy}, f"{line}: {done.stderr[-800:]}"
        assert done.returncode != ExitCode.USAGE or "no stable measurement" in done.stderr, f"{line}: {done.stderr}"
        done_before.keep(quickened(line), before)


@pytest.mark.slow
def test_what_the_readme_promises_is_there(desk: Path) -> None:
    for line in [line for line in commands("README.md") if "polyexport infer drawings/" in line][:2]:
        subprocess.run(quickened(line), shell=True, check=True, executable="/bin/bash")
    assert len(os.listdir("drawings-colored/red")) == 6
    assert sorted(os.listdir("out")) == [".polyexport", "1e90ff", "tomato"]


def test_the_reference_is_the_programs() -> None:
    code = "import runpy; print(runpy.run_path('docs/reference.py')['reference'](), end='')"
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert (ROOT / "docs" / "cli.md").read_text() == told, "run python docs/reference.py"


def test_the_contract_is_the_codes() -> None:
    text = (ROOT / "docs" / "contract.md").read_text()
    (table,) = re.findall(r"\| field \| what it holds \|\n(.*?)\n\n", text, flags=re.DOTALL)
    named = {name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named == {field.name for field in fields(Contract)}


@pytest.mark.slow
def test_the_contracts_example_runs(desk: Path) -> None:
    names: dict[str, np.ndarray] = {}
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "contract.md").read_text(), flags=re.DOTALL)
    exec(code, names)
    assert names["colored"].shape == (1, 128, 128, 3)


@pytest.mark.parametrize("page", PAGES)
def test_every_file_it_points_to_is_there(page: str) -> None:
    path = ROOT / page
    for target in re.findall(r"\]\(([^)#]+)", path.read_text()):
        assert target.startswith("http") or (path.parent / target).exists(), target
