"""Competent loops over many images in memory: ONNX Runtime in a pool of threads, OpenVINO's asynchronous queue.

Each turns a list of uint8 images [H, W, C] in host memory into as many in host memory, over all granted cores, as do
the loops of ``benchmarks/rivals/``, which also read and write files.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from polyexport.bench.contenders import Contender, Pixels4, Work, versions_of
from polyexport.model.contract import IMAGE_INPUT
from polyexport.model.model import Model
from polyexport.runtime.cores import granted_cores
from polyexport.runtime.provider import provider_of
from polyexport.runtime.providers.openvino import openvino_core

__all__ = ["POOLED", "PooledName", "own_pool", "pool_contender"]

PooledName = Literal["onnxruntime-pool", "openvino-queue"]
POOLED: tuple[PooledName, ...] = get_args(PooledName)
"""Names of the programs that are compared by their throughput."""


def own_pool(model: Model, work: Work, streams: int, closing: ExitStack) -> Contender:
    """Build the calls of polyexport side by side, as ``infer`` makes them.

    Args:
        model: loaded for ``streams`` calls at a time.
        work: all images of a block.
        streams: number of calls that the model runs at a time.
        closing: where the threads are ended.
    """
    callers = (1 if model.session.stable_shapes else streams) + model.session.computes_elsewhere
    images, rows = _split(work)
    pool = closing.enter_context(ThreadPoolExecutor(callers, thread_name_prefix="polyexport"))

    def run(part: slice) -> Pixels4:
        return model.run(np.stack(images[part]), *(row[part] for row in rows))

    batch = model.session.images_per_call
    return Contender(
        "polyexport",
        f"Model.run on {model.session.execution_provider}, {callers} calls of {batch} images at a time, as `infer` "
        "makes them",
        versions_of(provider_of(model.session.execution_provider).runtime),
        lambda: np.concatenate(list(pool.map(run, _parts(len(images), batch)))),
    )


def pool_contender(name: str, work: Work, closing: ExitStack) -> Contender:
    """Build a program of ``POOLED``.

    Args:
        name: a name of ``POOLED``.
        work: all images of a block.
        closing: where threads are ended.
    """
    return {"onnxruntime-pool": _onnxruntime_pool, "openvino-queue": _openvino_queue}[name](name, work, closing)


def _onnxruntime_pool(name: str, work: Work, closing: ExitStack) -> Contender:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(work.path), options, providers=["CPUExecutionProvider"])
    images, _ = _split(work)
    workers = granted_cores()
    pool = closing.enter_context(ThreadPoolExecutor(workers, thread_name_prefix=name))

    def run(part: slice) -> Pixels4:
        result: Pixels4 = session.run([work.contract.output_name], _feeds(work, images, part))[0]
        return result

    batch = work.batch
    return Contender(
        name,
        f"one InferenceSession on the CPU provider, one thread a call, {workers} threads, {batch} images a call",
        versions_of("onnxruntime"),
        lambda: np.concatenate(list(pool.map(run, _parts(len(images), batch)))),
    )


def _openvino_queue(name: str, work: Work, closing: ExitStack) -> Contender:
    import openvino

    compiled = openvino_core().compile_model(str(work.path), "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"})
    queue = openvino.AsyncInferQueue(compiled)
    closing.callback(queue.wait_all)
    images, _ = _split(work)
    parts = _parts(len(images), work.batch)
    results: list[NDArray[np.uint8]] = [np.empty(0, np.uint8)] * len(parts)

    def keep(request: Any, number: int) -> None:
        results[number] = request.get_output_tensor(0).data.copy()

    queue.set_callback(keep)

    def call() -> Pixels4:
        for number, part in enumerate(parts):
            queue.start_async(_feeds(work, images, part), number)
        queue.wait_all()
        return np.concatenate(results)

    return Contender(
        name,
        f"AsyncInferQueue with the hint THROUGHPUT, {len(queue)} requests, {work.batch} images a call",
        versions_of("openvino"),
        call,
    )


def _split(work: Work) -> tuple[Sequence[NDArray[np.uint8]], tuple[NDArray[Any], ...]]:
    """The images one by one, as whoever decoded them has them, and the rows of their conditions."""
    images, *rows = work.inputs
    return list(images), tuple(rows)


def _feeds(work: Work, images: Sequence[NDArray[np.uint8]], part: slice) -> dict[str, NDArray[Any]]:
    return {name: row[part] for name, row in work.feeds.items()} | {IMAGE_INPUT: np.stack(images[part])}


def _parts(count: int, batch: int) -> list[slice]:
    return [slice(first, min(first + batch, count)) for first in range(0, count, batch)]
