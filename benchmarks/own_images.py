"""int8 of a network that people have as a file of weights alone: what it costs, what stays in float, what it gains.

    python benchmarks/own_images.py FOLDER [--seconds 240] [--features 32] [--layers 8] [--output FILE.json]

Trains a small upscaler of the architecture Compact (SRVGGNet), from nothing, on generated pictures, and saves it in the
layout of that project, unless FOLDER has it. Exports it as a file of weights alone, in fp32 and in int8 with 32 images
that it was not trained on, and compares both with the true pictures of 32 others and in speed, in turns. Needs the
extra `spandrel`.
"""

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from polyexport.bench.environment import environment
from polyexport.data.drawing_config import DrawingConfig
from polyexport.data.drawings import draw
from polyexport.export.export import ExportOptions, export_source
from polyexport.export.proof.speed import compare_speed
from polyexport.export.source.load import load_source
from polyexport.imaging.pixels import read_image
from polyexport.imaging.psnr import psnr_db
from polyexport.imaging.ssim import ssim
from polyexport.model.loading.load import load_model

SCALE = 2
SIDE = 192
"""Height and width of a true picture, pixels."""

IMAGES = 32


class Compact(nn.Module):
    """SRVGGNetCompact: a chain of convolutions with PReLU, whose result is added to the enlarged image."""

    def __init__(self, features: int, layers: int) -> None:
        super().__init__()
        chain: list[nn.Module] = [nn.Conv2d(3, features, 3, 1, 1), nn.PReLU(features)]
        for _ in range(layers):
            chain += [nn.Conv2d(features, features, 3, 1, 1), nn.PReLU(features)]
        self.body = nn.ModuleList([*chain, nn.Conv2d(features, 3 * SCALE**2, 3, 1, 1)])

    def forward(self, image: Tensor) -> Tensor:
        value = image
        for layer in self.body:
            value = layer(value)
        return nn.functional.pixel_shuffle(value, SCALE) + nn.functional.interpolate(image, scale_factor=SCALE)


def picture(seed: int) -> NDArray[np.uint8]:
    """Return a shaded picture with edges, thin lines and grain, uint8 [SIDE, SIDE, 3]."""
    rng = np.random.default_rng([7, seed])
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    shades = [
        sum(
            np.sin(rng.uniform(1, 14) * rows + rng.uniform(1, 14) * columns + rng.uniform(0, 6.3)) / (k + 1)
            for k in range(4)
        )
        for _ in range(3)
    ]
    shaded = 128 + 55 * np.stack(shades, axis=2)
    drawing = draw(rng, SIDE, DrawingConfig(noisy=0))
    inside = drawing.colored.astype(float) / 255
    mixed = shaded * (0.25 + 0.75 * inside) + rng.normal(0, 2, shaded.shape)
    return np.clip(mixed, 0, 255).astype(np.uint8)


def reduced(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture at half of its height and width."""
    small = Image.fromarray(image).resize((image.shape[1] // SCALE, image.shape[0] // SCALE), Image.Resampling.BOX)
    return np.array(small)


def train(path: Path, features: int, layers: int, seconds: float) -> int:
    """Train a network for some processor seconds and save it as its project does; return the number of steps."""
    torch.manual_seed(0)
    network = Compact(features, layers)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    rng = np.random.default_rng(0)
    true = [picture(1000 + number) for number in range(48)]
    pairs = [(torch.from_numpy(reduced(t)), torch.from_numpy(t)) for t in true]
    started, steps, side = time.process_time(), 0, 32
    while (spent := time.process_time() - started) < seconds:
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * (1 - spent / seconds)
        batch = []
        for index in rng.integers(0, len(pairs), 8):
            top, left = rng.integers(0, SIDE // SCALE - side, 2)
            small, large = pairs[index]
            batch.append(
                (
                    small[top : top + side, left : left + side],
                    large[SCALE * top : SCALE * (top + side), SCALE * left : SCALE * (left + side)],
                )
            )
        images, targets = (torch.stack(each).permute(0, 3, 1, 2) / 255 for each in zip(*batch, strict=True))
        loss = nn.functional.l1_loss(network(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
        if steps % 100 == 0:
            print(f"step {steps}: {loss.item():.4f}", flush=True)
    torch.save({"params": network.state_dict()}, path)
    return steps


def scores(model_path: Path, pairs: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> dict[str, float]:
    """Return the mean PSNR, dB, and structural similarity to the true pictures."""
    found = load_model(model_path, provider="cpu").apply([small for small, _ in pairs], {})
    near = [psnr_db(one, true) for one, (_, true) in zip(found, pairs, strict=True)]
    alike = [ssim(one, true) for one, (_, true) in zip(found, pairs, strict=True)]
    return {"psnr_mean_db": round(float(np.mean(near)), 3), "ssim_mean": round(float(np.mean(alike)), 5)}


def measure(folder: Path, seconds: float, features: int, layers: int) -> dict[str, Any]:
    """Train, export and compare."""
    weights, photos = folder / "compact_x2.pth", folder / "images"
    photos.mkdir(parents=True, exist_ok=True)
    steps = train(weights, features, layers, seconds) if not weights.exists() else None
    for number in range(IMAGES):
        Image.fromarray(reduced(picture(number))).save(photos / f"{number:02d}.png")
    images = [read_image(path).pixels for path in sorted(photos.iterdir())]
    lines: list[str] = []

    def report(line: str) -> None:
        lines.append(line)
        print(line, flush=True)

    files = {precision: folder / f"compact_x2-{precision}.onnx" for precision in ("fp32", "int8")}
    times, results = {}, {}
    for precision, file in files.items():
        started = time.process_time()
        options = ExportOptions(precision=precision, min_speedup=0)
        results[precision] = export_source(load_source(weights), file, options, images=images, report=report)
        times[precision] = round(time.process_time() - started, 1)
    held_out = [(reduced(true), true) for true in (picture(500 + number) for number in range(IMAGES))]
    import onnx

    large = np.tile(images[0], (3, 3, 1))[None, :256, :256]
    fp32, int8 = (onnx.load(file) for file in files.values())
    speed = compare_speed(fp32, int8, {"image": large}, "cpu", rounds=31)
    reduction = results["int8"].image_fidelity
    assert reduction is not None
    return {
        "environment": asdict(environment()),
        "network": {"architecture": "Compact", "features": features, "layers": layers, "scale": SCALE, "steps": steps},
        "export_processor_seconds": times,
        "bytes": {precision: file.stat().st_size for precision, file in files.items()},
        "to_fp32": asdict(reduction),
        "to_truth": {precision: scores(file, held_out) for precision, file in files.items()},
        "layers": [asdict(layer) for layer in results["int8"].layers],
        "speed_of_256x256_pixels": asdict(speed),
        "lines": lines,
    }


def main() -> None:
    """Measure, and print or write one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--features", type=int, default=32)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    document = json.dumps(measure(options.folder, options.seconds, options.features, options.layers), indent=1)
    if options.output:
        options.output.write_text(document + "\n", encoding="utf-8")
    else:
        print(document)


if __name__ == "__main__":
    main()
