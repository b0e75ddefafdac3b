"""Say how near the pictures of a data set are to their targets, before and after a network cleaned them.

python score.py FOLDER CLEANED
"""

import argparse
from pathlib import Path

import numpy as np

from polyexport.data.image_pairs import read_image_pairs
from polyexport.imaging.pixels import read_image
from polyexport.imaging.psnr import psnr_db


def main() -> None:
    """Print the mean PSNR of the inputs and of the cleaned pictures."""
    parser = argparse.ArgumentParser(description="Compare pictures with their targets.")
    parser.add_argument("folder", type=Path, help="data set with inputs/ and outputs/")
    parser.add_argument("cleaned", type=Path, help="what the network made of inputs/, under the same names")
    options = parser.parse_args()
    before, after = [], []
    for pair in read_image_pairs(options.folder):
        target = read_image(pair.output).pixels
        before.append(psnr_db(read_image(pair.input).pixels, target))
        after.append(psnr_db(read_image(options.cleaned / f"{pair.input.stem}.png").pixels, target))
    print(
        f"{len(after)} pictures: mean PSNR {np.mean(before):.1f} dB before, {np.mean(after):.1f} dB after; "
        f"lowest {np.min(before):.1f} dB before, {np.min(after):.1f} dB after"
    )


if __name__ == "__main__":
    main()
