"""Program that loads a model and makes its first images, and prints the milliseconds of each stage as JSON.

A scenario starts it as a process of its own. Arguments: model file, provider, threads, device, size, batch sizes
with commas between, and the limits of the first load in seconds and MiB.
"""

import json
import sys
import time

_BEGIN = time.perf_counter()


def main(
    path: str, provider: str, threads: str, device_id: str, size: str, batches: str, seconds: str, memory_mib: str
) -> None:
    """Time the imports, the loading of the model, and two runs of each batch size.

    Args:
        path: model file.
        provider: execution provider, or ``auto``.
        threads: threads of each call; 0 chooses by the granted cores.
        device_id: number of the GPU.
        size: height and width of the images, pixels; 0 is the model's training size.
        batches: batch sizes with commas between.
        seconds: limit of the first load of an unknown model file, seconds of processor time; 0 chooses.
        memory_mib: limit of its memory, MiB; 0 chooses.
    """
    from polyexport.model.loading.limits import LoadLimits
    from polyexport.model.loading.load import load_model

    marks = [time.perf_counter()]
    limits = LoadLimits(seconds=float(seconds), memory_mib=int(memory_mib))
    model = load_model(path, provider=provider, threads=int(threads), device_id=int(device_id), limits=limits)
    marks.append(time.perf_counter())
    stages = {"imports": (marks[0] - _BEGIN) * 1e3, "load the model": (marks[1] - marks[0]) * 1e3}
    from polyexport.bench.inputs import inputs  # not timed: a user's program does not import it

    for batch in map(int, batches.split(",")):
        given = inputs(model, int(size) or model.contract.training_size, batch)
        for time_of in ("first", "second"):
            started = time.perf_counter()
            model.run(*given)
            stages[f"{time_of} run of batch {batch}"] = (time.perf_counter() - started) * 1e3
    print(json.dumps(stages))  # noqa: T201 - the scenario reads it


if __name__ == "__main__":
    main(*sys.argv[1:])
