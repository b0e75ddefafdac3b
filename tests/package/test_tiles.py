"""The script of a package on images that are run in tiles."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from local_images import SIGMA, image_and_mask, record_shapes, whole_png
from version3_models import LOCAL_KINDS

from polyexport.errors import ExitCode
from polyexport.model.loading.load import load_model
from polyexport.package import runner
from polyexport.package.write import write_package

OUTPUT = Path("results", f"sigma={SIGMA}", "large.png")
Run = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The script of the package in this process, with an image and its mask."""
    monkeypatch.chdir(tmp_path)
    image, mask = image_and_mask(tmp_path)
    given = (str(image), "--set", f"sigma={SIGMA}", "--with", f"mask={mask}", "--overwrite")
    return lambda *options: runner.main(tmp_path / "package", [*given, *map(str, options)])


@pytest.mark.parametrize("kind", LOCAL_KINDS)
def test_tiles_give_the_bytes_of_the_whole_image(
    kind: str, version3_of: Callable[[str], Path], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_package(version3_of(kind), tmp_path / "package")
    model = load_model(version3_of(kind), provider="cpu")
    expected = whole_png(model, tmp_path / "large.png", tmp_path / "mask.png")
    shapes = record_shapes(monkeypatch)
    for options, most in (
        ((), 72),
        (("--tile", 32), 32),
        (("--tile", 40, "--overlap", 16), 40),
        (("--tile", "off"), 0),
    ):
        shapes.clear()
        assert run(*options) == 0
        assert (tmp_path / OUTPUT).read_bytes() == expected
        assert set(shapes) == ({(most, most)} if most else {(152, 204)})


def test_infer_and_the_script_alone_give_the_same(
    version3_of: Callable[[str], Path], run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_package(version3_of("local"), tmp_path / "package")
    options = ("--set", f"sigma={SIGMA}", "--with", "mask=mask.png", "--tile", "32", "--overlap", "4")
    script = [sys.executable, str(tmp_path / "package" / "run.py"), "large.png", *options, "-o", "alone"]
    infer = [
        sys.executable,
        "-m",
        "polyexport.cli.main",
        "infer",
        "large.png",
        "-o",
        "infer",
        "-m",
        "package/model.onnx",
    ]
    # Too small an overlap: the result depends on where the tiles are, and on how they are blended.
    subprocess.run(script, cwd=tmp_path, check=True)
    subprocess.run([*infer, *options, "--provider", "cpu"], cwd=tmp_path, check=True)
    assert run("--tile", 32, "--overlap", 4) == 0
    made = (tmp_path / OUTPUT).read_bytes()
    model = load_model(version3_of("local"), provider="cpu")
    assert made != whole_png(model, tmp_path / "large.png", tmp_path / "mask.png")
    for folder in ("alone", "infer"):
        (path,) = (tmp_path / folder).rglob("large.png")
        assert path.read_bytes() == made
    said = [line for line in capfd.readouterr().err.splitlines() if "differ from the whole image by" in line]
    assert len(said) == 3
    assert len(set(said)) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--overlap", 8), "--overlap was given without the side of the tiles"),
        (("--tile", "some"), "unknown tile 'some'; give auto, off or a number of pixels"),
        (("--tile", 32, "--overlap", -4), "an overlap must be a number of pixels"),
        (("--tile", 32, "--overlap", 32), "tiles of 32 pixels are not larger than the 32"),
        (("--tile", 30), "give --tile 28 or 32"),
        (("--tile", 32, "--size", "fit"), "add --size native"),
    ],
)
def test_tiles_that_cannot_be_are_refused(
    options: tuple[object, ...],
    said: str,
    version3_of: Callable[[str], Path],
    run: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_package(version3_of("local"), tmp_path / "package")
    assert run(*options) == ExitCode.USAGE
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert said in message
    assert message.count("\n") == 1
    assert not list(tmp_path.rglob("results/*"))
