"""Formats of outputs, from file to file: what goes in comes out, or is dropped with a word."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from color_profiles import display_p3, gray_profile
from color_settings import setting
from PIL import Image

from polyexport.data.drawings import draw
from polyexport.errors import UsageError
from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.encoders import ENCODERS, encoder_of
from polyexport.imaging.encoders.encoder import save
from polyexport.imaging.output_format import FormatName, OutputFormat
from polyexport.imaging.pixels import decode
from polyexport.model.loading.load import load_model
from polyexport.model.model import Model
from polyexport.model.settings import parse_settings
from polyexport.pipeline.decoding import process
from polyexport.pipeline.decoding.pool import DecodingPool
from polyexport.pipeline.finishing import PLAIN, Finishing
from polyexport.pipeline.pipe import run_one
from polyexport.pipeline.plan import make_plan
from polyexport.pipeline.results import ItemResult, RunReport

Colorize = Callable[..., tuple[RunReport, dict[str, ItemResult]]]
ModelOf = Callable[[str], Path]

FORMATS: tuple[FormatName, ...] = ("png", "same", "jpeg", "webp", "tiff", "avif")
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
ORIENTATION = 274
COLORED = draw(np.random.default_rng(3), 48).colored[:32]

INPUTS: dict[str, tuple[str, dict[str, Any]]] = {
    "PNG": ("RGBA", {"dpi": (300, 300)}),
    "JPEG": ("RGB", {"dpi": (300, 300), "quality": 100, "subsampling": "4:4:4"}),
    "WEBP": ("RGBA", {"lossless": True, "exact": True}),
    "TIFF": ("RGBA", {"dpi": (300, 300)}),
    "AVIF": ("RGBA", {"quality": 100, "subsampling": "4:4:4"}),
    "BMP": ("RGB", {"dpi": (300, 300)}),
    "GIF": ("P", {}),
    "PPM": ("RGB", {}),
}
"""Mode of each format's input, and pillow's options for it."""

HOLDING = ("PNG", "JPEG", "WEBP", "TIFF", "AVIF")
"""Formats of inputs with EXIF data, XMP and a profile."""


def input_file(name: str) -> bytes:
    """A file with everything that its format holds: alpha, a profile, EXIF data that turn it, XMP and a resolution."""
    mode, options = INPUTS[name]
    ramp = np.broadcast_to(np.linspace(0, 255, 48, dtype=np.uint8)[None, :, None], (32, 48, 1))
    pixels = np.concatenate([COLORED, ramp], axis=2) if mode == "RGBA" else COLORED
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if mode == "P":
        image = image.quantize(64)
    if name in HOLDING:
        exif = Image.Exif()
        exif[271] = "a maker"
        exif[ORIENTATION] = 6
        exif.get_ifd(0x8769)[36867] = "2020:01:02 03:04:05"
        options = options | {"exif": exif, "icc_profile": display_p3()}
        options |= {"tiffinfo": {700: XMP, 271: "a maker", ORIENTATION: 6}} if name == "TIFF" else {"xmp": XMP}
        if name == "TIFF":
            del options["exif"]  # pillow writes the tags that it is given, or those of the EXIF data
        if name == "PNG":
            options |= {"pnginfo": _xmp_chunk()}
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def _xmp_chunk() -> Any:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", XMP.decode())
    return info


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.fixture(scope="module")
def identity(version3_of: ModelOf) -> Model:
    """A model that changes nothing at sigma 0."""
    return load_model(version3_of("number"), provider="cpu")


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("name", FORMATS)
def test_what_goes_in_comes_out_or_is_dropped_with_a_word(
    kind: str, name: FormatName, identity: Model, decoders: DecodingPool, tmp_path: Path
) -> None:
    path = tmp_path / f"input{encoder_of('same', '', kind).suffixes[0]}"
    path.write_bytes(input_file(kind))
    [zero] = parse_settings(identity.conditions, assignments=["sigma=0"])
    alpha: Literal["white", "keep"] = "white" if name == "jpeg" else "keep"
    quality = None if name in ("png", "tiff") else 100
    output = OutputFormat(format=name, alpha=alpha, color_profile="keep", quality=quality)
    made = run_one(str(path), zero, identity, decoders, finishing=Finishing(output=output), size="native")
    encoder = next(one for one in ENCODERS if one.name == (kind if name == "same" else name.upper()))
    image, told = opened(made.data), " ".join(made.warnings)
    entries = image.getexif()

    assert image.format == encoder.name
    exact = encoder.name in ("PNG", "TIFF", "WEBP", "BMP", "PPM", "GIF")
    turned = (32, 48) if kind in HOLDING else (48, 32)
    expected, found = decode(path.read_bytes()).pixels, decode(made.data).pixels
    assert found.shape == expected.shape == (turned[1], turned[0], 3)
    away = np.abs(found.astype(int) - expected)
    assert away.mean() < (1.0 if exact else 3.0)

    if kind in HOLDING:
        assert entries.get(ORIENTATION, 1) == 1
        assert ("no EXIF" in told) == ("exif" not in encoder.held)
        assert entries.get(271) == ("a maker" if "exif" in encoder.held else None)
        if kind != "TIFF" and "exif" in encoder.held:
            assert entries.get_ifd(0x8769)[36867] == "2020:01:02 03:04:05"
        assert image.info.get("xmp") == (XMP if "xmp" in encoder.held else None)
        assert image.info.get("icc_profile") == (display_p3() if encoder.profile_bytes else None)
    else:
        assert 271 not in entries
        assert not {"xmp", "icc_profile"} & set(image.info)
    if "dpi" in INPUTS[kind][1]:
        dpi = image.info.get("dpi") or (entries.get(282), entries.get(283))
        assert ("no resolution" in told) == ("dpi" not in encoder.held)
        assert tuple(map(float, dpi)) == pytest.approx((300, 300), abs=0.02) if "dpi" in encoder.held else True
    transparent = INPUTS[kind][0] == "RGBA" and encoder.alpha and name != "jpeg"
    assert image.has_transparency_data == transparent
    if transparent:
        ramp = np.linspace(0, 255, 48, dtype=np.uint8)
        assert np.abs(np.asarray(image)[:, 0, 3].astype(int) - ramp).max() <= 4


@pytest.mark.parametrize("name", FORMATS)
def test_strip_and_srgb_leave_nothing_but_the_space(
    name: FormatName, identity: Model, decoders: DecodingPool, tmp_path: Path
) -> None:
    path = tmp_path / "input.jpg"
    path.write_bytes(input_file("JPEG"))
    [zero] = parse_settings(identity.conditions, assignments=["sigma=0"])
    stripping = Finishing(output=OutputFormat(format=name, metadata="strip"))
    image = opened(run_one(str(path), zero, identity, decoders, finishing=stripping).data)
    assert dict(image.getexif()).keys() & {271, 282} == set()
    assert not {"xmp", "exif", "dpi"} & set(image.info) or name == "tiff"
    assert image.info.get("icc_profile") != display_p3()
    assert "icc_profile" in image.info or image.info.get("srgb") == 0


@pytest.mark.parametrize(("mode", "suffix"), [("I;16", ".png"), ("I;16", ".tif"), ("L", ".png"), ("1", ".tif")])
def test_every_depth_becomes_eight_bits(
    mode: str, suffix: str, identity: Model, decoders: DecodingPool, tmp_path: Path
) -> None:
    deep = COLORED[..., 0].astype(np.uint16) * 257
    image = Image.fromarray(deep) if mode == "I;16" else Image.fromarray(COLORED[..., 0]).convert(mode)
    image.save(tmp_path / f"input{suffix}")
    [zero] = parse_settings(identity.conditions, assignments=["sigma=0"])
    finishing = Finishing(output=OutputFormat(format="same"))
    made = run_one(str(tmp_path / f"input{suffix}"), zero, identity, decoders, finishing=finishing)
    expected = decode((tmp_path / f"input{suffix}").read_bytes()).pixels
    assert np.array_equal(np.asarray(opened(made.data).convert("RGB")), expected)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kind", ["gray", "mask out", "rgba", "x2"])
def test_results_of_every_kind(
    kind: str, name: FormatName, version3_of: ModelOf, decoders: DecodingPool, tmp_path: Path
) -> None:
    model = load_model(version3_of(kind), provider="cpu")
    Image.fromarray(COLORED).save(tmp_path / "input.bmp")
    [none] = parse_settings(model.conditions)
    finishing = Finishing(output=OutputFormat(format=name))
    made = run_one(str(tmp_path / "input.bmp"), none, model, decoders, finishing=finishing)
    image = opened(made.data)
    encoder = encoder_of(name, ".bmp")
    gray = model.contract.result.channels == 1
    assert image.mode == ("L" if gray and encoder.gray else "RGBA" if kind == "rgba" and encoder.alpha else "RGB")
    lost = kind == "rgba" and not encoder.alpha
    assert made.warnings == ((f"{encoder.name} holds no alpha: composited on white",) if lost else ())
    assert image.size == ((96, 64) if kind == "x2" else (48, 32))


def test_a_gray_picture_keeps_its_profile_of_grays(
    version3_of: ModelOf, decoders: DecodingPool, tmp_path: Path
) -> None:
    model = load_model(version3_of("gray"), provider="cpu")
    Image.fromarray(COLORED[..., 1]).save(tmp_path / "input.png", icc_profile=gray_profile(1.0))
    [none] = parse_settings(model.conditions)
    finishing = Finishing(output=OutputFormat(color_profile="keep"))
    image = opened(run_one(str(tmp_path / "input.png"), none, model, decoders, finishing=finishing).data)
    assert (image.mode, image.info["icc_profile"]) == ("L", gray_profile(1.0))


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("rgba", {"output": OutputFormat(alpha="keep")}, "RGBA picture, cannot get the alpha of its image; leave out"),
        ("alpha", {"output": OutputFormat(alpha="keep")}, "the model's result, alpha, cannot get the alpha"),
        ("labels", {"output": OutputFormat(alpha="keep")}, "the model's result, labels, cannot get the alpha"),
    ],
)
def test_a_result_that_has_alpha_gets_no_other(
    kind: str, options: dict[str, Any], message: str, version3_of: ModelOf
) -> None:
    model = load_model(version3_of(kind), provider="cpu")
    with pytest.raises(UsageError, match=message):
        Finishing(**options).check(model.contract.result, model.conditions)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"background": "transparent", "output": OutputFormat(format="jpeg")}, "--background transparent does not go"),
        ({"result_as": "alpha", "output": OutputFormat(format="jpeg")}, "--result-as alpha does not go with --format"),
        ({"background": "transparent", "output": OutputFormat(alpha="keep")}, "does not go with --alpha keep"),
        ({"result_as": "alpha", "output": OutputFormat(alpha="keep")}, "does not go with --alpha keep"),
    ],
)
def test_alpha_goes_with_formats_that_hold_it(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Finishing(**options)


def written(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and ".polyexport" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def run_in(
    colorize: Colorize, drawings: Path, folder: Path, output: OutputFormat
) -> tuple[RunReport, dict[str, bytes]]:
    plan = make_plan([drawings], [setting("red")], output=folder, format_name=output.format)
    report, _ = colorize(folder, plan=plan, finishing=Finishing(output=output))
    return report, written(folder)


@pytest.mark.parametrize("name", FORMATS)
def test_a_run_writes_the_format_and_carries_on(
    name: FormatName, colorize: Colorize, drawings: Path, tmp_path: Path
) -> None:
    (drawings / "5.png").rename(drawings / "5.dat.gif")  # a PNG by its content
    output = OutputFormat(format=name)
    report, files = run_in(colorize, drawings, tmp_path / "out", output)
    suffix = encoder_of(name, ".png").suffixes[0]
    last = "red/5.dat.gif" if name == "same" else f"red/5.dat{suffix}"
    assert sorted(files) == [*(f"red/{number}{suffix}" for number in range(5)), last]
    for path, data in files.items():
        assert opened(data).format == encoder_of(name, Path(path).suffix).name
    assert (report.ok, report.failed) == (6, 0)
    again, same = run_in(colorize, drawings, tmp_path / "out", output)
    assert (again.skipped, same) == (6, files)
    if name not in ("png", "tiff"):
        other, changed = run_in(colorize, drawings, tmp_path / "out", replace(output, quality=20))
        assert other.written == 6
        assert any(changed[path] != data for path, data in files.items()) == (name != "same")


@pytest.mark.parametrize("name", FORMATS)
def test_traits_come_through_a_run(name: FormatName, colorize: Colorize, drawings: Path, tmp_path: Path) -> None:
    (drawings / "traits.jpg").write_bytes(input_file("JPEG"))
    rgba = np.concatenate([COLORED, COLORED[..., :1]], axis=2)
    Image.fromarray(rgba).save(drawings / "clear.png")
    alpha: Literal["white", "keep"] = "white" if name == "jpeg" else "keep"
    output = OutputFormat(format=name, alpha=alpha, color_profile="keep")
    _, files = run_in(colorize, drawings, tmp_path / "out", output)
    images = {Path(path).stem: opened(data) for path, data in files.items()}
    assert images["traits"].info["icc_profile"] == display_p3()
    assert images["traits"].info["xmp"] == XMP
    assert images["traits"].getexif()[271] == "a maker"
    assert images["clear"].mode == ("RGB" if name == "jpeg" else "RGBA")
    assert not {"icc_profile", "xmp", "exif"} & set(images["0"].info)


def test_the_journal_of_an_earlier_version_holds(colorize: Colorize, drawings: Path, tmp_path: Path) -> None:
    assert PLAIN.recipe() == {"background": "white"}
    assert Finishing(result_as="alpha").recipe() == {"background": "white", "result_as": "alpha"}
    assert Finishing(output=OutputFormat(format="same")).recipe() == {"background": "white", "format": "same"}
    _, files = run_in(colorize, drawings, tmp_path / "out", OutputFormat())
    report, same = run_in(colorize, drawings, tmp_path / "out", OutputFormat(metadata="strip"))
    assert (report.written, same) == (6, files)


def test_a_result_that_a_format_does_not_hold_fails_alone(
    colorize: Colorize, drawings: Path, tiny_model: Model, tmp_path: Path
) -> None:
    Image.new("RGB", (16_400, 8), "white").save(drawings / "wide.png")
    plan = make_plan([drawings], [setting("red")], output=tmp_path / "out", format_name="webp")
    finishing = Finishing(output=OutputFormat(format="webp"))
    report, results = colorize(tmp_path / "out", plan=plan, finishing=finishing, size="fit")
    assert (report.ok, report.failed) == (6, 1)
    reason = "WEBP holds at most 16383 pixels a side, and the result has 16400x8; use --format png or tiff"
    assert results["wide.png"].reason == f"cannot be encoded ({reason})"
    assert len(written(tmp_path / "out")) == 6


def test_an_encoder_that_fails_fails_one_image_and_a_rerun_completes(
    colorize: Colorize, drawings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = iter(range(1000))

    def sometimes(*arguments: Any, **options: Any) -> bytes:
        if next(count) == 2:
            raise OSError("encoder error -9")
        return save(*arguments, **options)

    monkeypatch.setattr("polyexport.imaging.encoders.webp.save", sometimes)
    output = OutputFormat(format="webp")
    report, files = run_in(colorize, drawings, tmp_path / "out", output)
    assert (report.ok, report.failed, len(files)) == (5, 1, 5)
    monkeypatch.undo()
    report, files = run_in(colorize, drawings, tmp_path / "out", output)
    assert (report.ok, report.skipped, report.failed, len(files)) == (1, 5, 0, 6)
    assert files == run_in(colorize, drawings, tmp_path / "other", output)[1]


def test_a_profile_that_crashes_on_the_way_back_fails_one_image(
    colorize: Colorize, drawings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = "import os, polyexport.imaging.encoders.profile as one; one.to_profile = lambda *given: os.abort()"
    start = process._WORKER_CODE.replace("import main;", f"import main; exec({crash!r});")
    monkeypatch.setattr(process, "_WORKER_CODE", start)
    Image.fromarray(COLORED).save(drawings / "deadly.png", icc_profile=display_p3())
    plan = make_plan([drawings], [setting("red")], output=tmp_path / "out")
    finishing = Finishing(output=OutputFormat(color_profile="keep"))
    with DecodingPool(jobs=1) as processes:
        report, results = colorize(tmp_path / "out", plan=plan, finishing=finishing, processes=processes)
    assert (report.ok, report.failed) == (6, 1)
    assert "SIGABRT" in results["deadly.png"].reason


def test_warnings_of_several_outputs_are_told_once(
    colorize: Colorize, identity: Model, drawings: Path, tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).integers(0, 200, (64, 64, 3), dtype=np.uint8)
    (drawings / "noise.gif").write_bytes(encode_png(noise))
    settings = parse_settings(identity.conditions, assignments=["sigma=0", "sigma=5"])
    plan = make_plan([drawings], settings, output=tmp_path / "out", format_name="same")
    finishing = Finishing(output=OutputFormat(format="same"))
    report, results = colorize(tmp_path / "out", plan=plan, model=identity, finishing=finishing)
    assert report.written == 14
    assert results["noise.gif"].warnings == ("GIF holds 256 colors: the others are replaced by similar ones",)
    assert results["0.png"].warnings == ()
