import io
import struct
import warnings
from typing import Any

import numpy as np
import pytest
from color_profiles import cmyk_profile, display_p3, gray_profile, srgb_profile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from polyexport.imaging.codecs import FORMATS
from polyexport.imaging.codecs.avif import AVIF
from polyexport.imaging.pixels import decode
from polyexport.imaging.traits import KEEP_NOTHING, MAX_EXIF_BYTES, MAX_XMP_BYTES, NO_TRAITS, Keep, Traits

METADATA, ALPHA, BOTH = Keep(metadata=True), Keep(alpha=True), Keep(metadata=True, alpha=True)
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><a tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
UPRIGHT_XMP = XMP.replace(b'"6"', b'"1"')
TURNS = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
WIDE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 32, 3), np.uint8))


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def described(orientation: int = 1) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Ayna"
    exif[ExifTags.Base.Copyright] = "somebody"
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.IFD.Exif] = {
        ExifTags.Base.DateTimeOriginal: "2026:11:01 10:00:00",
        ExifTags.Base.ExposureTime: 0.01,
        ExifTags.Base.ExifImageWidth: 32,
        ExifTags.Base.MakerNote: b"\1" * 500,
    }
    exif[ExifTags.IFD.GPSInfo] = {ExifTags.GPS.GPSLatitudeRef: "N", ExifTags.GPS.GPSLatitude: (48.0, 8.0, 0.0)}
    return parsed(exif.tobytes())  # as read from a file


def parsed(data: bytes) -> Image.Exif:
    exif = Image.Exif()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exif.load(data)
        dict(exif)
    return exif


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", TURNS)
def test_metadata_is_kept_and_the_orientation_applied_once(orientation: int, kind: str) -> None:
    exif = described(orientation)
    if kind == "TIFF":
        exif[700] = XMP  # pillow writes it as a tag alone
    data = saved(WIDE, kind, exif=exif, icc_profile=display_p3(), dpi=(300, 200), xmp=XMP)
    decoded = decode(data, keep=METADATA)
    assert decoded.warnings == ()
    as_stored = Image.fromarray(decode(saved(WIDE, kind, icc_profile=display_p3())).pixels)
    turn = TURNS[orientation]
    upright = as_stored if turn is None else as_stored.transpose(Image.Transpose(turn))
    assert np.array_equal(decoded.pixels, np.asarray(upright))

    traits = decoded.traits
    assert (traits.format, traits.bits, traits.icc_profile, traits.alpha) == (kind, 8, display_p3(), None)
    exif = parsed(traits.exif)
    assert not {ExifTags.Base.Orientation, 700} & set(exif)
    assert (exif[ExifTags.Base.Make], exif[ExifTags.Base.Copyright]) == ("Ayna", "somebody")
    assert exif.get_ifd(ExifTags.IFD.Exif) == {36867: "2026:11:01 10:00:00", 33434: pytest.approx(0.01)}
    assert exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] == (48.0, 8.0, 0.0)
    assert not {256, 257, 258, 273, 279} & set(exif)
    if kind in ("JPEG", "PNG"):
        expected = (200, 300) if orientation >= 5 else (300, 200)
        assert traits.dpi is not None
        assert np.allclose(traits.dpi, expected, atol=0.1)
    elif kind == "TIFF":
        assert traits.dpi == (300, 200)
    else:
        assert traits.dpi is None
    if kind == "TIFF" and orientation != 1:
        assert traits.xmp == XMP.replace(b'tiff:Orientation="6"', b"")  # pillow has applied and removed it
    else:
        assert traits.xmp == (b"" if kind == "PNG" else UPRIGHT_XMP)

    again = decode(saved(upright, "PNG", exif=traits.exif), keep=METADATA)  # what an output with them is read as
    assert np.array_equal(again.pixels, decoded.pixels)
    assert again.traits.exif == traits.exif


def test_the_xmp_of_a_png() -> None:
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", XMP.decode())
    assert decode(saved(WIDE, "PNG", pnginfo=info), keep=METADATA).traits.xmp == UPRIGHT_XMP


@pytest.mark.parametrize("form", [b"tiff:Orientation='8'", b'tiff:Orientation = "3"', b"<tiff:Orientation>5</tiff:..."])
def test_every_form_of_an_orientation_in_xmp_is_upright(form: bytes) -> None:
    kept = decode(saved(WIDE, "JPEG", xmp=form), keep=METADATA).traits.xmp
    assert kept == form.translate(bytes.maketrans(b"835", b"111"))


def test_without_being_asked_nothing_is_kept() -> None:
    rgba = WIDE.convert("RGBA")
    data = saved(rgba, "PNG", exif=described(), icc_profile=display_p3(), dpi=(72, 72))
    assert decode(data).traits is NO_TRAITS
    assert not KEEP_NOTHING.anything
    only_alpha = decode(data, keep=ALPHA).traits
    assert only_alpha.alpha is not None
    assert (only_alpha.icc_profile, only_alpha.exif, only_alpha.dpi, only_alpha.format) == (b"", b"", None, "PNG")


def thumbnailed() -> bytes:
    """A JPEG whose EXIF data have a second directory with a thumbnail."""
    head = b"MM\0*\0\0\0\x08"
    first = struct.pack(">HHHI4sI", 1, 271, 2, 4, b"Cam\0", 8 + 18)
    thumbnail = b"a thumbnail" * 20
    second = struct.pack(">HHHIIHHIII", 2, 513, 4, 1, 8 + 18 + 30, 514, 4, 1, len(thumbnail), 0)
    return saved(WIDE, "JPEG", exif=b"Exif\0\0" + head + first + second + thumbnail)


def test_a_thumbnail_is_dropped() -> None:
    data = thumbnailed()
    with Image.open(io.BytesIO(data)) as image:
        assert image.getexif().get_ifd(ExifTags.IFD.IFD1)
    kept = decode(data, keep=METADATA).traits.exif
    assert parsed(kept)[271] == "Cam"
    assert b"thumbnail" not in kept
    assert not parsed(kept).get_ifd(ExifTags.IFD.IFD1)


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_kept_upright(kind: str, orientation: int) -> None:
    rgba = np.random.default_rng(1).integers(0, 256, (16, 32, 4), np.uint8)
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    exif = Image.Exif()
    exif[274] = orientation
    decoded = decode(saved(Image.fromarray(rgba), kind, exif=exif, **options), keep=ALPHA)
    alpha, turn = Image.fromarray(rgba[..., 3]), TURNS[orientation]
    expected = np.asarray(alpha if turn is None else alpha.transpose(Image.Transpose(turn)))
    assert decoded.traits.alpha is not None
    assert np.array_equal(decoded.traits.alpha[..., 0], expected)
    assert decoded.traits.alpha.shape[:2] == decoded.pixels.shape[:2]


def alpha_of(data: bytes) -> list[list[int]] | None:
    alpha = decode(data, keep=ALPHA).traits.alpha
    return None if alpha is None else alpha[..., 0].tolist()


def test_every_kind_of_transparency_is_an_alpha() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.putdata([0, 1])
    assert alpha_of(saved(palette, "PNG", transparency=0)) == [[0, 255]]
    assert alpha_of(saved(palette, "GIF", transparency=0)) == [[0, 255]]
    assert alpha_of(saved(palette, "PNG")) is None
    key = Image.fromarray(np.array([[[1, 2, 3], [1, 2, 4]]], np.uint8))
    assert alpha_of(saved(key, "PNG", transparency=(1, 2, 3))) == [[0, 255]]
    gray = Image.fromarray(np.array([[[9, 100], [9, 200]]], np.uint8), "LA")
    assert alpha_of(saved(gray, "PNG")) == [[100, 200]]
    deep = Image.fromarray(np.array([[0, 30000]], np.uint16))
    deep.info["transparency"] = 30000
    assert alpha_of(saved(deep, "PNG", transparency=30000)) in ([[255, 0]], None)  # pillow may not write it


def test_what_the_frame_of_a_gif_leaves_out_is_transparent() -> None:
    whole = bytearray(saved(Image.new("P", (1, 1)), "GIF", optimize=False))
    whole[6:10] = struct.pack("<HH", 3, 2)
    descriptor = whole.index(b",", 13 + 3 * 2 ** ((whole[10] & 7) + 1))
    whole[descriptor + 1 : descriptor + 9] = struct.pack("<HHHH", 1, 1, 1, 1)
    assert alpha_of(bytes(whole)) == [[0, 0, 0], [0, 255, 0]]


@pytest.mark.parametrize(
    ("image", "kind", "options", "bits"),
    [
        (Image.new("1", (9, 9)), "PNG", {}, 1),
        (Image.new("1", (9, 9)), "TIFF", {}, 1),
        (Image.new("1", (9, 9)), "PPM", {}, 1),
        (Image.new("1", (9, 9)), "BMP", {}, 1),
        (Image.new("P", (9, 9)), "PNG", {"bits": 2}, 8),
        (Image.new("P", (9, 9)), "TIFF", {}, 8),
        (Image.new("L", (9, 9)), "PNG", {}, 8),
        (Image.new("RGB", (9, 9)), "PPM", {}, 8),
        (Image.new("RGB", (9, 9)), "AVIF", {}, 8),
        (Image.new("RGB", (9, 9)), "JPEG", {}, 8),
        (Image.fromarray(np.zeros((9, 9), np.uint16)), "PNG", {}, 16),
        (Image.fromarray(np.zeros((9, 9), np.uint16)), "TIFF", {}, 16),
        (Image.fromarray(np.zeros((9, 9), np.int32)), "TIFF", {}, 32),
        (Image.fromarray(np.zeros((9, 9), np.float32)), "TIFF", {}, 32),
        (Image.fromarray(np.full((9, 9), 65535, np.int32)), "PPM", {}, 16),
    ],
)
def test_the_bits_of_a_file(image: Image.Image, kind: str, options: dict[str, Any], bits: int) -> None:
    decoded = decode(saved(image, kind, **options), keep=ALPHA)
    assert (decoded.traits.bits, decoded.traits.format) == (bits, kind)
    reduced = f"{bits} bits per channel were reduced to 8, which the model takes"
    assert decoded.warnings == ((reduced,) if bits > 8 else ())


def test_the_bits_of_an_avif_are_in_its_configuration() -> None:
    data = bytearray(saved(WIDE, "AVIF"))
    flags = data.index(b"av1C") + 6
    for deep, bits in ((0x40, 10), (0x60, 12)):
        data[flags] = data[flags] & 0x9F | deep
        assert AVIF.bits(WIDE, bytes(data)) == bits


@pytest.mark.parametrize("header", [b"P2 # 9\n2 # a 1\n1\n1023 5 1023", b"P2\n2 1\n1023\n5 1023"])
def test_the_bits_of_a_plain_netpbm(header: bytes) -> None:
    assert decode(header, keep=ALPHA).traits.bits == 10


def test_a_multi_picture_file_is_a_jpeg() -> None:
    data = saved(WIDE, "MPO", save_all=True, append_images=[WIDE], exif=described(6))
    traits = decode(data, keep=METADATA).traits
    assert traits.format == "JPEG"
    assert parsed(traits.exif)[ExifTags.Base.Make] == "Ayna"


@pytest.mark.parametrize(
    ("mode", "icc", "used"),
    [
        ("RGB", srgb_profile(), True),
        ("L", gray_profile(2.0), True),
        ("CMYK", cmyk_profile(), True),
        ("RGB", gray_profile(2.0), False),
        ("RGB", b"no profile", False),
    ],
)
def test_the_profile_that_was_used_is_kept(mode: str, icc: bytes, used: bool) -> None:
    image = WIDE.convert(mode)
    assert decode(saved(image, "TIFF", icc_profile=icc), keep=METADATA).traits.icc_profile == (icc if used else b"")


def test_what_is_too_large_is_dropped_and_said() -> None:
    exif = described()
    exif[ExifTags.Base.ImageDescription] = "x" * MAX_EXIF_BYTES
    decoded = decode(saved(WIDE, "WEBP", exif=exif, xmp=b"x" * (MAX_XMP_BYTES + 1)), keep=METADATA)
    assert (decoded.traits.exif, decoded.traits.xmp) == (b"", b"")
    first, second = decoded.warnings
    assert first.startswith("EXIF data of ")
    assert first.endswith(f"bytes are dropped, more than the limit of {MAX_EXIF_BYTES}")
    assert second == f"an XMP packet of {MAX_XMP_BYTES + 1} bytes is dropped, more than the limit of {MAX_XMP_BYTES}"
    largest = decode(saved(WIDE, "JPEG", xmp=b"x" * MAX_XMP_BYTES), keep=METADATA)
    assert len(largest.traits.xmp) == MAX_XMP_BYTES


@pytest.mark.parametrize("packet", [b"\xff\xfe\0", b"<a>\0</a>"])
def test_a_broken_packet_is_ignored(packet: bytes) -> None:
    decoded = decode(saved(WIDE, "WEBP", xmp=packet + b"x"), keep=METADATA)
    assert (decoded.traits.xmp, decoded.warnings) == (b"", ("a broken XMP packet is ignored",))


def test_broken_exif_is_ignored_with_one_line() -> None:
    data = saved(WIDE, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\xff")
    decoded = decode(data, keep=METADATA)
    assert (decoded.traits.exif, decoded.warnings) == (b"", ("broken EXIF data is ignored",))


@given(st.binary(max_size=120))
def test_any_exif_is_kept_valid_or_ignored(body: bytes) -> None:
    data = saved(WIDE, "WEBP", exif=b"Exif\0\0MM\0*\0\0\0\x08" + body, lossless=True)
    decoded = decode(data, keep=METADATA)
    if decoded.traits.exif:
        assert 274 not in parsed(decoded.traits.exif)
    with_nothing = decode(data)
    assert np.array_equal(decoded.pixels, with_nothing.pixels)


@given(st.data())
def test_mutated_exif_is_kept_valid_or_ignored(data: st.DataObject) -> None:
    damaged = bytearray(described(3).tobytes())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(6, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    decoded = decode(saved(WIDE, "WEBP", exif=bytes(damaged), lossless=True), keep=METADATA)
    if decoded.traits.exif:
        exif = parsed(decoded.traits.exif)
        assert 274 not in exif
        assert exif.get_ifd(ExifTags.IFD.Exif) is not None


BAD: list[dict[str, Any]] = [
    {"format": "../x"},
    {"bits": 0},
    {"bits": 65},
    {"icc_profile": bytes(4 * 1024 * 1024 + 1)},
    {"exif": bytes(MAX_EXIF_BYTES + 1)},
    {"xmp": bytes(MAX_XMP_BYTES + 1)},
    {"dpi": (72.0, 0.0)},
    {"dpi": (float("nan"), 72.0)},
    {"dpi": (float("inf"), 72.0)},
    {"alpha": np.zeros((2, 2), np.uint8)},
    {"alpha": np.zeros((2, 2, 1), np.float32)},
]


@pytest.mark.parametrize("entries", BAD, ids=lambda entries: next(iter(entries)))
def test_traits_out_of_their_bounds_are_refused(entries: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"bytes|format|resolution|alpha"):
        Traits(**entries)
    whole: NDArray[np.uint8] = np.zeros((2, 3, 1), np.uint8)
    assert Traits(format=FORMATS[0], bits=1, dpi=(72.0, 1.5), alpha=whole).alpha is whole
