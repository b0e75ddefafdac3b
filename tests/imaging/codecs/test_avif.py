import io

import numpy as np
import pytest
from PIL import Image

from polyexport.data.drawings import draw
from polyexport.errors import ImageError
from polyexport.imaging.codecs import format_by_signature
from polyexport.imaging.pixels import decode

DRAWING = draw(np.random.default_rng(3), 48).image


def avif(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "AVIF", speed=10, **options)
    return buffer.getvalue()


def test_a_drawing_comes_back() -> None:
    pixels = decode(avif(Image.fromarray(DRAWING), quality=100, subsampling="4:4:4")).pixels
    assert np.abs(pixels.astype(int) - DRAWING).max() <= 3


def test_alpha_is_white_paper() -> None:
    rgba = np.zeros((16, 16, 4), np.uint8)
    rgba[:8] = 0, 0, 255, 255
    data = avif(Image.fromarray(rgba), quality=100)
    assert np.abs(decode(data).pixels[[2, 13], 8].astype(int) - [[0, 0, 255], [255, 255, 255]]).max() <= 3
    assert decode(data, channels=4).pixels[[2, 13], 8, 3].tolist() == [255, 0]


def test_a_sequence_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "blue")]
    data = avif(frames[0], save_all=True, append_images=frames[1:])
    assert data[8:12] == b"avis"
    decoded = decode(data)
    assert np.abs(decoded.pixels[8, 8].astype(int) - (255, 0, 0)).max() <= 3
    assert decoded.warnings == ("only the first frame is used",)


@pytest.mark.parametrize("brands", [b"avif", b"avis", b"mif1\0\0\0\0avif", b"mif1\0\0\0\0mif1miafavis"])
def test_the_brands_of_an_avif(brands: bytes) -> None:
    assert format_by_signature(b"\0\0\0\x20ftyp" + brands + bytes(20)) == "AVIF"


def test_another_format_in_the_same_container_is_refused() -> None:
    whole = avif(Image.fromarray(DRAWING))
    heic = whole.replace(b"avif", b"heic")
    assert format_by_signature(heic) is None
    with pytest.raises(ImageError, match="no image of a known format"):
        decode(heic)
    with pytest.raises(ImageError, match="its AVIF header cannot be read"):
        decode(whole[:12] + bytes(64))


def test_every_truncated_file_is_refused() -> None:
    whole = avif(Image.fromarray(DRAWING))
    for cut in range(1, len(whole), 7):
        with pytest.raises(ImageError):
            decode(whole[:cut])
