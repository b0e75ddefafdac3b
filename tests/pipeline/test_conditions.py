"""Runs of models with other conditions than a color, and of those that give other results than a picture."""

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from version3_models import VERSION3_KINDS

from polyexport.errors import UsageError
from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.matte import transparent
from polyexport.model.loading.load import load_model
from polyexport.model.model import Model
from polyexport.model.settings import parse_settings
from polyexport.pipeline.decoding.pool import DecodingPool
from polyexport.pipeline.finishing import Finishing
from polyexport.pipeline.inputs.pairing import parse_pairing
from polyexport.pipeline.interface import interface_of
from polyexport.pipeline.job import Job
from polyexport.pipeline.pipe import run_one
from polyexport.pipeline.plan import Plan, make_plan
from polyexport.pipeline.preview import Preview, preview
from polyexport.pipeline.results import ItemResult, RunReport
from polyexport.pipeline.run_options import options_for

Colorize = Callable[..., tuple[RunReport, dict[str, ItemResult]]]
ModelOf = Callable[[str], Path]

SHAPES = {"a.png": (20, 30), "deep/b.bmp": (16, 16), "c.png": (33, 10), "d.png": (16, 16)}
GIVEN: dict[str, dict[str, Any]] = {
    "label number": {"style": "van gogh", "strength": 0.5},
    "vector": {"code": (1.0, -2.0, 0.5)},
    "color": {"color": "tomato", "sigma": 3.0},
}
FOLDERS = {
    "number": "sigma=25/",
    "label number": "van gogh,strength=0.5/",
    "vector": "code=1 -2 0.5/",
    "color": "tomato,sigma=3/",
    "batch one": "sigma=25/",
    "fixed": "sigma=25/",
}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Four images of three shapes in two folders, and a gray mask for each with another suffix."""
    for seed, (name, shape) in enumerate(SHAPES.items()):
        for folder, size, suffix in (("in", (*shape, 3), Path(name).suffix), ("masks", shape, ".tiff")):
            path = (tmp_path / folder / name).with_suffix(suffix)
            path.parent.mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8))
            image.save(path, dpi=(0, 0))  # BMP files have a resolution otherwise, and so do their outputs then
    return tmp_path / "in"


def plan_of(model: Model, images: Path, output: Path, **values: Any) -> Plan:
    texts = [f"{name}={','.join(map(str, one)) if isinstance(one, tuple) else one}" for name, one in values.items()]
    pairs = [] if all(one.textual for one in model.conditions) else [f"mask={images.parent / 'masks'}"]
    return make_plan(
        [images],
        parse_settings(model.conditions, assignments=texts),
        output=output,
        recursive=True,
        pairing=parse_pairing(model.conditions, pairs),
    )


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.png"))}


@pytest.mark.parametrize("kind", VERSION3_KINDS)
def test_every_output_is_what_the_model_says(
    kind: str, colorize: Colorize, version3_of: ModelOf, decoders: DecodingPool, images: Path, tmp_path: Path
) -> None:
    model = load_model(version3_of(kind), provider="cpu")
    given = GIVEN.get(kind, {})
    plan = plan_of(model, images, tmp_path / "out", **given)
    report, _ = colorize(tmp_path / "out", plan=plan, model=model, batch_size=3)
    assert (report.ok, report.written, report.failed) == (4, 4, 0)

    masks = [(images.parent / "masks" / name).with_suffix(".tiff") for name in SHAPES]
    pictures = {"mask": masks} if kind == "mask in" else {}
    found = tree(tmp_path / "out")
    for number, (name, shape) in enumerate(SHAPES.items()):
        seconds = {key: [value[number]] for key, value in pictures.items()}
        [expected] = model.apply([images / name], given, pictures=seconds)
        assert expected.shape[:2] == tuple(math.ceil(side * model.contract.result.ratio) for side in shape)
        output = found[f"{FOLDERS.get(kind, '')}{Path(name).with_suffix('.png')}"]
        assert output == encode_png(expected)
        one = run_one(
            (images / name).read_bytes(),
            plan.settings[0],
            model,
            decoders,
            pictures=[masks[number].read_bytes()] if pictures else (),
        )
        assert (one.data, one.warnings) == (output, ())
    assert colorize(tmp_path / "out", plan=plan, model=model)[0].skipped == 4


def test_the_files_have_the_channels_of_the_result(
    colorize: Colorize, version3_of: ModelOf, images: Path, tmp_path: Path
) -> None:
    for kind, mode in {
        "gray": "L",
        "mask out": "L",
        "labels": "L",
        "rgba": "RGBA",
        "alpha": "RGBA",
        "x2": "RGB",
    }.items():
        model = load_model(version3_of(kind), provider="cpu")
        colorize(tmp_path / kind, plan=plan_of(model, images, tmp_path / kind), model=model)
        with Image.open(tmp_path / kind / "a.png") as image:
            assert image.mode == mode, kind


def test_a_sweep_makes_an_output_for_each_combination(
    colorize: Colorize, version3_of: ModelOf, images: Path, tmp_path: Path
) -> None:
    model = load_model(version3_of("label number"), provider="cpu")
    texts = ["style=sketch", "strength=0", "style=ukiyo-e", "strength=0.25", "strength=0"]
    plan = make_plan([images], parse_settings(model.conditions, assignments=texts), output=tmp_path / "out")
    assert colorize(tmp_path / "out", plan=plan, model=model)[0].written == 12
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "sketch,strength=0",
        "sketch,strength=0.25",
        "ukiyo-e,strength=0",
        "ukiyo-e,strength=0.25",
        ".polyexport",
    }
    fewer = make_plan([images], parse_settings(model.conditions, assignments=texts[:2]), output=tmp_path / "out")
    assert colorize(tmp_path / "out", plan=fewer, model=model)[0].skipped == 3


def test_a_mask_becomes_the_alpha_of_its_image(
    colorize: Colorize, version3_of: ModelOf, images: Path, tmp_path: Path
) -> None:
    model, alpha = (load_model(version3_of(kind), provider="cpu") for kind in ("mask out", "alpha"))
    plan = plan_of(model, images, tmp_path / "out")
    colorize(tmp_path / "mask", plan=plan_of(model, images, tmp_path / "mask"), model=model)
    colorize(tmp_path / "alpha", plan=plan_of(alpha, images, tmp_path / "alpha"), model=alpha)
    report, _ = colorize(tmp_path / "out", plan=plan, model=model, finishing=Finishing(result_as="alpha"))
    assert report.written == 4
    assert tree(tmp_path / "out") == tree(tmp_path / "alpha")
    for name, data in tree(tmp_path / "out").items():
        (tmp_path / "one.png").write_bytes(data)
        with Image.open(tmp_path / "one.png") as image, Image.open(tmp_path / "mask" / name) as mask:
            pixels = np.asarray(image)
            assert np.array_equal(pixels[..., 3], np.asarray(mask))
        source = next(path for path in images.rglob(f"{Path(name).stem}.*"))
        assert np.array_equal(pixels[..., :3], np.asarray(Image.open(source)))
    # Another use of the result is another output.
    assert colorize(tmp_path / "out", plan=plan, model=model)[0].written == 4


def test_a_large_image_keeps_its_own_pixels_under_an_alpha(
    colorize: Colorize, version3_of: ModelOf, images: Path, tmp_path: Path
) -> None:
    model = load_model(version3_of("mask out"), provider="cpu")
    plan = plan_of(model, images, tmp_path / "out")
    colorize(tmp_path / "out", plan=plan, model=model, finishing=Finishing(result_as="alpha"), size="fit")
    with Image.open(tmp_path / "out" / "c.png") as image, Image.open(images / "c.png") as source:
        assert np.array_equal(np.asarray(image)[..., :3], np.asarray(source))


def test_what_cannot_be_finished_so_is_refused(version3_of: ModelOf, tiny_model: Model) -> None:
    alpha, clear = Finishing(result_as="alpha"), Finishing(background="transparent")
    for kind in ("plain", "gray", "labels", "color"):
        interface = interface_of(version3_of(kind))
        with pytest.raises(UsageError, match="cannot be an alpha; leave out --result-as"):
            alpha.check(interface.result, interface.conditions)
    for kind in ("plain", "gray", "mask out", "alpha", "rgba"):
        interface = interface_of(version3_of(kind))
        with pytest.raises(UsageError, match="no paper around a drawing; leave out --background"):
            clear.check(interface.result, interface.conditions)
    for kind in ("mask out", "alpha"):
        interface = interface_of(version3_of(kind))
        alpha.check(interface.result, interface.conditions)
    clear.check(tiny_model.contract.result, tiny_model.conditions)


def test_the_shipped_model_is_known_without_its_file(shipped: Model) -> None:
    interface = interface_of(None)
    assert interface.result == shipped.contract.result
    assert [one.fields for one in interface.conditions] == [one.fields for one in shipped.conditions]


@pytest.fixture
def masked(
    colorize: Colorize, version3_of: ModelOf, images: Path, tmp_path: Path
) -> Callable[..., tuple[RunReport, dict[str, ItemResult]]]:
    """A run of the model that takes a mask."""
    model = load_model(version3_of("mask in"), provider="cpu")

    def go(**options: Any) -> tuple[RunReport, dict[str, ItemResult]]:
        plan = plan_of(model, images, tmp_path / "out")
        return colorize(tmp_path / "out", plan=plan, model=model, **options)

    return go


def test_another_mask_makes_its_output_again(masked: Colorize, images: Path, tmp_path: Path) -> None:
    masked()
    before = tree(tmp_path / "out")
    shutil.copyfile(images.parent / "masks" / "d.tiff", images.parent / "masks" / "deep" / "b.tiff")
    report, results = masked()
    assert (report.written, report.skipped) == (1, 3)
    assert results["b.bmp"].status == "ok"
    after = tree(tmp_path / "out")
    assert {name for name in before if before[name] != after[name]} == {"deep/b.png"}


def test_an_input_without_a_usable_mask_fails_alone(masked: Colorize, images: Path, tmp_path: Path) -> None:
    masks = images.parent / "masks"
    (masks / "a.tiff").unlink()
    (masks / "c.tiff").write_bytes(b"no picture")
    shutil.copyfile(masks / "d.tiff", masks / "deep" / "kept.tiff")
    Image.new("L", (16, 17)).save(masks / "deep" / "b.tiff")
    report, results = masked()
    reasons = {name: result.reason for name, result in results.items() if result.status == "failed"}
    assert (report.ok, report.failed) == (1, 3)
    assert "its mask" in reasons["a.png"]
    assert f"{masks}/a.* cannot be read (No such file" in reasons["a.png"]
    assert "its mask: no image of a known format" in reasons["c.png"]
    assert "its mask has 16x17 pixels, the image 16x16" in reasons["b.bmp"]

    # A mask that was missing is looked for again; what was wrong with a file stays wrong until it changes.
    shutil.copyfile(masks / "deep" / "kept.tiff", masks / "deep" / "b.tiff")
    Image.new("L", (30, 20), 7).save(masks / "a.tiff")
    report, results = masked()
    assert (report.written, report.failed, report.skipped) == (2, 1, 1)
    assert "failed in an earlier run" in results["c.png"].reason
    assert sorted(tree(tmp_path / "out")) == ["a.png", "d.png", "deep/b.png"]


def test_a_preview_looks_at_masks_too(
    masked: Colorize, version3_of: ModelOf, decoders: DecodingPool, images: Path, tmp_path: Path
) -> None:
    (images.parent / "masks" / "a.tiff").unlink()
    Image.new("L", (9, 9)).save(images.parent / "masks" / "c.tiff")
    model = load_model(version3_of("mask in"), provider="cpu")
    masked()
    shutil.copyfile(images.parent / "masks" / "d.tiff", images.parent / "masks" / "deep" / "b.tiff")
    job = Job(plan=plan_of(model, images, tmp_path / "out"))
    seen = list(preview(job, model, decoders, Preview()))
    assert [(one.item.name, one.outputs[0][1]) for one in seen] == [
        ("a.png", "unreadable"),
        ("c.png", "failed before"),
        ("d.png", "done"),
        ("deep/b.png", "replace"),
    ]
    assert "its mask" in seen[0].reason


def test_a_graph_of_one_image_is_called_with_one(
    colorize: Colorize, version3_of: ModelOf, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(version3_of("batch one"), provider="cpu")
    rule = model.contract.canvas_rule("fit")
    assert options_for(model, rule, batch_size=8, streams=1).batch_size == 1
    batches: list[int] = []
    real = Model.run

    def counted(self: Model, image: Any, *conditions: Any) -> Any:
        batches.append(len(image))
        return real(self, image, *conditions)

    monkeypatch.setattr(Model, "run", counted)
    colorize(tmp_path / "out", plan=plan_of(model, images, tmp_path / "out"), model=model, batch_size=8)
    assert batches == [1, 1, 1, 1]


def test_transparent_paper_of_a_model_with_a_color_and_a_number(
    colorize: Colorize, version3_of: ModelOf, images: Path, tmp_path: Path
) -> None:
    model = load_model(version3_of("color"), provider="cpu")
    plan = plan_of(model, images, tmp_path / "out", color="red", sigma=0)
    colorize(tmp_path / "out", plan=plan, model=model, finishing=Finishing(background="transparent"))
    [expected] = model.apply([images / "a.png"], {"color": "red", "sigma": 0})
    assert (tmp_path / "out" / "red,sigma=0" / "a.png").read_bytes() == encode_png(transparent(expected))
