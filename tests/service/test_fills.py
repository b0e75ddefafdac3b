"""The service with a model whose result is a fill."""

import base64
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from polyexport.imaging.codecs.png import encode_png
from polyexport.model.file import default_model_path
from polyexport.model.model import Model
from polyexport.model.placed_run import run_placed
from polyexport.model.result import ResultFields
from polyexport.pipeline.decoding.pool import DecodingPool
from polyexport.service.app import build_app
from polyexport.service.batcher import Batcher
from polyexport.service.metrics import Metrics
from polyexport.service.options import ServiceOptions
from polyexport.service.routes import Routes


def test_the_answer_is_what_infer_writes(app: Any, tiny_model: Model, drawings: Path) -> None:
    model = Model(
        replace(tiny_model.contract, result=ResultFields(kind="fill")), tiny_model.session, sha256=tiny_model.sha256
    )
    [[expected]] = model.colorize([drawings / "2.png"], ["#1e90ff"])
    options, metrics = ServiceOptions(model=default_model_path()), Metrics()
    image = base64.b64encode((drawings / "2.png").read_bytes()).decode()
    with (
        DecodingPool(jobs=1) as pool,
        Batcher(partial(run_placed, model), max_batch_size=1, max_wait_ms=0, max_queued=4, max_queued_s=30) as batcher,
    ):
        service = type(app)(build_app(Routes(model, pool, batcher, metrics, options), metrics, options))
        body = json.dumps({"image": image, "color": "#1e90ff"}).encode()
        status, _, answer = service.ask("POST", "/infer", [(b"content-type", b"application/json")], body)
    assert status == 200
    assert base64.b64decode(json.loads(answer)["image"]) == encode_png(expected)
