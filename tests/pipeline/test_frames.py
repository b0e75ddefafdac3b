"""All frames of animations and all pages of documents, from file to file."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import polyexport
from polyexport.errors import ImageError, UsageError
from polyexport.imaging.frames import DecodedFrames, decode_frames
from polyexport.imaging.output_format import PNG_OUTPUT, OutputFormat
from polyexport.imaging.pixels import decode, read_image
from polyexport.imaging.traits import Keep
from polyexport.model.loading.load import load_model
from polyexport.model.model import Model
from polyexport.model.settings import parse_settings
from polyexport.pipeline.decoding.pool import DecodingPool
from polyexport.pipeline.decoding.process import DecodedFrame
from polyexport.pipeline.events import Event, ImageFinished
from polyexport.pipeline.finishing import Finishing
from polyexport.pipeline.frame_collection import FrameCollection
from polyexport.pipeline.outputs.store import open_folder
from polyexport.pipeline.pipe import run_one
from polyexport.pipeline.plan import make_plan
from polyexport.pipeline.results import ItemResult, RunReport

ModelOf = Callable[[str], Path]
Colorize = Callable[..., tuple[RunReport, dict[str, ItemResult]]]

BEST = OutputFormat(format="same", quality=100)
DURATIONS = [50, 120, 70, 2000]

ANIMATIONS: dict[str, dict[str, Any]] = {
    "GIF": {"duration": DURATIONS, "loop": 2},
    "PNG": {"duration": DURATIONS, "loop": 3},
    "WEBP": {"duration": DURATIONS, "loop": 3, "lossless": True},
    "AVIF": {"duration": DURATIONS, "quality": 100, "subsampling": "4:4:4"},
}


def pictures(count: int = 4, size: tuple[int, int] = (24, 16)) -> list[Image.Image]:
    """A square of another gray at another place in each, on white."""
    made = []
    for index in range(count):
        pixels = np.full((size[1], size[0], 3), 255, np.uint8)
        pixels[4:12, 2 + 4 * index : 8 + 4 * index] = 40 * index
        made.append(Image.fromarray(pixels))
    return made


def saved(images: list[Image.Image], kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    several: dict[str, Any] = {"save_all": True, "append_images": images[1:]} if len(images) > 1 else {}
    images[0].save(buffer, kind, **several, **options)
    return buffer.getvalue()


def inverted(image: Image.Image) -> NDArray[np.uint8]:
    return 255 - np.asarray(image.convert("RGB"))


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and ".polyexport" not in path.parts)
    return {path.name: path.read_bytes() for path in found}


def run(folder: Path, model: Path, **changes: Any) -> tuple[RunReport, dict[str, ItemResult], dict[str, bytes]]:
    """A folder through a model; gives the report, the results by the names of the inputs, and the files."""
    results: dict[str, ItemResult] = {}

    def told(event: Event) -> None:
        if isinstance(event, ImageFinished):
            results[Path(event.result.item.source).name] = event.result

    options: dict[str, Any] = {"frames": "all", "size": "native", "provider": "cpu", "on_event": told} | changes
    output = options.pop("output", folder.with_name("out"))
    report = polyexport.infer_folder(folder, model=model, output=output, **options)
    return report, results, files(output)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "in"
    made.mkdir()
    return made


@pytest.fixture(scope="module")
def inverter(version3_of: ModelOf) -> Path:
    return version3_of("plain")


@pytest.mark.parametrize(
    "name", ["same", "png", *(pytest.param(name, marks=pytest.mark.slow) for name in ("webp", "avif", "tiff"))]
)
def test_animations_become_animations(name: Any, folder: Path, inverter: Path) -> None:
    for kind, options in ANIMATIONS.items():
        (folder / f"of-{kind}.{kind.lower()}").write_bytes(saved(pictures(), kind, **options))
    quality = None if name in ("png", "tiff") else 100
    report, results, made = run(folder, inverter, output_format=OutputFormat(format=name, quality=quality))
    assert (report.ok, report.failed, report.written) == (4, 0, 4)
    for kind in ANIMATIONS:
        format_name = kind if name == "same" else name.upper()
        found = decode_frames(made[f"of-{kind}.{format_name.lower()}"])
        lossy = "AVIF" in (kind, format_name)
        for frame, image in zip(found.frames, pictures(), strict=True):
            assert np.abs(frame.pixels.astype(int) - inverted(image)).max() <= (12 if lossy else 0)
        warnings = results[f"of-{kind}.{kind.lower()}"].warnings
        if format_name == "TIFF":
            assert warnings == ("TIFF holds pages, and no durations: left out",)
            continue
        assert warnings == ()
        assert [frame.duration_ms for frame in found.frames] == DURATIONS
        assert found.plays == (0 if lossy else 3)


def test_pages_become_pages_each_of_its_own_size(folder: Path, inverter: Path) -> None:
    pages = [pictures(1, (24 + 5 * number, 16 + number))[0] for number in range(5)]
    (folder / "scan.tif").write_bytes(saved(pages, "TIFF", dpi=(300, 300)))
    for name in ("tiff", "same"):
        output = OutputFormat(format=name)
        report, results, made = run(folder, inverter, output_format=output, output=folder.with_name(name))
        assert (report.ok, results["scan.tif"].warnings) == (1, ())
        [data] = made.values()
        found = decode_frames(data, keep=Keep(metadata=True))
        assert (found.pages, found.traits.dpi) == (True, (300, 300))
        for frame, page in zip(found.frames, pages, strict=True):
            assert np.array_equal(frame.pixels, inverted(page))


def test_frames_are_what_the_same_pictures_are_alone(folder: Path, version3_of: ModelOf) -> None:
    images = pictures(6)
    (folder / "moves.png").write_bytes(saved(images, "PNG", duration=40))
    alone = folder.with_name("alone")
    alone.mkdir()
    for number, image in enumerate(images):
        image.save(alone / f"{number}.png")
    for size in ("native", "fit"):
        conditions = {"sigma": [0, 30]}
        model = version3_of("number")
        out, separate = folder.with_name(f"all-{size}"), folder.with_name(f"alone-{size}")
        run(folder, model, size=size, conditions=conditions, output=out, batch_size=4)
        run(alone, model, size=size, conditions=conditions, output=separate)
        for setting in sorted(path.name for path in out.iterdir() if not path.name.startswith(".")):
            frames = decode_frames((out / setting / "moves.png").read_bytes()).frames
            for number, frame in enumerate(frames):
                assert np.array_equal(frame.pixels, read_image(separate / setting / f"{number}.png").pixels)


def test_by_default_the_first_frame_is_run_with_a_warning(folder: Path, inverter: Path) -> None:
    (folder / "moves.gif").write_bytes(saved(pictures(), "GIF"))
    report, results, made = run(folder, inverter, frames="first")
    assert (report.ok, results["moves.gif"].warnings) == (1, ("only the first frame is used",))
    assert len(decode_frames(made["moves.png"]).frames) == 1
    assert np.array_equal(decode(made["moves.png"]).pixels, inverted(pictures()[0]))


def test_single_pictures_come_out_as_without_the_option(folder: Path, inverter: Path) -> None:
    for number, kind in enumerate(("PNG", "JPEG", "GIF", "TIFF", "BMP")):
        pictures()[number % 4].save(folder / f"{number}.{kind.lower()}", kind)
    _, _, first = run(folder, inverter, frames="first", output_format=BEST, output=folder.with_name("first"))
    report, results, every = run(folder, inverter, output_format=BEST)
    assert report.ok == 5
    assert not any(result.warnings for result in results.values())
    assert every == first


def test_a_second_run_skips_and_another_choice_of_frames_does_not(folder: Path, inverter: Path) -> None:
    (folder / "moves.gif").write_bytes(saved(pictures(), "GIF"))
    _, _, made = run(folder, inverter)
    report, _, again = run(folder, inverter)
    assert (report.skipped, report.written, again) == (1, 0, made)
    report, _, _ = run(folder, inverter, frames="first")
    assert (report.ok, report.written) == (1, 1)


def test_what_the_format_does_not_hold_fails_alone(folder: Path, inverter: Path) -> None:
    (folder / "moves.gif").write_bytes(saved(pictures(), "GIF"))
    (folder / "moves.bmp").write_bytes(saved(pictures(), "GIF"))
    (folder / "scan.tif").write_bytes(saved(pictures(), "TIFF"))
    (folder / "still.jpg").write_bytes(saved(pictures(1), "JPEG"))
    report, results, made = run(folder, inverter, output_format=BEST)
    assert (report.ok, report.failed, sorted(made)) == (3, 1, ["moves.gif", "scan.tif", "still.jpg"])
    assert results["moves.bmp"].reason == (
        "it has 4 frames, which BMP does not hold; use --format png, webp or avif, or --frames first"
    )
    report, results, made = run(folder, inverter, output=folder.with_name("png"))
    assert (report.ok, report.failed) == (3, 1)
    assert results["scan.tif"].reason == (
        "it has 4 pages, which PNG does not hold; use --format tiff, or --frames first"
    )


def test_a_damaged_frame_fails_its_file_alone(folder: Path, inverter: Path) -> None:
    noise = [Image.fromarray(np.random.default_rng(n).integers(0, 256, (64, 64, 3), np.uint8)) for n in range(4)]
    whole = saved(noise, "WEBP", lossless=True)
    (folder / "cut.webp").write_bytes(whole[: len(whole) * 3 // 4])
    (folder / "whole.webp").write_bytes(whole)
    report, results, made = run(folder, inverter)
    assert (report.ok, report.failed, list(made)) == (1, 1, ["whole.png"])
    assert results["cut.webp"].status == "failed"


class _FailsOnce:
    """A run of the network that fails on the frames whose square is of a gray, and counts the others."""

    def __init__(self, model: Model, gray: int) -> None:
        self._run, self._gray, self.done = model.run_canvases, gray, 0

    def __call__(self, canvases: Any, *others: Any) -> Any:
        if any((canvas.pixels == 255 - self._gray).any() for canvas in canvases):
            raise ImageError("this frame is too much", remedy="none")
        self.done += len(canvases)
        return self._run(canvases, *others)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_frame_on_which_the_network_fails_fails_the_output_once(
    batch_size: int, colorize: Colorize, tmp_path: Path, inverter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(inverter, provider="cpu")
    folder = tmp_path / "in"
    folder.mkdir()
    gray = [Image.fromarray(np.full((16, 24, 3), 200 - number, np.uint8)) for number in range(6)]
    (folder / "bad.png").write_bytes(saved(gray, "PNG"))
    (folder / "good.png").write_bytes(saved(pictures(), "PNG"))
    monkeypatch.setattr(Model, "run_canvases", _FailsOnce(model, 255 - 198))
    plan = make_plan([folder], parse_settings(model.conditions), output=tmp_path / "out")
    report, results = colorize(
        tmp_path / "out",
        plan=plan,
        model=model,
        finishing=Finishing(frames="all"),
        size="native",
        batch_size=batch_size,
    )
    assert (report.ok, report.failed, list(files(tmp_path / "out"))) == (1, 1, ["good.png"])
    assert results["bad.png"].reason.startswith("frame 3 of 6: the network failed on it (this frame is too much")
    with open_folder(tmp_path / "out") as output:
        assert output.journal.record("bad.png") is None  # another run may try it again


def test_alpha_and_metadata(folder: Path, version3_of: ModelOf) -> None:
    frames = []
    for number in range(3):
        pixels = np.full((12, 12, 4), 255, np.uint8)
        pixels[4 * number : 4 * number + 4, :, 3] = 0
        frames.append(Image.fromarray(pixels))
    exif = Image.Exif()
    exif[271], exif[274] = "a maker", 1
    (folder / "moves.png").write_bytes(saved(frames, "PNG", duration=30, exif=exif, dpi=(72, 72)))
    for kind in ("png", "webp", "avif"):
        output = OutputFormat(format=kind, alpha="keep")
        report, _, made = run(
            folder, version3_of("number"), conditions={"sigma": 0}, output_format=output, output=folder.with_name(kind)
        )
        assert report.ok == 1
        [data] = made.values()
        found = decode_frames(data, keep=Keep(metadata=True, alpha=True))
        assert b"a maker" in found.traits.exif
        for frame, image in zip(found.frames, frames, strict=True):
            assert frame.alpha is not None
            assert np.array_equal(frame.alpha[..., 0], np.asarray(image)[..., 3])


def test_results_of_another_kind_and_scale(folder: Path, version3_of: ModelOf) -> None:
    (folder / "moves.gif").write_bytes(saved(pictures(), "GIF"))
    for kind, shape in {"x2": (32, 48), "mask out": (16, 24), "rgba": (16, 24), "gray": (16, 24)}.items():
        report, _, made = run(folder, version3_of(kind), output=folder.with_name(kind))
        [data] = made.values()
        assert [frame.pixels.shape[:2] for frame in decode_frames(data).frames] == [shape] * 4
    report, _, made = run(folder, version3_of("mask out"), result_as="alpha", output=folder.with_name("cut out"))
    [data] = made.values()
    found = decode_frames(data, keep=Keep(alpha=True))
    assert report.ok == 1
    assert found.frames[1].alpha is not None
    assert found.frames[1].alpha.min() == 40


def test_every_frame_gets_the_same_mask(folder: Path, version3_of: ModelOf, tmp_path: Path) -> None:
    (folder / "moves.png").write_bytes(saved(pictures(), "PNG"))
    mask = np.zeros((16, 24), np.uint8)
    mask[:, :12] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    report, _, made = run(folder, version3_of("mask in"), pictures={"mask": tmp_path / "mask.png"})
    assert report.ok == 1
    for frame, image in zip(decode_frames(made["moves.png"]).frames, pictures(), strict=True):
        expected = np.asarray(image).copy()
        expected[:, :12] = 0
        assert np.array_equal(frame.pixels, expected)


@pytest.mark.slow
def test_many_animations_and_single_pictures_together(folder: Path, inverter: Path) -> None:
    for number in range(70):
        images = pictures(1 + number % 5, (16 + number % 3, 12 + number % 2))
        (folder / f"{number:02}.png").write_bytes(saved(images, "PNG", duration=10 + number))
    report, _, made = run(folder, inverter, jobs=2)
    assert (report.ok, report.written) == (70, 70)
    for number in range(70):
        found = decode_frames(made[f"{number:02}.png"])
        images = pictures(1 + number % 5, (16 + number % 3, 12 + number % 2))
        assert all(
            np.array_equal(frame.pixels, inverted(image)) for frame, image in zip(found.frames, images, strict=True)
        )
        assert {frame.duration_ms for frame in found.frames} == ({10 + number} if number % 5 else {0})


def through_pipe(source: Any, model: Model, decoders: DecodingPool, finishing: Finishing) -> DecodedFrames:
    [none] = parse_settings(model.conditions)
    return decode_frames(run_one(source, none, model, decoders, finishing=finishing, size="native").data)


def test_a_pipe(inverter: Path, decoders: DecodingPool, tmp_path: Path) -> None:
    model = load_model(inverter, provider="cpu")
    every = Finishing(frames="all", output=replace(BEST, quality=None))
    found = through_pipe(saved(pictures(), "GIF", **ANIMATIONS["GIF"]), model, decoders, every)
    assert ([frame.duration_ms for frame in found.frames], found.plays) == (DURATIONS, 3)
    for frame, image in zip(found.frames, pictures(), strict=True):
        assert np.array_equal(frame.pixels, inverted(image))
    assert len(through_pipe(saved(pictures(1), "PNG"), model, decoders, every).frames) == 1
    with pytest.raises(ImageError, match="it has 4 pages, which PNG does not hold"):
        through_pipe(saved(pictures(), "TIFF"), model, decoders, Finishing(frames="all", output=PNG_OUTPUT))


def test_options_that_make_no_sense(folder: Path, inverter: Path) -> None:
    (folder / "moves.gif").write_bytes(saved(pictures(), "GIF"))
    with pytest.raises(UsageError, match="--frames all does not go with --format jpeg, which holds one picture"):
        run(folder, inverter, output_format=OutputFormat(format="jpeg"))
    with pytest.raises(UsageError, match="frames is 'every'"):
        run(folder, inverter, frames="every")
    assert not folder.with_name("out").exists()


def test_a_collection_fails_once_and_keeps_the_order(inverter: Path, decoders: DecodingPool) -> None:
    frame = DecodedFrame(canvas=None, alpha=None, duration_ms=0)  # type: ignore[arg-type]
    outputs = [np.full((1, 1, 3), number, np.uint8) for number in range(3)]
    collection = FrameCollection((frame, frame, frame))
    assert [collection.add(number, outputs[number]) is None for number in (2, 0)] == [True, True]
    assert collection.add(1, outputs[1]) is outputs[1]
    assert [int(made[0, 0, 0]) for _, made in collection.completed()] == [0, 1, 2]
    failing = FrameCollection((frame, frame, frame))
    assert [failing.add(0, outputs[0]), failing.add(2, "no"), failing.add(1, "no")] == [None, "frame 3 of 3: no", None]


def test_recipes_of_the_default_are_those_of_before() -> None:
    assert Finishing().recipe() == {"background": "white"}
    assert Finishing(frames="all").recipe() == {"background": "white", "frames": "all"}
