"""Make pairs of line art: as it comes from a scanner and a careless save (inputs/*.jpg), and clean (outputs/*.png).

python make_pairs.py FOLDER --count 400
"""

import argparse
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from polyexport.data.drawings import draw
from polyexport.data.splits.split import PLAIN_SKETCHES
from polyexport.imaging.codecs.png import encode_png


def clean_drawing(rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """Draw lines on white paper: uint8 [size, size, 3]."""
    drawn = draw(rng, size, PLAIN_SKETCHES).image
    # Some of the generated drawings are on light gray paper, all of one level.
    white: NDArray[np.uint8] = np.rint(drawn * (255.0 / drawn.max())).astype(np.uint8)
    return white


def with_dirt(rng: np.random.Generator, clean: NDArray[np.uint8]) -> bytes:
    """Lay a drawing on shaded, tinted paper, add the noise of a sensor, and save it as a JPEG of low quality."""
    size = clean.shape[0]
    coarse = Image.fromarray(rng.uniform(0.75, 1.0, (4, 4)).astype(np.float32))
    shade = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))[..., None]
    tint = rng.uniform(0.92, 1.0, 3)
    noise = rng.normal(0, rng.uniform(3, 20), clean.shape)
    pixels = np.rint(clean * shade * tint + noise).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=int(rng.integers(20, 71)))
    return file.getvalue()


def main() -> None:
    """Write the pairs."""
    parser = argparse.ArgumentParser(description="Make pairs of dirty and clean line art.")
    parser.add_argument("folder", type=Path, help="new folder to write inputs/ and outputs/ into")
    parser.add_argument("--count", type=int, default=400, help="number of pairs")
    parser.add_argument("--size", type=int, default=128, help="height and width, pixels; a multiple of 64 to train on")
    parser.add_argument("--seed", type=int, default=0, help="seed: two sets of different seeds share no drawing")
    options = parser.parse_args()
    inputs, outputs = (options.folder / name for name in ("inputs", "outputs"))
    for folder in (inputs, outputs):
        folder.mkdir(parents=True)
    for number in range(options.count):
        rng = np.random.default_rng([options.seed, number])
        clean = clean_drawing(rng, options.size)
        (inputs / f"{number:04}.jpg").write_bytes(with_dirt(rng, clean))
        (outputs / f"{number:04}.png").write_bytes(encode_png(clean))
    print(f"{options.folder}: {options.count} pairs of {options.size}x{options.size}")


if __name__ == "__main__":
    main()
