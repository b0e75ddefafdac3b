import io
from typing import Any

import numpy as np
import pytest
from color_profiles import by_littlecms, cmyk_profile, display_p3, gray_profile
from numpy.typing import NDArray
from PIL import Image

from polyexport.data.drawings import draw
from polyexport.errors import ImageError
from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.encoders.profile import srgb_profile
from polyexport.imaging.encoders.write import write_image
from polyexport.imaging.matte import on_white
from polyexport.imaging.output_format import PNG_OUTPUT, OutputFormat
from polyexport.imaging.traits import NO_TRAITS, Traits

COLORED = draw(np.random.default_rng(3), 48).colored
ALPHA = np.broadcast_to(np.linspace(0, 255, 48, dtype=np.uint8)[:, None, None], (48, 48, 1))
PROFILED = Traits(icc_profile=display_p3(), exif=b"II*\0\x08\0\0\0\0\0\0\0\0\0", xmp=b"<x/>", dpi=(72.0, 72.0))


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def pixels_of(image: Image.Image) -> NDArray[np.int64]:
    return np.asarray(image).astype(int)


def test_an_input_without_traits_is_a_plain_png() -> None:
    made = write_image(COLORED, PNG_OUTPUT, NO_TRAITS)
    assert (made.data, made.warnings) == (encode_png(COLORED), ())


@pytest.mark.parametrize("name", ["png", "jpeg", "webp", "tiff", "avif"])
def test_srgb_is_said_where_the_input_had_a_profile(name: Any) -> None:
    image = opened(write_image(COLORED, OutputFormat(format=name), PROFILED).data)
    assert image.info.get("icc_profile", srgb_profile()) == srgb_profile()
    assert ("icc_profile" in image.info) == (name != "png")
    assert (image.info.get("srgb") == 0) == (name == "png")
    assert np.abs(pixels_of(image) - COLORED).mean() < 2


@pytest.mark.parametrize("name", ["png", "jpeg", "webp", "tiff", "avif"])
def test_the_profile_is_kept_and_the_colors_look_the_same(name: Any) -> None:
    made = write_image(COLORED, OutputFormat(format=name, color_profile="keep"), PROFILED)
    image = opened(made.data)
    assert image.info["icc_profile"] == display_p3()
    assert made.warnings == ()
    assert np.abs(by_littlecms(image, display_p3()).astype(int) - COLORED).mean() < 3


@pytest.mark.parametrize(
    ("profile", "count", "reason"),
    [
        (cmyk_profile(), 3, "it is for CMYK images, and this one is RGB"),
        (gray_profile(2.2), 3, "it is for gray images, and this one is RGB"),
        (display_p3(), 1, "it is for RGB images, and this one is gray"),
    ],
)
def test_a_profile_of_other_pixels_becomes_srgb_with_a_word(profile: bytes, count: int, reason: str) -> None:
    made = write_image(COLORED[..., :count], OutputFormat(color_profile="keep"), Traits(icc_profile=profile))
    assert made.warnings == (f"the color profile cannot be kept ({reason}): the output is sRGB",)
    image = opened(made.data)
    assert "icc_profile" not in image.info
    assert ("srgb" in image.info) == (count == 3)
    assert np.array_equal(np.asarray(image), COLORED if count == 3 else COLORED[..., 0])


def test_a_format_without_profiles_gets_srgb() -> None:
    made = write_image(COLORED, OutputFormat(format="same", color_profile="keep"), PROFILED, suffix=".ppm")
    assert made.warnings[0] == "the color profile cannot be kept (the format does not hold it): the output is sRGB"
    assert np.array_equal(np.asarray(opened(made.data)), COLORED)
    assert (
        write_image(COLORED, OutputFormat(format="same"), Traits(icc_profile=display_p3()), suffix=".ppm").warnings
        == ()
    )


@pytest.mark.parametrize("choice", ["srgb", "keep"])
def test_masks_and_labels_are_no_colors(choice: Any) -> None:
    for profile in (display_p3(), gray_profile(1.0)):
        for pixels in (COLORED, COLORED[..., :1]):
            output = OutputFormat(color_profile=choice)
            made = write_image(pixels, output, Traits(icc_profile=profile), colors=False)
            assert (made.data, made.warnings) == (encode_png(pixels), ())


def test_a_gray_picture_keeps_a_profile_of_grays() -> None:
    made = write_image(COLORED[..., :1], OutputFormat(color_profile="keep"), Traits(icc_profile=gray_profile(1.0)))
    image = opened(made.data)
    assert (image.mode, image.info["icc_profile"], made.warnings) == ("L", gray_profile(1.0), ())
    assert pixels_of(image).mean() < COLORED[..., 0].mean()


def test_metadata_are_kept_or_stripped() -> None:
    kept = opened(write_image(COLORED, PNG_OUTPUT, PROFILED).data).info
    assert (kept["xmp"], kept["exif"], round(kept["dpi"][0])) == (b"<x/>", b"Exif\0\0" + PROFILED.exif, 72)
    stripped = write_image(COLORED, OutputFormat(metadata="strip"), PROFILED).data
    assert set(opened(stripped).info) == {"srgb"}
    plain = Traits(exif=PROFILED.exif, xmp=b"<x/>", dpi=(72.0, 72.0))
    assert write_image(COLORED, OutputFormat(metadata="strip"), plain).data == encode_png(COLORED)
    made = write_image(COLORED, OutputFormat(format="same", metadata="strip"), plain, suffix=".gif")
    assert made.warnings == ()


@pytest.mark.parametrize("name", ["png", "webp", "tiff", "avif"])
def test_alpha_is_put_back_and_the_result_looks_as_on_white(name: Any) -> None:
    quality = 100 if name in ("webp", "avif") else None
    output = OutputFormat(format=name, alpha="keep", quality=quality)
    whitened = on_white(np.concatenate([COLORED, ALPHA], axis=2))  # as a network without an effect gives it
    image = opened(write_image(whitened, output, Traits(alpha=ALPHA)).data)
    tolerance = 4 if name == "avif" else 1
    assert image.mode == "RGBA"
    assert np.abs(pixels_of(image)[..., 3:] - ALPHA).max() <= tolerance
    assert np.abs(on_white(np.asarray(image)).astype(int) - whitened).max() <= tolerance
    if name == "png":  # no white fringe: where there is some alpha, the color is the one from before
        visible = ALPHA[..., 0] > 127
        assert np.abs(pixels_of(image)[visible][:, :3] - COLORED[visible]).max() <= 2


def test_alpha_is_scaled_with_the_result() -> None:
    large = np.full((96, 96, 3), 200, np.uint8)
    image = opened(write_image(large, OutputFormat(alpha="keep"), Traits(alpha=ALPHA)).data)
    expected = np.asarray(Image.fromarray(ALPHA[..., 0]).resize((96, 96), Image.Resampling.BILINEAR))
    assert np.array_equal(np.asarray(image)[..., 3], expected)


def test_alpha_of_grays_masks_and_of_inputs_without_one() -> None:
    keep = OutputFormat(alpha="keep")
    gray = opened(write_image(COLORED[..., :1], keep, Traits(alpha=ALPHA)).data)
    assert gray.mode == "LA"
    mask = np.asarray(opened(write_image(COLORED[..., :1], keep, Traits(alpha=ALPHA), colors=False).data))
    assert np.array_equal(mask, np.concatenate([COLORED[..., :1], ALPHA], axis=2))
    assert write_image(COLORED, keep, NO_TRAITS).data == encode_png(COLORED)
    assert write_image(COLORED, PNG_OUTPUT, Traits(alpha=ALPHA)).data == encode_png(COLORED)


def test_alpha_is_converted_before_the_profile() -> None:
    output = OutputFormat(alpha="keep", color_profile="keep")
    image = opened(write_image(COLORED, output, Traits(alpha=ALPHA, icc_profile=display_p3())).data)
    assert (image.mode, image.info["icc_profile"]) == ("RGBA", display_p3())


def test_the_format_same_follows_suffix_and_content() -> None:
    output = OutputFormat(format="same")
    for suffix, found, expected in ((".jpg", "PNG", "JPEG"), ("", "TIFF", "TIFF"), ("", "", "PNG"), (".x", "", "PNG")):
        assert opened(write_image(COLORED, output, Traits(format=found), suffix=suffix).data).format == expected


def test_too_many_pixels_are_an_error_of_this_image() -> None:
    with pytest.raises(ImageError, match="WEBP holds at most 16383 pixels a side, and the result has 16384x1"):
        write_image(np.zeros((1, 16384, 3), np.uint8), OutputFormat(format="webp"), NO_TRAITS)
