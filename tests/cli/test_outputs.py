"""Outputs that are no place to write to: every command says so in one line, before its work, and changes nothing."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from polyexport.cli.app import make_app
from polyexport.errors import ExitCode, OutputError

HERE = Path(__file__).parents[1] / "files_of_0_1_0"
MODEL = HERE / "rgb.onnx"

FILES: dict[str, tuple[object, ...]] = {
    "export -o x.onnx": ("export", HERE / "rgb.safetensors"),
    "train -o x.safetensors": ("train", "--size", 64, "--steps", 1, "--workers", 0),
    "bench -o x.json": ("bench", "latency", "-m", MODEL, "--provider", "cpu"),
    "bench --report x.html": ("bench", "latency", "-m", MODEL, "--provider", "cpu"),
    "evaluate --report x.html": ("evaluate", MODEL, HERE / "set", "--provider", "cpu"),
    "evaluate --contact-sheet x.png": ("evaluate", MODEL, HERE / "set", "--provider", "cpu"),
    "infer --contact-sheet x.png": ("infer", HERE / "inputs", "-m", MODEL, "-c", "red", "-o", "out"),
}
FOLDERS: dict[str, tuple[object, ...]] = {
    "package -o x": ("package", MODEL),
    "infer -o x": ("infer", HERE / "inputs", "-m", MODEL, "-c", "red"),
    "demo --export x": ("demo", "-m", MODEL),
    "dataset x": ("dataset", "--count", 1, "--size", 16),
}


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., OutputError]:
    def run(*arguments: object) -> OutputError:
        monkeypatch.chdir(tmp_path)
        result = CliRunner().invoke(make_app(loaded=[str(arguments[0])]), list(map(str, arguments)))
        assert isinstance(result.exception, OutputError), (result.exception, result.output)
        assert result.exception.exit_code == ExitCode.OUTPUT_UNUSABLE
        assert "\n" not in str(result.exception)
        return result.exception

    return run


def occupy(path: Path, kind: str) -> Path:
    """Put something at a path where only a file or a folder can be written."""
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "link":
            path.with_name("precious").write_bytes(b"mine")
            path.symlink_to("precious")
        case "dangling link":
            path.symlink_to("nowhere")
        case "device":
            if os.geteuid() != 0:
                pytest.skip("only root makes devices")
            os.mknod(path, 0o20666, os.makedev(1, 3))
        case "file in its path":
            path.write_bytes(b"mine")
            return path / path.name
        case _:
            return Path("/proc/polyexport") / path.name  # nobody, not even root, makes anything there
    return path


def found(folder: Path) -> dict[str, tuple[int, ...]]:
    """Everything in a folder but the outputs of `infer`, so that a file that was replaced or changed is another."""
    stats = {path.name: path.lstat() for path in folder.iterdir() if path.name != "out"}
    return {name: (stat.st_mode, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}


KINDS = ("pipe", "link", "dangling link", "device", "file in its path", "folder that nobody can write")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", [*FILES, *FOLDERS])
def test_an_output_that_cannot_be_written(
    where: str, kind: str, tmp_path: Path, refused: Callable[..., OutputError]
) -> None:
    *_, option, name = ("", *where.split()[1:])
    output = occupy(tmp_path / name, kind)
    before = found(tmp_path)
    arguments = (FILES | FOLDERS)[where]
    refused(arguments[0], *([option] if option else []), output, *arguments[1:])
    assert found(tmp_path) == before
