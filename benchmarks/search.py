"""Search for the depth, the widths and the training mix of the small network, with one fixed budget for each candidate.

    python benchmarks/search.py -o benchmarks/results/search_0.json --minutes 4 --seed 0

Every candidate trains on one thread for the same time, from random weights, and is scored on the same drawings of every
kind but ``empty`` at 128 and 256 pixels. See docs/experiments.md.
"""

import argparse
import json
import tempfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from polyexport.bench.environment import environment
from polyexport.data.drawing_config import DrawingConfig
from polyexport.data.drawings import DrawingsConfig, draw
from polyexport.data.sketch_config import SketchConfig
from polyexport.data.splits import SPLITS
from polyexport.imaging.psnr import psnr_db
from trainer.batches import SizedBatch, generated_mix
from trainer.checkpoint import load_checkpoint
from trainer.config import TrainConfig
from trainer.network import SMALL_CHANNELS, ModelConfig
from trainer.train import train

TEST_SEED = 4_000_000_019
TEST_DRAWINGS = 8
SIZES = (128, 256)


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One network and training mix."""

    channels: tuple[int, ...] = SMALL_CHANNELS
    patch: int = 1
    mix: tuple[SizedBatch, ...] = generated_mix(16)
    drawings: DrawingsConfig = field(default_factory=SketchConfig)


CANDIDATES = {
    "16-16-32-64-128-128-128": Candidate(),
    "16-16-32-64-96-96-96": Candidate(channels=(16, 16, 32, 64, 96, 96, 96)),
    "patches, 16-32-64-128-128-128": Candidate(channels=(16, 32, 64, 128, 128, 128), patch=2),
    "patches, 12-24-48-96-128-128": Candidate(channels=(12, 24, 48, 96, 128, 128), patch=2),
    "patches, 8-16-32-64-128-128": Candidate(channels=(8, 16, 32, 64, 128, 128), patch=2),
    "six levels, 16-16-32-64-128-128": Candidate(channels=(16, 16, 32, 64, 128, 128)),
    "five levels, 16-32-64-128-256": Candidate(channels=(16, 32, 64, 128, 256)),
    "mix: 64 pixels only": Candidate(mix=(SizedBatch(size=64, batch_size=36),)),
    "mix: 256 pixels only": Candidate(mix=(SizedBatch(size=256, batch_size=4),)),
    "mix: plain outlines only": Candidate(drawings=DrawingConfig()),
}


def run(candidate: Candidate, minutes: float, seed: int) -> dict[str, Any]:
    """Train and score one candidate."""
    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig(
            output=Path(folder) / "model.safetensors",
            model=ModelConfig(channels=candidate.channels, patch=candidate.patch),
            mix=candidate.mix,
            drawings=candidate.drawings,
            minutes=minutes,
            precision="bf16-mixed",
            validate_every=1_000_000,
            seed=seed,
        )
        result = train(replace(config, loss=replace(config.loss, perceptual=0)))
        model = load_checkpoint(config.output).model
    return {"steps": result.steps, "images": result.images, **{str(size): score(model.eval(), size) for size in SIZES}}


@torch.inference_mode()
def score(model: nn.Module, size: int) -> dict[str, float]:
    """Measure the mean PSNR and the share of wrong drawings: those whose filled region has an IoU under 0.9."""
    psnr, wrong = [], []
    for split in SPLITS.values():
        for number in range(TEST_DRAWINGS if split.name != "empty" else 0):
            drawing = draw(np.random.default_rng([TEST_SEED, number]), size, split.drawings, color=(30, 60, 200))
            image = torch.from_numpy(drawing.image.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
            output = model(image, torch.tensor([drawing.color]).float() / 127.5 - 1)
            levels = ((output[0].permute(1, 2, 0) + 1) * 127.5).round().clamp(0, 255).numpy()
            psnr.append(psnr_db(levels.astype(np.uint8), drawing.colored))
            ours, true = levels[..., 0] < 142, drawing.colored[..., 0] < 142
            wrong.append((ours & true).sum() < 0.9 * (ours | true).sum())
    return {"psnr_db": round(float(np.mean(psnr)), 2), "wrong": round(float(np.mean(wrong)), 4), "drawings": len(psnr)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=4, help="training time of each candidate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="start of the names of the candidates to run")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = []
    for name, candidate in CANDIDATES.items():
        if name.startswith(arguments.only):
            results.append({"name": name, **run(candidate, arguments.minutes, arguments.seed)})
            print(results[-1], flush=True)
            if arguments.output:
                report = {
                    "minutes": arguments.minutes,
                    "seed": arguments.seed,
                    "environment": asdict(environment()),
                    "results": results,
                }
                arguments.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
