"""A folder of images through OpenVINO's asynchronous queue: the loop that `infer` is compared with on openvino.

    python benchmarks/rivals/openvino_queue.py IN_FOLDER OUT_FOLDER MODEL [--color red] [--set sigma=25] [--size 256]

Why it is a fair rival: `AsyncInferQueue` with the hint THROUGHPUT is how OpenVINO's own documentation fills a CPU, with
the streams and threads that the runtime chooses for this machine; a call takes eight images, threads read ahead while
the network runs, and the callbacks of finished requests encode and write.

It has it easier than `infer`: nothing is synced to the disk, there are no temporary names, no journal, no hashes and no
limits, a bad file ends the run, and the result is the network's own picture, where `infer` draws the exact edges of a
fill on top.
"""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from pictures import Picture, arguments, batches, chunks, read

given = arguments(__doc__)
compiled = openvino.Core().compile_model(given.model, "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"})
queue = openvino.AsyncInferQueue(compiled)
image_input, *others = compiled.inputs
channels = image_input.get_partial_shape()[3].get_length()
rows = {
    one.get_any_name(): np.array([given.values[one.get_any_name()]], one.get_element_type().to_dtype())
    for one in others
}


def write(request: Any, same: Sequence[Picture]) -> None:
    """Write the results of a call, in the thread that finished it."""
    for picture, result in zip(same, request.get_output_tensor(0).data, strict=True):
        picture.save(result, given.output)


def load(paths: Sequence[Path]) -> list[list[Picture]]:
    """Read some files, grouped by shape."""
    return batches([read(path, channels, given) for path in paths])


queue.set_callback(write)
waiting = iter(chunks(given.input))
with ThreadPoolExecutor(given.workers) as pool:
    ahead: deque[Future[list[list[Picture]]]] = deque(
        pool.submit(load, some) for some in islice(waiting, 2 * len(queue))
    )
    while ahead:
        for same in ahead.popleft().result():
            feeds = {name: np.repeat(row, len(same), axis=0) for name, row in rows.items()}
            feeds[image_input.get_any_name()] = np.stack([picture.canvas for picture in same])
            queue.start_async(feeds, same)
        ahead.extend(pool.submit(load, some) for some in islice(waiting, 1))
    queue.wait_all()
