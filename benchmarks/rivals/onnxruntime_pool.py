"""A folder of images through ONNX Runtime in a pool of threads: the loop that `infer` is compared with on cpu.

    python benchmarks/rivals/onnxruntime_pool.py IN_FOLDER OUT_FOLDER MODEL [--color red] [--set sigma=25] [--size 256]

Why it is a fair rival: one session whose calls take one thread each, as many workers as there are granted cores, eight
images a call, and every worker reads, runs and writes its own images, so no core ever waits for another one. Pillow
frees the interpreter's lock while it decodes and encodes, and writes PNG files at its fastest level.

It has it easier than `infer`: nothing is synced to the disk, there are no temporary names, no journal, no hashes and no
limits, a bad file ends the run, and the result is the network's own picture, where `infer` draws the exact edges of a
fill on top.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
from pictures import arguments, batches, chunks, read

DTYPES = {"tensor(uint8)": np.uint8, "tensor(int64)": np.int64, "tensor(float)": np.float32}

given = arguments(__doc__)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(given.model, options, providers=["CPUExecutionProvider"])
image_input, *others = session.get_inputs()
rows = {one.name: np.array([given.values[one.name]], DTYPES[one.type]) for one in others}


def work(paths: Sequence[Path]) -> None:
    """Run some files from disk to disk."""
    for same in batches([read(path, image_input.shape[3], given) for path in paths]):
        feeds = {name: np.repeat(row, len(same), axis=0) for name, row in rows.items()}
        feeds[image_input.name] = np.stack([picture.canvas for picture in same])
        for picture, result in zip(same, session.run(None, feeds)[0], strict=True):
            picture.save(result, given.output)


with ThreadPoolExecutor(given.workers) as pool:
    list(pool.map(work, chunks(given.input)))
