"""A pipe that nobody writes to is refused at once in every place where a file is opened. Reading it waits for ever."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from polyexport.bench.document import read_report
from polyexport.data.pairs import read_pairs
from polyexport.errors import PolyexportError
from polyexport.export.source.toml_file import read_spec
from polyexport.export.source.weights import read_weights
from polyexport.imaging.pixels import read_image
from polyexport.model.file import read_model
from polyexport.pipeline.inputs import manifest, path_list
from polyexport.pipeline.outputs.disk import OutputFolder, read_journal
from polyexport.storage import folder
from polyexport.storage.files import check_output_file, open_regular, read_limited, write_atomic
from trainer.checkpoint import load_checkpoint, weights_sha256

Open = Callable[[Path], object]

PLACES: dict[str, tuple[str, Open]] = {
    "any file that is read whole": ("a", lambda path: read_limited(path, 9)),
    "any file that is written on": ("a", lambda path: open_regular(path, os.O_WRONLY | os.O_APPEND)),
    "any file that is replaced whole": ("a", lambda path: write_atomic(path, b"data")),
    "any file that is replaced at the end": ("a", check_output_file),
    "manifest of a published folder": (folder.MANIFEST, lambda path: folder.read_manifest(path.parent)),
    "journal of a run": (".polyexport/journal.jsonl", lambda path: OutputFolder(path.parents[1])),
    "journal of a dry run": (".polyexport/journal.jsonl", lambda path: read_journal(path.parents[1])),
    "lock of a run": (".polyexport/lock", lambda path: OutputFolder(path.parents[1])),
    "state folder of a run": (".polyexport", lambda path: OutputFolder(path.parent)),
    "output folder": ("out", OutputFolder),
    "list of inputs": ("a.txt", lambda path: path_list.read_list_file(str(path))),
    "manifest of inputs": ("a.csv", lambda path: manifest.read_manifest(path, ())),
    "manifest of inputs, a folder": ("data.json", lambda path: manifest.read_manifest(path.parent, ())),
    "image": ("a.png", read_image),
    "model": ("a.onnx", read_model),
    "report of the bench": ("a.json", read_report),
    "description of a network": ("a.toml", read_spec),
    "weights": ("a.safetensors", read_weights),
    "pickled weights": ("a.pth", read_weights),
    "data set": ("data.json", lambda path: read_pairs(path.parent)),
    "checkpoint": ("a.safetensors", load_checkpoint),
    "checkpoint that is hashed": ("a.safetensors", weights_sha256),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_pipe_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setattr(path_list, "_WRITER_TIMEOUT_MS", 1)
    name, opens = PLACES[place]
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)
    with pytest.raises((OSError, PolyexportError)) as caught, deadline():
        opens(path)
    assert not isinstance(caught.value, TimeoutError)
    assert "\n" not in str(caught.value)


@contextlib.contextmanager
def deadline() -> Iterator[None]:
    """Interrupt whatever waits for something that never comes."""

    def interrupt(*_: object) -> None:
        raise TimeoutError("it waits")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(20)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
