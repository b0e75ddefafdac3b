"""One process from nothing to its first images: run by the scenario ``cold-start``, prints milliseconds as JSON.

Arguments: model file, provider, threads, device, size, batch sizes with commas between.
"""

import json
import sys
import time

_BEGIN = time.perf_counter()


def main(path: str, provider: str, threads: str, device_id: str, size: str, batches: str) -> None:
    from polyexport.model.model import load_model

    marks = [time.perf_counter()]
    model = load_model(path, provider=provider, threads=int(threads), device_id=int(device_id))  # type: ignore[arg-type]
    marks.append(time.perf_counter())
    stages = {"imports": (marks[0] - _BEGIN) * 1e3, "load the model": (marks[1] - marks[0]) * 1e3}
    from polyexport.bench.calls import inputs  # of no user's program, and so not timed

    for batch in map(int, batches.split(",")):
        image, color = inputs(model, int(size) or model.contract.training_size, batch)
        for time_of in ("first", "second"):
            started = time.perf_counter()
            model.run(image, color)
            stages[f"{time_of} run of batch {batch}"] = (time.perf_counter() - started) * 1e3
    print(json.dumps(stages))  # noqa: T201 - its parent reads it


if __name__ == "__main__":
    main(*sys.argv[1:])
