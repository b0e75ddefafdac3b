"""Images that do not fit the memory, here of a few thousand pixels: in bands from one file to another."""

import io
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from polyexport.errors import ImageError, OutputError
from polyexport.imaging.encoders import rows as row_writers
from polyexport.imaging.output_format import FormatName, OutputFormat
from polyexport.imaging.pixels import decode
from polyexport.model.loading.load import load_model
from polyexport.model.model import Model
from polyexport.model.settings import parse_settings
from polyexport.pipeline.cancellation import Cancellation
from polyexport.pipeline.decoding import pool as pool_module
from polyexport.pipeline.decoding.pool import DecodingPool
from polyexport.pipeline.finishing import Finishing
from polyexport.pipeline.inputs.pairing import parse_pairing
from polyexport.pipeline.job import Job, run_job
from polyexport.pipeline.large_images import LargeImages
from polyexport.pipeline.outputs.store import open_folder
from polyexport.pipeline.plan import Plan, make_plan
from polyexport.pipeline.results import ItemResult, RunReport
from polyexport.storage.stores import Url

HEIGHT, WIDTH = 151, 203
BANDS = "run in bands, as it does not fit the memory; the result is the same"
Colorize = Callable[..., tuple[RunReport, dict[str, ItemResult]]]


def pixels_of(seed: int, channels: int = 3, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (13, 17, channels), dtype=np.uint8)
    image = Image.fromarray(small[..., 0] if channels == 1 else small).resize((width, height))
    return np.asarray(image).reshape(height, width, channels)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two large images in different formats, a small one, and their masks."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    sizes = {"a.png": (HEIGHT, WIDTH), "b.jpg": (97, 120), "small.png": (20, 30)}
    for seed, (name, size) in enumerate(sizes.items()):
        Image.fromarray(pixels_of(seed, 3, *size)).save(tmp_path / "images" / name)
        mask = (tmp_path / "masks" / name).with_suffix(".png")
        Image.fromarray(pixels_of(seed + 10, 1, *size)[..., 0]).save(mask)
    return tmp_path


@pytest.fixture
def in_bands(monkeypatch: pytest.MonkeyPatch) -> Iterator[DecodingPool]:
    """Decoding processes for which every image of more than 2,000 pixels is large."""
    monkeypatch.setattr(pool_module, "MAX_PIXELS", 2000)
    with DecodingPool(jobs=1, max_pixels=10**6) as processes:
        yield processes


def plan_of(model: Model, folder: Path, output: Path | Url, *sigmas: int) -> Plan:
    return make_plan(
        [folder / "images"],
        parse_settings(model.conditions, assignments=[f"sigma={one}" for one in sigmas or (7,)]),
        output=output,
        pairing=parse_pairing(model.conditions, [f"mask={folder / 'masks'}"]),
    )


def expected(model: Model, folder: Path, name: str, sigma: int) -> NDArray[np.uint8]:
    mask = (folder / "masks" / name).with_suffix(".png")
    [result] = model.apply([folder / "images" / name], {"sigma": sigma}, pictures={"mask": [mask]})
    return result


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "kind", ["local", pytest.param("local x2", marks=SLOW), pytest.param("local half", marks=SLOW)]
)
def test_bands_give_the_result_of_the_whole(
    kind: str,
    colorize: Colorize,
    version3_of: Callable[[str], Path],
    folder: Path,
    in_bands: DecodingPool,
    tmp_path: Path,
) -> None:
    model = load_model(version3_of(kind), provider="cpu")
    plan = plan_of(model, folder, tmp_path / "out", 7, 30)
    report, results = colorize(tmp_path / "out", plan=plan, model=model, processes=in_bands)
    assert (report.ok, report.written, report.failed) == (3, 6, 0)
    assert [BANDS in results[name].warnings for name in ("a.png", "b.jpg", "small.png")] == [True, True, False]
    for name in ("a.png", "b.jpg", "small.png"):
        for sigma in (7, 30):
            output = (tmp_path / "out" / f"sigma={sigma}" / name).with_suffix(".png")
            assert np.array_equal(decode(output.read_bytes()).pixels, expected(model, folder, name, sigma))
    again, results = colorize(tmp_path / "out", plan=plan, model=model, processes=in_bands)
    assert (again.skipped, again.written) == (3, 0)
    assert results["a.png"].reason == "done before"


@pytest.mark.parametrize("name", ["tiff", "jpeg"])
def test_other_formats_and_traits(
    name: str,
    colorize: Colorize,
    version3_of: Callable[[str], Path],
    folder: Path,
    in_bands: DecodingPool,
    tmp_path: Path,
) -> None:
    exif = Image.Exif()
    exif[270], exif[274] = "a picture", 6
    dpi = (300, 200) if name == "tiff" else (300, 300)  # libvips writes one number into JPEG files
    Image.fromarray(pixels_of(0)).save(folder / "images" / "a.jpg", exif=exif, dpi=dpi, quality=95)
    (folder / "images" / "a.png").unlink()
    Image.fromarray(pixels_of(4, 1, WIDTH, HEIGHT)[..., 0]).save(folder / "masks" / "a.png")
    model = load_model(version3_of("local"), provider="cpu")
    finishing = Finishing(output=OutputFormat(format=name, quality=95 if name == "jpeg" else None))  # type: ignore[arg-type]
    plan = make_plan(
        [folder / "images" / "a.jpg"],
        parse_settings(model.conditions, assignments=["sigma=7"]),
        output=tmp_path / "out",
        pairing=parse_pairing(model.conditions, [f"mask={folder / 'masks'}"]),
        format_name=finishing.output.format,
    )
    report, results = colorize(tmp_path / "out", plan=plan, model=model, processes=in_bands, finishing=finishing)
    assert (report.ok, report.failed) == (1, 0), results
    [path] = (tmp_path / "out" / "sigma=7").iterdir()
    found = decode(path.read_bytes()).pixels.astype(int)
    assert found.shape == (WIDTH, HEIGHT, 3)
    difference = np.abs(found - expected(model, folder, "a.jpg", 7))
    assert difference.max() == 0 if name == "tiff" else difference.mean() < 3
    with Image.open(path) as image:
        assert image.format == name.upper()
        assert tuple(map(round, image.info["dpi"])) == dpi[::-1]  # of the upright image
        assert (image.getexif().get(270) == "a picture") == (name == "jpeg")
        assert image.getexif().get(274, 1) == 1
    assert ("TIFF that is written in bands holds no EXIF data: left out" in results["a.jpg"].warnings) == (
        name == "tiff"
    )


def one_image(model: Model, folder: Path, output: Path | Url, name: str = "a.png") -> Plan:
    return make_plan(
        [folder / "images" / name],
        parse_settings(model.conditions, assignments=["sigma=7"]),
        output=output,
        pairing=parse_pairing(model.conditions, [f"mask={folder / 'masks'}"]),
    )


@pytest.fixture
def model(version3_of: Callable[[str], Path]) -> Model:
    return load_model(version3_of("local"), provider="cpu")


def failure(colorize: Colorize, plan: Plan, model: Model, processes: DecodingPool, **options: Any) -> str:
    """Run one image that must fail, and return why; no output and no temporary file may be left."""
    assert isinstance(plan.output, Path)
    report, [result] = (
        (found := colorize(plan.output, plan=plan, model=model, processes=processes, **options))[0],
        list(found[1].values()),
    )
    assert (report.ok, report.failed, report.written) == (0, 1, 0)
    left = [path.name for path in plan.output.rglob("*") if path.is_file()]
    assert set(left) <= {"journal.jsonl"}
    return result.reason


def test_a_truncated_image_fails_and_is_remembered(
    colorize: Colorize, model: Model, folder: Path, in_bands: DecodingPool, tmp_path: Path
) -> None:
    path = folder / "images" / "a.png"
    path.write_bytes(path.read_bytes()[:-200])
    plan = one_image(model, folder, tmp_path / "out")
    assert "corrupt or truncated" in failure(colorize, plan, model, in_bands)
    assert "failed in an earlier run" in failure(colorize, plan, model, in_bands)


def test_a_mask_of_another_size_fails(
    colorize: Colorize, model: Model, folder: Path, in_bands: DecodingPool, tmp_path: Path
) -> None:
    Image.fromarray(pixels_of(4, 1, 50, 60)[..., 0]).save(folder / "masks" / "a.png")
    reason = failure(colorize, one_image(model, folder, tmp_path / "out"), model, in_bands)
    assert "its mask has 60x50 pixels, the image 203x151" in reason


def test_larger_than_the_limit_of_the_user(
    colorize: Colorize, model: Model, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pool_module, "MAX_PIXELS", 2000)
    with DecodingPool(jobs=1, max_pixels=30_000) as processes:
        reason = failure(colorize, one_image(model, folder, tmp_path / "out"), model, processes)
    assert "203x151 pixels, more than the limit of 30000" in reason


def test_what_needs_the_whole_picture_fails(
    colorize: Colorize, model: Model, folder: Path, in_bands: DecodingPool, tmp_path: Path
) -> None:
    finishing = Finishing(output=OutputFormat(alpha="keep"))
    plan = one_image(model, folder, tmp_path / "out")
    assert "alpha needs the whole picture" in failure(colorize, plan, model, in_bands, finishing=finishing)
    names: tuple[FormatName, ...] = ("webp", "avif")
    for name in names:
        finishing = Finishing(output=OutputFormat(format=name))
        plan = one_image(model, folder, tmp_path / name)
        assert "cannot be written in bands" in failure(colorize, plan, model, in_bands, finishing=finishing)


def test_an_image_that_changes_while_it_is_read_fails(
    colorize: Colorize,
    model: Model,
    folder: Path,
    in_bands: DecodingPool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    real = LargeImages._write

    def writes(self: LargeImages, *given: Any) -> None:
        real(self, *given)
        os.utime(folder / "images" / "a.png")

    monkeypatch.setattr(LargeImages, "_write", writes)
    assert "it changed while it was read" in failure(
        colorize, one_image(model, folder, tmp_path / "out"), model, in_bands
    )


@pytest.mark.slow
def test_an_image_that_vanishes_fails(
    colorize: Colorize,
    model: Model,
    folder: Path,
    in_bands: DecodingPool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    real = LargeImages._check

    def checks(self: LargeImages, item: Any) -> None:
        real(self, item)
        (folder / "images" / "a.png").unlink()

    monkeypatch.setattr(LargeImages, "_check", checks)
    assert "cannot be read (No such file" in failure(
        colorize, one_image(model, folder, tmp_path / "out"), model, in_bands
    )


@pytest.mark.slow
def test_a_decoder_that_is_killed_fails_the_image_alone(
    colorize: Colorize,
    model: Model,
    folder: Path,
    in_bands: DecodingPool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    real = DecodingPool.open_rows

    def opens(self: DecodingPool, *given: Any, **options: Any) -> Any:
        stream = real(self, *given, **options)
        stream._process._process.kill()
        stream._process._process.wait()
        return stream

    monkeypatch.setattr(DecodingPool, "open_rows", opens)
    monkeypatch.setattr("polyexport.pipeline.decoding.process._PIPE_BYTES", 4096)
    reason = failure(colorize, one_image(model, folder, tmp_path / "out"), model, in_bands)
    assert "the decoder" in reason


@pytest.mark.parametrize("name", ["png", "tiff", "jpeg"])
@pytest.mark.parametrize("after", [pytest.param(0, marks=SLOW), 20_000])
def test_a_disk_that_fills_ends_the_run_and_leaves_nothing(
    name: str,
    after: int,
    colorize: Colorize,
    model: Model,
    folder: Path,
    in_bands: DecodingPool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The file cannot grow beyond a size: for libvips by the limit of the process, for us by an error."""
    import resource
    import signal

    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "images" / "a.png")
    plan = make_plan(
        [folder / "images" / "a.png"],
        parse_settings(model.conditions, assignments=["sigma=7"]),
        output=tmp_path / "out",
        pairing=parse_pairing(model.conditions, [f"mask={folder / 'masks'}"]),
        format_name=name,  # type: ignore[arg-type]
    )
    finishing = Finishing(output=OutputFormat(format=name))  # type: ignore[arg-type]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    real = LargeImages._make

    def limited(self: LargeImages, *given: Any) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (after, limits[1]))
        try:
            real(self, *given)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    monkeypatch.setattr(LargeImages, "_make", limited)
    monkeypatch.setattr(row_writers, "_IDAT_BYTES", 1000)
    try:
        with pytest.raises(OutputError, match="cannot write to"):
            colorize(tmp_path / "out", plan=plan, model=model, processes=in_bands, finishing=finishing)
    finally:
        signal.signal(signal.SIGXFSZ, before)
    assert {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()} <= {"journal.jsonl"}
    monkeypatch.setattr(LargeImages, "_make", real)
    with DecodingPool(jobs=1, max_pixels=10**6) as processes:  # those of the run that failed are closed
        report, _ = colorize(tmp_path / "out", plan=plan, model=model, processes=processes, finishing=finishing)
    assert report.ok == 1


def test_an_interrupt_ends_a_large_image_at_once(
    colorize: Colorize,
    model: Model,
    folder: Path,
    in_bands: DecodingPool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    began = threading.Event()
    real = LargeImages._write

    def writes(self: LargeImages, *given: Any) -> None:
        began.set()
        assert self._stopped.wait(20)
        real(self, *given)

    monkeypatch.setattr(LargeImages, "_write", writes)
    plan = plan_of(model, folder, tmp_path / "out")

    def interrupted(result: ItemResult) -> None:
        raise KeyboardInterrupt

    small = make_plan(
        [folder / "images" / "a.png", folder / "images" / "small.png"],
        parse_settings(model.conditions, assignments=["sigma=7"]),
        output=tmp_path / "out",
        pairing=parse_pairing(model.conditions, [f"mask={folder / 'masks'}"]),
    )
    monkeypatch.setattr("polyexport.pipeline.run._Run._collect_large", lambda self, *, wait: self_raise(began))
    with pytest.raises(KeyboardInterrupt):
        colorize(tmp_path / "out", plan=small, model=model, processes=in_bands, on_result=interrupted)
    assert plan.items
    assert not list((tmp_path / "out").rglob("tmp-*"))


def self_raise(began: threading.Event) -> None:
    if began.wait(20):
        raise KeyboardInterrupt


def test_a_store_takes_no_large_images(colorize: Colorize, model: Model, folder: Path, tmp_path: Path) -> None:
    images = LargeImages(
        model,
        model.contract.canvas_rule("native"),
        decoding_pool=DecodingPool(jobs=1),
        folder=object(),  # type: ignore[arg-type]
        finishing=Finishing(),
    )
    item = one_image(model, folder, tmp_path / "out").items[0]
    made = images.make(item, item.settings[0], finished_sha256="")
    assert "only from a disk to a disk" in made.reason


def test_a_writer_of_rows_says_what_it_cannot_hold(tmp_path: Path) -> None:
    from polyexport.imaging.traits import NO_TRAITS

    with io.FileIO(tmp_path / "a", "w+b") as file, pytest.raises(ImageError, match="at most 65500 pixels a side"):
        row_writers.open_row_writer(file, (70_000, 5, 3), OutputFormat(format="jpeg"), NO_TRAITS, [], suffix="")


def test_a_cancelled_run_stops_a_large_image(
    model: Model, folder: Path, in_bands: DecodingPool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cancel = threading.Event()
    stopped: list[bool] = []
    real = LargeImages._write

    def writes(self: LargeImages, *given: Any) -> None:
        cancel.set()
        stopped.append(self._stopped.wait(20))
        real(self, *given)

    monkeypatch.setattr(LargeImages, "_write", writes)
    job = Job(plan=one_image(model, folder, tmp_path / "out"))
    with open_folder(job.plan.output) as output:
        report = run_job(
            job,
            lambda threads, streams, images: model,
            folder=output,
            decoding_pool=in_bands,
            cancellation=Cancellation(cancel),
        )
    assert report.cancelled
    assert stopped == [True]
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
