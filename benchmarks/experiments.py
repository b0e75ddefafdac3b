"""Small controlled trainings in which one thing is changed at a time. See docs/experiments.md.

    python benchmarks/experiments.py all --steps 300 -o benchmarks/results/experiments.json

Each training is a process of its own, so its peak memory is its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polyexport.bench.environment import environment
from polyexport.data.drawing_config import DrawingConfig
from polyexport.data.drawings import draw
from polyexport.errors import TrainingError
from polyexport.imaging.psnr import psnr_db
from trainer.batches import SizedBatch
from trainer.config import TrainConfig
from trainer.losses import LossConfig
from trainer.network import ConditionalUNet, ModelConfig
from trainer.train import train

SIZE = 64
BATCH_SIZE = 32
TEST_SEED = 77
TEST_DRAWINGS = 256


def replace_first_convolution(network: ConditionalUNet, in_channels: int) -> None:
    """Give a network an input of another number of channels."""
    block = network.encoder[0]
    assert isinstance(block, nn.Sequential)
    block[0] = nn.Conv2d(in_channels, network.config.channels[0], 3, padding=1, bias=False)


class InputConcatenation(ConditionalUNet):
    """Network that gets the color as three more planes of its input, and nothing at the bottleneck."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        replace_first_convolution(self, in_channels=6)
        self.add_module("color_embedding", nn.Identity())
        self.add_module("projection", nn.Identity())

    def forward(self, image: Tensor, condition: Tensor | None = None) -> Tensor:
        assert condition is not None
        planes = condition[:, :, None, None].expand(-1, -1, *image.shape[2:])
        features, skips = self.encode(torch.cat([image, planes], dim=1))
        for skip, block in zip(reversed(skips), self.decoder, strict=True):
            features = block(torch.cat([skip, F.interpolate(features, scale_factor=2.0, mode="bilinear")], dim=1))
        return torch.tanh(self.head(features).float())


class FeatureWise(ConditionalUNet):
    """FiLM (Perez et al., 2018, arXiv:1709.07871): the embedding scales and shifts every decoder level's channels."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.films = nn.ModuleList(nn.Linear(config.embedding_dim, 2 * width) for width in config.channels[::-1])
        self.add_module("projection", nn.Identity())

    def decode(self, bottleneck: Tensor, skips: list[Tensor], embedding: Tensor | None) -> Tensor:
        def modulate(film: nn.Module, features: Tensor) -> Tensor:
            scale, shift = film(embedding)[:, :, None, None].chunk(2, dim=1)
            modulated: Tensor = features * (1 + scale) + shift
            return modulated

        features = modulate(self.films[0], bottleneck)
        for skip, block, film in zip(reversed(skips), self.decoder, self.films[1:], strict=True):
            up = F.interpolate(features, scale_factor=2.0, mode="bilinear")
            features = modulate(film, block(torch.cat([skip, up], dim=1)))
        return torch.tanh(self.head(features).float())


class SpaceToDepth(ConditionalUNet):
    """Network at half the resolution: a space-to-depth stem, one level less, and a pixel-shuffle head."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        replace_first_convolution(self, in_channels=12)
        self.head = nn.Conv2d(config.channels[0], 12, 1)

    def encode(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        return super().encode(F.pixel_unshuffle(image, 2))

    def decode(self, bottleneck: Tensor, skips: list[Tensor], embedding: Tensor | None) -> Tensor:
        return F.pixel_shuffle(super().decode(bottleneck, skips, embedding), 2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Experiment:
    """One training that differs from the reference in ``changes`` alone."""

    changes: dict[str, Any] = field(default_factory=dict)
    network: type[ConditionalUNet] = ConditionalUNet
    embedding_dim: int = 128
    channels: tuple[int, ...] = (16, 32, 64, 128, 256)

    @property
    def config(self) -> ModelConfig:
        """Configuration of the network."""
        return ModelConfig(channels=self.channels, embedding_dim=self.embedding_dim)


EXPERIMENTS = {
    "reference": Experiment(),
    "reference, seed 1": Experiment(changes={"seed": 1}),
    "reference, seed 2": Experiment(changes={"seed": 2}),
    "injection: input concatenation": Experiment(network=InputConcatenation),
    "injection: FiLM": Experiment(network=FeatureWise),
    "embedding: 32": Experiment(embedding_dim=32),
    "embedding: 512": Experiment(embedding_dim=512),
    "learning rate: 0.02": Experiment(changes={"learning_rate": 0.02}),
    "loss: L1": Experiment(changes={"loss": LossConfig(l2=0, perceptual=0)}),
    "loss: L2": Experiment(changes={"loss": LossConfig(l1=0, perceptual=0)}),
    "loss: L1 + L2": Experiment(changes={"loss": LossConfig(perceptual=0)}),
    "loss: L1 + perceptual": Experiment(changes={"loss": LossConfig(l2=0)}),
    "precision: float32": Experiment(changes={"precision": "32-true"}),
    "normalization: never fixed": Experiment(changes={"freeze_norm": 1.0}),
    "network: 12-24-48-96-192": Experiment(channels=(12, 24, 48, 96, 192)),
    "network: 8-16-32-64-128": Experiment(channels=(8, 16, 32, 64, 128)),
    "network: 16-32-64-128-128": Experiment(channels=(16, 32, 64, 128, 128)),
    "network: space-to-depth, 24-48-96-192": Experiment(network=SpaceToDepth, channels=(24, 48, 96, 192)),
}


def run(name: str, steps: int) -> dict[str, Any]:
    """Train and score one experiment in this process."""
    experiment = EXPERIMENTS[name]
    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig(
            output=Path(folder) / "model.safetensors",
            model=experiment.config,
            drawings=DrawingConfig(),
            mix=(SizedBatch(size=SIZE, batch_size=BATCH_SIZE),),
            size=SIZE,
            steps=steps,
            precision="bf16-mixed",
            validate_every=steps,
        )
        config = replace(config, **experiment.changes)
        torch.manual_seed(config.seed)
        model = experiment.network(config.model)
        started = time.monotonic()
        try:
            train(config, model=model)
        except TrainingError as error:
            return {"name": name, "failed": error.message}
        seconds = time.monotonic() - started
        model.load_state_dict(safetensors.torch.load_file(config.output))
    return {
        "name": name,
        "seconds": round(seconds, 1),
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        **score(model.eval()),
    }


@torch.inference_mode()
def score(model: ConditionalUNet) -> dict[str, float]:
    """Measure the PSNR of whole images and the mean absolute error of fills, on drawings that no training sees."""
    psnr, fill = [], []
    for number in range(TEST_DRAWINGS):
        drawing = draw(np.random.default_rng([TEST_SEED, number]), SIZE)
        image = torch.from_numpy(drawing.image.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        output = model(image, torch.tensor([drawing.color]).float() / 127.5 - 1)
        levels = ((output[0].permute(1, 2, 0) + 1) * 127.5).round().clamp(0, 255).numpy()
        error = np.abs(levels - drawing.colored)
        psnr.append(psnr_db(levels.astype(np.uint8), drawing.colored))
        inside = (drawing.colored == drawing.color).all(axis=-1)
        if inside.any():
            fill.append(float(error[inside].mean()))
    return {
        "psnr_db": round(float(np.mean(psnr)), 2),
        "psnr_p05_db": round(float(np.percentile(psnr, 5)), 2),
        "fill_error_levels": round(float(np.mean(fill)), 2),
    }


def costs(rounds: int = 15) -> list[dict[str, Any]]:
    """CPU time of the networks side by side: ONNX Runtime, float32, one 128x128 image, untrained weights."""
    import onnxruntime as ort

    image, color = torch.zeros(1, 3, 128, 128), torch.zeros(1, 3)
    sessions: dict[str, ort.InferenceSession] = {}
    for name, experiment in EXPERIMENTS.items():
        if name == "reference" or name.startswith("network: "):
            model = experiment.network(experiment.config).eval()
            program = torch.onnx.export(model, (image, color), input_names=["image", "color"], dynamo=True)
            assert program is not None
            sessions[name] = ort.InferenceSession(program.model_proto.SerializeToString())
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in range(rounds):
        for name, session in sessions.items():
            feed = {"image": image.numpy(), "color": color.numpy()}
            session.run(None, feed)
            started = time.perf_counter()
            for _ in range(10):
                session.run(None, feed)
            times[name].append((time.perf_counter() - started) / 10 * 1e3)
    return [
        {
            "name": name,
            "parameters": sum(p.numel() for p in EXPERIMENTS[name].network(EXPERIMENTS[name].config).parameters()),
            "ms_per_image": round(float(np.median(each)), 2),
            "ratio": round(float(np.median(np.array(each) / np.array(times["reference"]))), 3),
        }
        for name, each in times.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", help="`all`, `costs`, or the start of a name: " + "; ".join(EXPERIMENTS))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--here", action="store_true", help="run one experiment in this process, JSON on stdout")
    arguments = parser.parse_args()
    if arguments.here:
        print(json.dumps(run(arguments.experiment, arguments.steps)))
        return
    if arguments.experiment == "costs":
        text = json.dumps({"environment": asdict(environment()), "costs": costs()}, indent=1)
        arguments.output.write_text(text + "\n") if arguments.output else print(text)
        return
    names = [name for name in EXPERIMENTS if arguments.experiment == "all" or name.startswith(arguments.experiment)]
    results = []
    for name in names:
        command = [sys.executable, __file__, name, "--steps", str(arguments.steps), "--here"]
        finished = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        results.append(json.loads(finished.stdout.splitlines()[-1]))
        print(results[-1], flush=True)
        if arguments.output:
            report = {
                "steps": arguments.steps,
                "batch_size": BATCH_SIZE,
                "size": SIZE,
                "environment": asdict(environment()),
                "results": results,
            }
            arguments.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
