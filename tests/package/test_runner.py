"""The script of a package, where polyexport is not installed."""

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import PIL
import pytest
from color_profiles import display_p3
from PIL import Image
from signing_keys import KeyPair

from polyexport.data.drawings import draw
from polyexport.errors import ExitCode
from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.pixels import read_image
from polyexport.model import contract
from polyexport.model.contract import Contract
from polyexport.model.golden import GoldenSample
from polyexport.model.loading.load import load_model
from polyexport.model.result import ResultFields
from polyexport.model.settings import parse_settings
from polyexport.model.signature import SigningKey, signature_path
from polyexport.package import runner
from polyexport.package.write import write_package
from polyexport.pipeline.decoding.pool import DecodingPool
from polyexport.pipeline.job import Job, run_job
from polyexport.pipeline.outputs.disk import OutputFolder
from polyexport.pipeline.plan import make_plan
from polyexport.storage.spelling import Spelling

ModelOf = Callable[[str], Path]
Package = Callable[..., Path]
Main = Callable[..., int]

# Isolated, with numpy, onnxruntime and pillow alone, and with no other polyexport than the package's own.
ALONE = """
import pathlib, runpy, sys
sys.path.append(sys.argv[1])
sys.argv = sys.argv[2:]
folder = pathlib.Path(sys.argv[0]).parent
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    ours = [module for name, module in sys.modules.items() if name.partition(".")[0] == "polyexport"]
    assert len(ours) > 10
    assert all(folder / "runtime_modules" in pathlib.Path(module.__file__).parents for module in ours)
"""


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages that the requirements of a package name, and nothing else."""
    folder = tmp_path_factory.mktemp("site")
    for name, module in (("numpy", np), ("pillow", PIL), ("onnxruntime", onnxruntime)):
        package = Path(str(module.__file__)).parent
        (folder / package.name).symlink_to(package)
        libraries = package.parent / f"{name}.libs"
        if libraries.exists():
            (folder / libraries.name).symlink_to(libraries)
    return folder


def alone_command(site: Path, script: Path, *arguments: object) -> list[str]:
    return [sys.executable, "-I", "-S", "-W", "error", "-c", ALONE, str(site), str(script), *map(str, arguments)]


@pytest.fixture
def main(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Main:
    """The command line of a package in this process, where that is no different and much quicker."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> int:
        return runner.main(tmp_path, [str(argument) for argument in arguments])

    return call


def drawing(path: Path, width: int, height: int, seed: int = 0) -> Path:
    pixels = draw(np.random.default_rng(seed), max(width, height, 16)).image[:height, :width]
    Image.fromarray(pixels).save(path)
    return path


def pixels_of(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def test_it_runs_alone(package: Package, model_of: ModelOf, site: Path, tmp_path: Path) -> None:
    folder = package()
    inputs = [drawing(tmp_path / "a.png", 32, 32), drawing(tmp_path / "b.bmp", 90, 61), tmp_path / "broken.png"]
    inputs[2].write_bytes(b"broken")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    command = alone_command(site, folder / "run.py", *inputs, "--color", "red", "--color", "#1e90ff", "-o", "out")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == ExitCode.SOME_FAILED, done.stderr
    assert re.fullmatch(r"failed: \S+broken\.png: no image of a known format; [^\n]*\n", done.stderr)
    assert done.stdout == "3 images: 2 ok, 1 failed; written to out\n"
    expected = load_model(model_of("rgb"), provider="cpu").colorize(inputs[:2], ["red", "#1e90ff"])
    for name, colored in zip(("a.png", "b.png"), expected, strict=True):
        for color, one in zip(("red", "1e90ff"), colored, strict=True):
            assert (tmp_path / "out" / color / name).read_bytes() == encode_png(one)
    assert len(list((tmp_path / "out").rglob("*.*"))) == 4
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_model_of_fills_needs_opencv_and_makes_what_infer_makes(
    model_of: ModelOf, main: Main, site: Path, tmp_path: Path
) -> None:
    model = onnx.load(model_of("rgb"))
    fill = replace(Contract.from_json(model.metadata_props[0].value), result=ResultFields(kind="fill"))
    onnx.helper.set_model_props(model, {contract.METADATA_KEY: fill.to_json()})
    (tmp_path / "fill.onnx").write_bytes(model.SerializeToString())
    write_package(tmp_path / "fill.onnx", tmp_path / "package")
    assert "opencv-python-headless>=" in (tmp_path / "package" / "requirements.txt").read_text()
    image = drawing(tmp_path / "a.png", 90, 61)
    command = (image, "--color", "red", "--model", tmp_path / "package" / "model.onnx")
    assert main(*command) == 0
    [[expected]] = load_model(tmp_path / "fill.onnx", provider="cpu").colorize([image], ["red"])
    assert np.array_equal(pixels_of(tmp_path / "colored" / "red" / "a.png"), expected)

    command = alone_command(site, tmp_path / "package" / "run.py", image, "--color", "red", "-o", "out")  # type: ignore[assignment]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (
        ExitCode.USAGE,
        "error: cv2 cannot be imported; pip install -r requirements.txt\n",
    )
    assert not list((tmp_path / "out").rglob("*.png"))


def test_a_signature_is_required_on_demand(
    package: Package, main: Main, keys: KeyPair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = package() / "model.onnx"
    command = (drawing(tmp_path / "a.png", 32, 32), "--color", "red", "--model", model)
    assert main(*command, "--require-signature", keys.public, "-o", "unsigned") == ExitCode.MODEL_REFUSED
    assert "model.onnx.sig cannot be read" in refusal(capsys)
    signature_path(model).write_bytes(SigningKey.read(keys.private, str).sign(model.read_bytes(), name="m"))
    assert main(*command, "--require-signature", keys.public, "-o", "signed") == 0
    assert (tmp_path / "signed" / "red" / "a.png").exists()


def test_the_readmes_lines_run(package: Package, tmp_path: Path) -> None:
    folder = package("vocabulary")
    (block,) = re.findall(r"```sh\n(.*?)\n```", (folder / "README.md").read_text(), re.DOTALL)
    check, install, line = block.splitlines()
    assert install == "pip install -r requirements.txt"
    subprocess.run(check, shell=True, check=True, cwd=folder, capture_output=True)
    subprocess.run(line.replace("python", sys.executable, 1), shell=True, check=True, cwd=folder, capture_output=True)
    (shown,) = re.findall(r"The output is `(.*?)`", (folder / "README.md").read_text())
    assert (folder / shown).exists()


def test_it_imports_what_the_requirements_name(package: Package) -> None:
    distributions = {"numpy": "numpy", "onnxruntime": "onnxruntime", "PIL": "pillow"}
    of_fills = {"cv2"}  # imported when a fill is drawn
    named = set()
    folder = package("vocabulary")
    for file in [folder / "run.py", *(folder / "runtime_modules").rglob("*.py")]:
        for node in ast.parse(file.read_bytes()).body:  # what a function imports is optional
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or "."] if isinstance(node, ast.ImportFrom) else []
            named |= {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"polyexport"} - of_fills
    required = {line.partition(">=")[0] for line in (folder / "requirements.txt").read_text().splitlines()}
    assert {distributions[name] for name in named} == {line for line in required if not line.startswith("#")}


def test_without_its_packages_it_says_so(package: Package) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", package() / "run.py", "a.png", "--color", "red"], capture_output=True, text=True
    )
    assert done.returncode == ExitCode.FATAL
    assert done.stderr == "error: numpy cannot be imported; pip install -r requirements.txt\n"


def test_help_says_what_its_options_do(package: Package) -> None:
    done = subprocess.run([sys.executable, package() / "run.py", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    for said in ("usage: run.py", "--provider {cpu,cuda}", "default: the model of this package"):
        assert said in " ".join(done.stdout.split())


@pytest.fixture(scope="module")
def decoders() -> Iterator[DecodingPool]:
    with DecodingPool(jobs=1) as processes:
        yield processes


@pytest.mark.parametrize(
    ("kind", "colors"),
    [
        ("rgb", ["red", "0a14c8", "hsl(32, 100%, 50%)"]),
        ("rgb fixed", ["tomato"]),
        ("rgb many", ["red", "blue", "#123"]),
        ("vocabulary", ["lime", "#ff0000"]),
        ("vocabulary many", ["#00ff00", "rgb(10 20 200)"]),
        ("table", ["red", "lime", "#0a14c8"]),
        ("encoder", ["red", "white"]),
        ("encoder many", ["red", "white", "black"]),
    ],
)
def test_the_same_pixels_as_polyexport_infer(
    kind: str,
    colors: list[str],
    package: Package,
    model_of: ModelOf,
    decoders: DecodingPool,
    main: Main,
    tmp_path: Path,
) -> None:
    inputs = [
        drawing(tmp_path / f"{width}x{height}.png", width, height, seed)
        for seed, (width, height) in enumerate([(32, 32), (20, 31), (100, 40), (33, 32), (1, 90), (1, 1)])
    ]
    wide = np.random.default_rng(7).integers(0, 256, (32, 32, 3), np.uint8)
    inputs.append(tmp_path / "wide.png")
    Image.fromarray(wide).save(inputs[-1], icc_profile=display_p3())
    loaded = load_model(model_of(kind), provider="cpu")
    settings = parse_settings(loaded.conditions, colors=colors)
    job = Job(plan=make_plan(inputs, settings, output=tmp_path / "infer"))
    assert isinstance(job.plan.output, Path)
    with OutputFolder(job.plan.output) as folder:
        run_job(job, lambda threads, streams, images: loaded, folder=folder, decoding_pool=decoders)
    options = [f"--color={color}" for color in colors]

    assert main(*inputs, *options, "--model", package(kind) / "model.onnx", "-o", "alone") == 0
    expected = {path.relative_to(tmp_path / "infer"): path for path in (tmp_path / "infer").rglob("*.png")}
    found = {path.relative_to(tmp_path / "alone"): path for path in (tmp_path / "alone").rglob("*.png")}
    assert set(found) == set(expected)
    assert len(found) == len(inputs) * len(colors)
    for name, path in expected.items():
        assert np.array_equal(read_image(path).pixels, read_image(found[name]).pixels), name
        # An input with a profile has an output of infer that says it is sRGB.
        assert (path.read_bytes() == found[name].read_bytes()) == (name.name != "wide.png"), name


def test_the_shipped_model_too(shipped_path: Path, main: Main, tmp_path: Path) -> None:
    from polyexport.package.write import write_package

    write_package(shipped_path, tmp_path / "package")
    inputs = [drawing(tmp_path / "a.png", 128, 128, 3), drawing(tmp_path / "b.png", 200, 150, 4)]
    assert main(*inputs, "--color", "teal", "--model", tmp_path / "package" / "model.onnx", "-o", "out") == 0
    expected = load_model(shipped_path, provider="cpu").colorize(inputs, ["teal"])
    for path, [colored] in zip(inputs, expected, strict=True):
        difference = np.abs(pixels_of(tmp_path / "out" / "teal" / path.name).astype(int) - colored)
        assert difference.max() <= 1  # other numbers of threads may add in another order
        assert (difference == 0).mean() > 0.999


def test_names_of_a_palette_that_are_no_css_names(
    package: Package, main: Main, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    source, path = drawing(tmp_path / "a.png", 32, 32), package("vocabulary") / "model.onnx"
    assert main(source, "--color", "house blue", "--model", path, "-o", "out") == 0
    assert (tmp_path / "out" / "0a14c8" / "a.png").exists()
    assert main(source, "--color", "navy", "--model", path) == ExitCode.USAGE
    assert capsys.readouterr().err == (
        "error: color navy is not one of this model's 3; the nearest are house blue, red, lime\n"
    )


def test_a_model_that_takes_vectors_alone(
    package: Package, main: Main, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    source = drawing(tmp_path / "a.png", 32, 32)
    assert main(source, "--color", "red", "--model", package("vectors") / "model.onnx") == ExitCode.USAGE
    assert "takes embeddings" in capsys.readouterr().err


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr, which has a remedy."""
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("error: ")
    assert "; " in line
    return line


def test_a_tampered_package_is_refused(
    package: Package, main: Main, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder, source = package(), drawing(tmp_path / "a.png", 32, 32)
    path, manifest = folder / "model.onnx", folder / "SHA256SUMS"
    data, listed = path.read_bytes(), manifest.read_text()
    command = (source, "--color", "red", "--model", path, "-o", "out")

    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    path.write_bytes(flipped)
    assert main(*command) == ExitCode.MODEL_REFUSED
    assert re.search(r"model\.onnx has SHA-256 \w{12}\.\.\., .*SHA256SUMS has \w{12}\.\.\.", refusal(capsys))
    path.write_bytes(data)
    for wrong, said in ((b"", "no entry"), (listed.upper().encode(), "no entry"), (b"\xff\0  model.onnx", "xff")):
        manifest.write_bytes(wrong)
        assert main(*command) == ExitCode.MODEL_REFUSED
        assert said in refusal(capsys)
    manifest.unlink()
    assert main(*command) == ExitCode.MODEL_REFUSED
    assert "SHA256SUMS cannot be read (No such file or directory)" in refusal(capsys)
    path.unlink()
    assert main(*command) == ExitCode.MODEL_REFUSED
    assert not list((tmp_path / "out").iterdir())


def test_a_model_that_is_not_what_its_contract_says_is_refused(
    build_model: Callable[..., bytes],
    main: Main,
    capsys: pytest.CaptureFixture[str],
    relu_model: object,
    tmp_path: Path,
) -> None:
    import hashlib

    good = build_model("rgb")
    black = json.loads(contract_text(good))["golden"]["image_png"]
    golden = GoldenSample(image_png=black, values=((0, 0, 0),), result_png=black)
    for data, said in (
        (build_model("rgb", golden=golden), "golden sample comes out"),
        (build_model("rgb", training_size=1024, fixed_size=True), ""),
        (good.replace(b'"contract_version": 2', b'"contract_version": 4'), "contract version 4, expected 2 or 3"),
        (good.replace(b"polyexport.contract", b"polyexport.contraxt"), "metadata has no polyexport.contract"),
        (good.replace(b'"many_colors"', b'"many_colorz"'), "many_colors"),
        (good.replace(b"contract_version", b"[[[[[[[[[[[[[[[["), ""),
        (good[: len(good) // 2], "not a whole ONNX model"),
        (good + b"\xa2\x06\x09\x08location", "other files"),
        (relu_model.SerializeToString(), "metadata has no polyexport.contract"),  # type: ignore[attr-defined]
    ):
        (tmp_path / "model.onnx").write_bytes(data)
        (tmp_path / "SHA256SUMS").write_text(f"{hashlib.sha256(data).hexdigest()}  model.onnx\n")
        code = main("a.png", "--color", "red", "--model", tmp_path / "model.onnx")
        if said:
            assert code == ExitCode.MODEL_REFUSED
            assert said in refusal(capsys)
        else:  # refused, or harmless
            assert code in (ExitCode.MODEL_REFUSED, ExitCode.SOME_FAILED)
            capsys.readouterr()


def contract_text(data: bytes) -> str:
    import onnxruntime as ort

    return str(ort.InferenceSession(data).get_modelmeta().custom_metadata_map[contract.METADATA_KEY])


def test_usage(package: Package, main: Main, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    source, path = drawing(tmp_path / "a.png", 32, 32), package() / "model.onnx"
    for arguments, said in (
        ((), "required"),
        ((source, "--model", path), "no color was given; the model takes color (any); give --color"),
        ((source, "--set", "sigma=1", "--model", path), "no condition 'sigma'"),
        ((source, "--color", "reddish", "--model", path), "unknown color 'reddish'"),
        ((source, "--color", "red", "--provider", "gpu"), "invalid choice"),
        ((source, "--color", "red", "--threads", "-1"), "threads must be"),
        ((source, "--col", "red"), "--col"),
    ):
        assert main(*arguments) == ExitCode.USAGE
        assert said in refusal(capsys)


def test_images_with_one_output_fail_alone(
    package: Package, main: Main, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_path = package() / "model.onnx"
    (tmp_path / "other").mkdir()
    inputs = [drawing(tmp_path / name, 32, 32) for name in ("a.png", "other/a.png", "b.png", "other/B.png", "c.png")]
    arguments = (*inputs, "--color", "red", "--model", model_path, "-o")
    assert main(*arguments, "out") == ExitCode.SOME_FAILED
    assert {path.name for path in (tmp_path / "out" / "red").iterdir()} == {"b.png", "B.png", "c.png"}
    said = capsys.readouterr()
    assert said.out == "5 images: 3 ok, 2 failed; written to out\n"
    assert said.err.count("its output a.png is that of") == 2

    monkeypatch.setattr(runner, "probe_spelling", lambda path: Spelling(ignores_case=True))
    assert main(*arguments, "folded") == ExitCode.SOME_FAILED
    assert {path.name for path in (tmp_path / "folded" / "red").iterdir()} == {"c.png"}


def test_names_of_outputs(package: Package, main: Main, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    model_path = package() / "model.onnx"
    inputs = [drawing(tmp_path / name, 32, 32) for name in ("a.png", "a.jpg", "b.bmp", "line\nbreak.png")]
    assert main(*inputs, inputs[0], "--color", "red", "--color", "RED", "--model", model_path, "-o", "out") == 0
    names = {"a.png", "a.jpg.png", "b.png", "line\nbreak.png"}
    assert {path.name for path in (tmp_path / "out" / "red").iterdir()} == names
    assert capsys.readouterr().out == "4 images: 4 ok, 0 failed; written to out\n"

    command = (inputs[0], "--color", "red", "--model", model_path)
    assert main(*command, "-o", "out") == ExitCode.USAGE
    assert "--overwrite" in refusal(capsys)
    assert main(*command, "-o", "out", "--overwrite") == 0
    (tmp_path / "in" / "red").mkdir(parents=True)
    inside = drawing(tmp_path / "in" / "red" / "a.png", 32, 32)
    before = inside.read_bytes()
    assert main(inside, "--color", "red", "--model", model_path, "-o", "in", "--overwrite") == ExitCode.USAGE
    assert inside.read_bytes() == before


def test_every_bad_input_fails_alone(
    package: Package, main: Main, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "folder.png").mkdir()
    long = tmp_path / f"{'x' * 251}.bmp"
    bad = [tmp_path / name for name in ("fifo.png", "folder.png", "missing.png", "line\nbreak.png")]
    good = drawing(tmp_path / "good.png", 32, 32)
    drawing(long, 32, 32)
    code = main(*bad, long, good, "--color", "red", "--model", package() / "model.onnx", "-o", "out")

    captured = capsys.readouterr()
    assert code == ExitCode.SOME_FAILED
    assert captured.out == "6 images: 2 ok, 4 failed; written to out\n"
    for said in ("not a regular file", "No such file or directory", "line\\nbreak.png: cannot be read (No such"):
        assert said in captured.err
    assert len(captured.err.splitlines()) == 4
    assert {path.name for path in (tmp_path / "out" / "red").iterdir()} == {"good.png", f"{'x' * 251}.png"}


def test_a_link_at_an_output_is_replaced(package: Package, main: Main, tmp_path: Path) -> None:
    source = drawing(tmp_path / "a.png", 32, 32)
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "out" / "red").mkdir(parents=True)
    (tmp_path / "out" / "red" / "a.png").symlink_to(tmp_path / "mine")
    command = (source, "--color", "red", "--model", package() / "model.onnx", "-o", "out")
    assert main(*command) == ExitCode.USAGE
    assert main(*command, "--overwrite") == 0
    assert (tmp_path / "mine").read_text() == "mine"
    assert not (tmp_path / "out" / "red" / "a.png").is_symlink()


@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_disk_that_fills_up(
    call: int,
    package: Package,
    main: Main,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    inputs = [drawing(tmp_path / f"{i}.png", 32, 32) for i in range(3)]
    model_path = package() / "model.onnx"
    real, calls = os.fsync, 0

    def fsync(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise OSError(28, "No space left on device")
        real(descriptor)

    command = (*inputs, "--color", "red", "--model", model_path, "-o", "out")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        assert main(*command) == ExitCode.OUTPUT_UNUSABLE
    assert "No space left on device" in refusal(capsys)
    written = sorted(path.name for path in (tmp_path / "out").rglob("*.*"))
    assert written == [f"{i}.png" for i in range(call - 2)]  # the first call is the probe's
    assert main(*command, "--overwrite") == 0


def test_cuda_that_is_not_there_is_no_silent_fallback(
    package: Package, main: Main, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from polyexport.runtime.probe import probe_provider

    source = drawing(tmp_path / "a.png", 32, 32)
    code = main(source, "--color", "red", "--model", package() / "model.onnx", "--provider", "cuda")
    if not probe_provider("cuda").works:
        assert code == ExitCode.PROVIDER_UNAVAILABLE
        assert "pip install 'onnxruntime-gpu[cuda,cudnn]'" in refusal(capfd)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals(number: signal.Signals, code: int, package: Package, tmp_path: Path) -> None:
    inputs = [tmp_path / f"{i}.png" for i in range(400)]
    Image.new("RGB", (1500, 1500), "white").save(inputs[0])
    for path in inputs[1:]:
        shutil.copy(inputs[0], path)
    command: list[str | Path] = [sys.executable, "-I", package() / "run.py", *inputs]
    command += ["--color", "red", "-o", tmp_path / "out"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not list(tmp_path.glob("out/red/*.png")):
            time.sleep(0.02)
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert "Traceback" not in err
    outputs = list((tmp_path / "out" / "red").iterdir())
    assert 0 < len(outputs) < 400
    assert all(path.suffix == ".png" for path in outputs)


def test_a_closed_stdout_does_not_stop_it(package: Package, tmp_path: Path) -> None:
    source, script = drawing(tmp_path / "a.png", 32, 32), package() / "run.py"
    for number, redirection in enumerate((">&-", "> /dev/full", "2>&-")):
        line = f'"{sys.executable}" -I "{script}" "{source}" --color red -o "{tmp_path}/{number}" {redirection}'
        assert subprocess.run(line, shell=True, stderr=subprocess.PIPE).returncode == 0
        assert (tmp_path / str(number) / "red" / "a.png").exists()
