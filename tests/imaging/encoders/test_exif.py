import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from polyexport.imaging.encoders import encoder_of
from polyexport.imaging.encoders.exif import exif_with_resolution, tags_of
from polyexport.imaging.output_format import OutputFormat
from polyexport.imaging.traits import Traits

PIXELS = np.zeros((2, 3, 3), np.uint8)


def entries(**values: object) -> bytes:
    exif = Image.Exif()
    for tag, value in values.items():
        exif[int(tag.removeprefix("t"))] = value
    return exif.tobytes()


def test_a_resolution_is_written_into_the_entries() -> None:
    for given_ in (b"", entries(t271="a maker")):
        notes: list[str] = []
        written = exif_with_resolution(given_, (300.0, 150.5), notes)
        found = Image.Exif()
        found.load(written)
        assert (float(found[282]), float(found[283]), found[296]) == (300.0, 150.5, 2)
        assert found.get(271) == ("a maker" if given_ else None)
        assert notes == []
        assert exif_with_resolution(written, (300.0, 150.5), notes) == written


def test_without_a_resolution_the_entries_stay() -> None:
    assert exif_with_resolution(b"", None, []) == b""
    assert exif_with_resolution(b"Exif\0\0II*\0rest", None, []) == b"II*\0rest"


def test_tags_of_another_picture_are_no_tags_of_this_one() -> None:
    exif = Image.Exif()
    exif[256], exif[270], exif[273] = 1000, "a description", 77
    exif.get_ifd(0x8769)[36867] = "2020:01:02 03:04:05"
    exif.get_ifd(0x8769)[0xA005] = 1234
    assert tags_of(exif.tobytes(), []) == {270: "a description", 0x8769: {36867: "2020:01:02 03:04:05"}}


@pytest.mark.filterwarnings("ignore")
@given(st.binary(max_size=200), st.booleans())
def test_broken_entries_are_dropped_with_a_word_or_written(rest: bytes, headed: bool) -> None:
    exif = (b"II*\0\x08\0\0\0" if headed else b"") + rest
    notes: list[str] = []
    exif_with_resolution(exif, (300.0, 300.0), notes)
    tags_of(exif, notes)
    assert all(note.endswith("left out") for note in notes)
    traits = Traits(exif=exif, dpi=(300.0, 300.0))
    data = encoder_of("tiff").encode(PIXELS, OutputFormat(format="tiff"), traits, notes)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(np.asarray(image), PIXELS)


@given(st.binary(min_size=20, max_size=400), st.data())
@pytest.mark.filterwarnings("ignore")
def test_entries_with_wrong_bytes_never_break_a_tiff(noise: bytes, data: st.DataObject) -> None:
    exif = Image.Exif()
    exif[271], exif[33432] = "a maker", "someone"
    exif.get_ifd(0x8769)[37500] = noise
    exif.get_ifd(0x8825)[2] = (50.0, 10.0, 3.5)
    broken = bytearray(exif.tobytes())
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    written = encoder_of("tiff").encode(PIXELS, OutputFormat(format="tiff"), Traits(exif=bytes(broken)), [])
    with Image.open(io.BytesIO(written)) as image:
        assert np.array_equal(np.asarray(image), PIXELS)
