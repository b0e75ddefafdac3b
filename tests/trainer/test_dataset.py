import numpy as np
import torch
from torch.utils.data import DataLoader

from trainer.dataset import Batch, BatchStream, SizedBatch, pair_batches, synthetic_batches
from trainer.polygons import DrawingConfig, draw

MIX = (SizedBatch(size=16, batch_size=3), SizedBatch(size=32, batch_size=2))


def batches(workers: int, seed: int = 0) -> list[Batch]:
    stream = BatchStream(synthetic_batches(MIX, DrawingConfig()), seed=seed, count=6)
    return list(DataLoader(stream, batch_size=None, num_workers=workers))


def test_batches_are_what_they_say() -> None:
    seen = batches(0)
    assert {(len(image), image.shape[1]) for image, _, _ in seen} == {(3, 16), (2, 32)}
    for image, color, colored in seen:
        assert image.dtype == color.dtype == colored.dtype == torch.uint8
        assert image.shape == colored.shape
        assert color.shape == (len(image), 3)


def test_the_number_of_workers_does_not_change_the_stream() -> None:
    for one, two in zip(batches(0), batches(2), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_another_seed_is_another_stream() -> None:
    assert any(not torch.equal(a[1], b[1]) for a, b in zip(batches(0), batches(0, seed=1), strict=True))


def test_pairs_turn_together() -> None:
    """Whatever symmetry is applied, the drawing still lies inside its own fill."""
    clean = DrawingConfig(antialiased=0, gapped=0, noisy=0, tinted=0)
    pairs = [draw(np.random.default_rng(i), 32, clean, color=(200, 0, 0)) for i in range(4)]
    image, color, colored = pair_batches(pairs, 40)(np.random.default_rng(0))

    assert len(image) == 40
    assert (color == torch.tensor([200, 0, 0])).all()
    ink = image[..., 0] < 128
    assert (colored[ink] == torch.tensor([200, 0, 0])).all()
    assert len({each.numpy().tobytes() for each in image}) > len(pairs)
