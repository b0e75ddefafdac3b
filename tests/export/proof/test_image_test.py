"""Results of changed graphs on images, and what counts as worse for pictures, masks and labels."""

import numpy as np
import pytest

from polyexport.export.precision.precision import ImageGate
from polyexport.export.proof.image_test import _Agreement
from polyexport.export.proof.own_images import OwnImages, bounded, tiles
from polyexport.export.source.source import Source
from polyexport.imaging.pixels import Pixels
from polyexport.model.certificate import ImageFidelity
from polyexport.model.conditions.fields import ConditionFields, ImageFields, NumberFields
from polyexport.model.settings import parse_settings

GATE = ImageGate(psnr_db=40, ssim=0.97, agreement=0.98)


def found(*, psnr: float = 45, ssim: float = 0.99, agreement: float | None = None) -> ImageFidelity:
    return ImageFidelity(
        images=16,
        sha256="0" * 64,
        psnr_mean_db=psnr,
        psnr_min_db=psnr,
        ssim_mean=ssim,
        ssim_min=ssim,
        agreement=agreement,
    )


@pytest.mark.parametrize(
    ("one", "kind", "said"),
    [
        (found(), "picture", []),
        (found(psnr=39), "picture", ["39.0 dB to fp32 < 40.0 dB"]),
        (found(ssim=0.9), "picture", ["structural similarity 0.9000 < 0.9700"]),
        (found(psnr=float("nan"), ssim=float("nan")), "picture", ["nan dB", "similarity nan"]),
        # A mask that is nearly empty: 60 dB, and nothing of it is right.
        (found(psnr=60, ssim=1, agreement=0.1), "mask", ["agreement of mask 0.1000 < 0.9800"]),
        (found(psnr=30, ssim=0.5, agreement=0.99), "mask", ["30.0 dB"]),
        # Labels are names: only how many are equal counts.
        (found(psnr=12, ssim=0.2, agreement=0.99), "labels", []),
        (found(psnr=99, ssim=1, agreement=0.97), "labels", ["agreement of labels"]),
    ],
)
def test_the_gate_names_what_it_misses_and_has_no_headroom_then(one: ImageFidelity, kind: str, said: list[str]) -> None:
    faults = GATE.faults(one, kind)
    assert len(faults) == len(said)
    assert all(part in fault for part, fault in zip(said, faults, strict=True))
    assert (GATE.headroom_db(one, kind) >= 0) == (not said)


def test_masks_agree_by_what_they_share_and_labels_by_what_is_equal() -> None:
    one, other = (np.zeros((4, 4, 1), np.uint8) for _ in range(2))
    one[:2], other[1:3] = 255, 200
    mask, labels, empty = _Agreement(), _Agreement(), _Agreement()
    mask.add(one, other, "mask")
    labels.add(one, other, "labels")
    empty.add(one * 0, one * 0 + 3, "mask")
    assert mask.fraction == pytest.approx(4 / 12)
    assert labels.fraction == pytest.approx(4 / 16)
    assert empty.fraction == 1


def source_of(*conditions: ConditionFields, multiple: int = 4, channels: int = 3, fixed: bool = False) -> Source:
    import torch

    return Source(
        module=torch.nn.Identity(),
        conditions=conditions,
        image_channels=channels,
        size_multiple=multiple,
        training_size=64,
        fixed_size=fixed,
        network="test",
        sha256="0" * 64,
    )


def noise(height: int, width: int, channels: int = 3) -> Pixels:
    return np.random.default_rng(height).integers(0, 256, (height, width, channels), np.uint8)


def test_of_a_large_image_the_part_with_the_most_contrast_is_taken() -> None:
    image = np.full((200, 300, 3), 90, np.uint8)
    image[130:190, 220:280] = noise(60, 60)
    (tile,) = tiles(source_of(), OwnImages(images=(image,)))
    assert tile.example.image.shape == (64, 64, 3)
    assert tile.example.image.std() > 40
    assert tile.inner == (64, 64)


def test_small_images_are_padded_as_the_runtime_does_and_the_padding_does_not_count() -> None:
    image = noise(30, 50)
    (native,) = tiles(source_of(), OwnImages(images=(image,)))
    assert native.example.image.shape == (32, 52, 3)
    assert native.inner == (30, 50)
    assert np.array_equal(native.example.image[30:, :50], np.repeat(image[-1:], 2, axis=0))
    (fixed,) = tiles(source_of(fixed=True), OwnImages(images=(image,)))
    assert fixed.example.image.shape == (64, 64, 3)


def test_second_pictures_are_cut_as_their_images_and_settings_take_turns() -> None:
    source = source_of(ImageFields(name="mask", channels=1), NumberFields(name="sigma", minimum=0, maximum=9))
    images = tuple(noise(100 + i, 90) for i in range(3))
    masks = tuple(image[..., :1].copy() for image in images)
    settings = tuple(parse_settings(source.built_conditions(), assignments=["sigma=1", "sigma=5"]))
    found = tiles(source, OwnImages(images=images, pictures={"mask": masks}, settings=settings))
    for tile in found:
        assert np.array_equal(tile.example.rows[0], tile.example.image[..., :1])
    assert [float(tile.example.rows[1]) for tile in found] == [1, 5, 1]


def test_the_hash_is_that_of_pixels_and_shapes() -> None:
    image = noise(4, 6)
    hashes = {OwnImages(images=(one,)).sha256 for one in (image, image.reshape(6, 4, 3), image + 1)}
    assert len(hashes) == 3
    with pytest.raises(ValueError, match="for each image"):
        OwnImages(images=(image,), pictures={"mask": ()})


def test_what_is_read_of_a_huge_image_is_bounded() -> None:
    assert bounded(source_of(), np.zeros((3000, 10, 3), np.uint8)).shape == (2048, 10, 3)
    assert bounded(source_of(fixed=True), np.zeros((4096, 1024, 3), np.uint8)).shape == (2048, 512, 3)
    small = noise(5, 5)
    assert bounded(source_of(), small) is small
