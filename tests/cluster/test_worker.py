"""One actor, without Ray: it stages outputs, and says what ends the run instead of raising it."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from color_settings import setting
from local_images import SIGMA, image_and_mask, record_shapes, whole_png
from PIL import Image
from version3_models import LOCAL_KINDS

import polyexport
from polyexport.cluster.messages import Answer, BlockAnswer, Task
from polyexport.cluster.worker import Worker, WorkerOptions
from polyexport.errors import ExitCode
from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.frames import decode_frames
from polyexport.imaging.output_format import OutputFormat
from polyexport.model.loading.load import load_model
from polyexport.model.settings import setting_from
from polyexport.model.tile_wish import AUTO_TILES, TileWish
from polyexport.pipeline.finishing import PLAIN, Finishing
from polyexport.pipeline.outputs.disk import OutputFolder
from polyexport.pipeline.plan import Item, output_name
from polyexport.runtime.probe import probe_provider

RED = setting("red")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[OutputFolder]:
    with OutputFolder(tmp_path / "out") as opened:
        yield opened


@pytest.fixture
def options(folder: OutputFolder, tiny_model_path: Path) -> WorkerOptions:
    data = tiny_model_path.read_bytes()
    return WorkerOptions(
        tiles=AUTO_TILES,
        output=folder.root,
        model=folder.stage(data),
        model_sha256=hashlib.sha256(data).hexdigest(),
        model_name="tiny.onnx",
        provider="cpu",
        size="fit",
        finishing=PLAIN,
        retry_failed=False,
        batch_size=0,
        threads=1,
        jobs=1,
        images=10,
        version=polyexport.__version__,
    )


def answers_of(worker: Worker, *tasks: Task) -> tuple[Answer, ...]:
    answer = BlockAnswer.from_json(worker.answer([task.to_json() for task in tasks]))
    assert answer.error == ""
    return answer.answers


def tasks_of(*sources: Path) -> list[Task]:
    return [Task(Item(str(source), f"{source.stem}.png", (RED,)), (0,), (None,)) for source in sources]


def test_outputs_are_staged_for_the_holder_to_name(
    folder: OutputFolder, options: WorkerOptions, drawings: Path, tiny_model_path: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_text("no picture")
    worker = Worker(options)
    answers = answers_of(worker, *tasks_of(drawings / "0.png", tmp_path / "bad.png", drawings / "1.png"))

    assert [answer.status for answer in answers] == ["ok", "failed", "ok"]
    assert "no image of a known format" in answers[1].reason
    assert not list(folder.root.glob("red/*"))
    assert folder.publish([pending for answer in answers for pending in answer.outputs]) == ["", "", ""]
    [[expected]] = load_model(tiny_model_path, provider="cpu").colorize([drawings / "1.png"], ["red"])
    assert (folder.root / "red" / "1.png").read_bytes() == encode_png(expected)
    assert sorted(path.name for path in folder.root.glob("red/*")) == ["0.png", "1.png"]
    record = folder.journal.record("red/1.png")
    assert record is None  # what the journal says is what stood in it when it was opened


def ended(options: WorkerOptions, drawings: Path) -> tuple[str, int]:
    worker = Worker(options)
    [first], [second] = tasks_of(drawings / "0.png"), tasks_of(drawings / "1.png")
    text = worker.answer([first.to_json()])
    assert worker.answer([second.to_json()]) == text  # and it stays so
    answer = BlockAnswer.from_json(text)
    assert answer.answers == ()
    return answer.error, answer.exit_code


def test_another_version_is_refused(options: WorkerOptions, drawings: Path) -> None:
    message, exit_code = ended(replace(options, version="0.0.1"), drawings)
    assert "this machine 0.0.1" in message
    assert exit_code == ExitCode.FATAL


def test_a_folder_that_is_not_shared_is_refused(options: WorkerOptions, drawings: Path, tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "elsewhere"):
        message, exit_code = ended(replace(options, output=tmp_path / "elsewhere"), drawings)
    assert "not the same on every machine" in message
    assert exit_code == ExitCode.OUTPUT_UNUSABLE
    assert ended(replace(options, output=tmp_path / "none"), drawings)[1] == ExitCode.OUTPUT_UNUSABLE


def test_another_model_in_its_place_is_refused(options: WorkerOptions, drawings: Path) -> None:
    message, _ = ended(replace(options, model_sha256="0" * 64), drawings)
    assert "another model" in message


def test_a_provider_that_is_missing_ends_the_run(options: WorkerOptions, drawings: Path) -> None:
    if probe_provider("tensorrt").works:
        pytest.skip("TensorRT works here")
    message, exit_code = ended(replace(options, provider="tensorrt"), drawings)
    assert "tensorrt" in message
    assert exit_code == ExitCode.PROVIDER_UNAVAILABLE


def test_settings_and_second_pictures_reach_the_model(
    folder: OutputFolder, options: WorkerOptions, version3_of: Callable[[str], Path], drawings: Path
) -> None:
    for kind, conditions, pictures in (
        ("label number", {"style": "van gogh", "strength": 0.5}, {}),
        ("vector", {"code": (1.0, 0.5, -2.0)}, {}),
        ("mask in", {}, {"mask": [drawings / "1.png"]}),
        ("plain", {}, {}),
    ):
        data = version3_of(kind).read_bytes()
        model = load_model(version3_of(kind), provider="cpu")
        changed = replace(
            options, model=folder.stage(data), model_sha256=model.sha256, size="auto", pictures=tuple(pictures)
        )
        one = setting_from(model.conditions, conditions)
        seconds = tuple(str(files[0]) for files in pictures.values())
        item = Item(str(drawings / "0.png"), f"{kind}.png", (one,), "", seconds)
        [answer] = answers_of(Worker(changed), Task(item, (0,), (None,)))
        assert answer.status == "ok", (kind, answer.reason)
        assert folder.publish(list(answer.outputs)) == [""]
        [expected] = model.apply([drawings / "0.png"], conditions, pictures=pictures)
        assert (folder.root / output_name(item, one)).read_bytes() == encode_png(expected), kind


@pytest.mark.parametrize("kind", LOCAL_KINDS)
def test_tiles_give_the_bytes_of_the_whole_image(
    kind: str,
    folder: OutputFolder,
    options: WorkerOptions,
    version3_of: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image, mask = image_and_mask(tmp_path)
    data = version3_of(kind).read_bytes()
    model = load_model(version3_of(kind), provider="cpu")
    expected = whole_png(model, image, mask)
    one = setting_from(model.conditions, {"sigma": SIGMA})
    shapes = record_shapes(monkeypatch)
    for tiles, side in ((AUTO_TILES, 72), (TileWish(tile=32), 32), (TileWish(tile=32, overlap=4), 32)):
        changed = replace(
            options,
            model=folder.stage(data),
            model_sha256=model.sha256,
            size="auto",
            tiles=tiles,
            pictures=("mask",),
        )
        item = Item(str(image), f"{side} {tiles.overlap}.png", (one,), "", (str(mask),))
        shapes.clear()
        [answer] = answers_of(Worker(changed), Task(item, (0,), (None,)))
        assert (answer.status, answer.reason) == ("ok", "")
        assert folder.publish(list(answer.outputs)) == [""]
        assert set(shapes) == {(side, side)}
        made = (folder.root / output_name(item, one)).read_bytes()
        assert made == whole_png(model, image, mask, tiles=tiles)
        assert (made == expected) == (tiles.overlap is None)


def test_the_format_of_the_outputs_reaches_the_actor(
    folder: OutputFolder, options: WorkerOptions, drawings: Path
) -> None:
    output = OutputFormat(format="webp", quality=70)
    worker = Worker(replace(options, finishing=Finishing(output=output)))
    [source] = sorted(drawings.glob("0.png"))
    task = Task(Item(str(source), "0.webp", (RED,)), (0,), (None,))
    [answer] = answers_of(worker, task)
    [staged] = answer.outputs
    assert staged.output == "red/0.webp"
    assert folder.publish([staged]) == [""]
    assert (folder.root / "red" / "0.webp").read_bytes()[8:12] == b"WEBP"


def test_all_frames_are_made_by_the_actor(
    folder: OutputFolder, options: WorkerOptions, drawings: Path, tmp_path: Path
) -> None:
    first, second = (Image.open(drawings / f"{number}.png").convert("RGB") for number in range(2))
    first.save(tmp_path / "moves.png", save_all=True, append_images=[second.resize(first.size)], duration=[30, 60])
    worker = Worker(replace(options, finishing=Finishing(frames="all")))
    [answer] = answers_of(worker, *tasks_of(tmp_path / "moves.png"))
    assert folder.publish(list(answer.outputs)) == [""]
    frames = decode_frames((folder.root / "red" / "moves.png").read_bytes()).frames
    assert [frame.duration_ms for frame in frames] == [30, 60]
