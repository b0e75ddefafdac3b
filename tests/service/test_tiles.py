"""The service on images that are run in tiles."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from local_images import SIGMA, image_and_mask, record_shapes, whole_png
from version3_models import LOCAL_KINDS

from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.pixels import decode
from polyexport.model.loading.load import load_model
from polyexport.model.model import Model
from polyexport.model.placed_run import run_placed
from polyexport.model.settings import setting_from
from polyexport.model.tile_wish import TileWish
from polyexport.pipeline.decoding.pool import DecodingPool
from polyexport.service.app import build_app
from polyexport.service.batcher import Batcher
from polyexport.service.metrics import Metrics
from polyexport.service.options import Limits, ServiceOptions
from polyexport.service.routes import Routes

Ask = Callable[..., tuple[int, bytes]]
Serve = Callable[..., tuple[Model, Ask]]


@pytest.fixture
def serve(version3_of: Callable[[str], Path], app: Any) -> Iterator[Serve]:
    """A model of a kind, and a function that asks its service for the result of an image and its mask."""
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(DecodingPool(jobs=1))

        def served(kind: str, **limits: int) -> tuple[Model, Ask]:
            model = load_model(version3_of(kind), provider="cpu")
            options, metrics = ServiceOptions(model=version3_of(kind), limits=Limits(**limits)), Metrics()
            batcher = Batcher(
                partial(run_placed, model), max_batch_size=4, max_wait_ms=0, max_queued=4, max_queued_s=30
            )
            stack.enter_context(batcher)
            asked = type(app)(build_app(Routes(model, pool, batcher, metrics, options), metrics, options))

            def ask(image: Path, mask: Path, size: str = "auto") -> tuple[int, bytes]:
                fields = {"image": image.read_bytes(), "mask": mask.read_bytes(), "sigma": b"%g" % SIGMA}
                parts = [
                    b'--b\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n'
                    % (name.encode(), b"" if name in ("sigma", "size") else b'; filename="x"', value)
                    for name, value in {**fields, "size": size.encode()}.items()
                ]
                kind = [(b"content-type", b"multipart/form-data; boundary=b")]
                status, _, answer = asked.ask("POST", "/infer", kind, b"".join(parts) + b"--b--\r\n")
                return status, answer

            return model, ask

        yield served


@pytest.mark.parametrize("kind", LOCAL_KINDS)
def test_a_large_image_is_run_in_tiles_and_answered_as_if_it_were_not(
    kind: str, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, ask = serve(kind)
    image, mask = image_and_mask(tmp_path)
    expected = whole_png(model, image, mask)
    shapes = record_shapes(monkeypatch)
    assert ask(image, mask) == (200, expected)
    assert set(shapes) == {(72, 72)}
    shapes.clear()
    assert ask(image, mask, "fit")[0] == 200
    assert set(shapes) == {(12, 16)}


def test_the_limit_of_pixels_holds_for_images_in_tiles_and_may_be_as_large_as_that_of_all(
    serve: Serve, tmp_path: Path
) -> None:
    image, mask = image_and_mask(tmp_path)
    status, answer = serve("local", max_native_pixels=152 * 204 - 1)[1](image, mask)
    assert (status, json.loads(answer)["code"]) == (422, "image")
    model, ask = serve("local", max_native_pixels=152 * 204)
    assert ask(image, mask) == (200, whole_png(model, image, mask))
    # More pixels than any network is given at a time.
    image, mask = image_and_mask(tmp_path, height=1100, width=3830)
    model, ask = serve("local", max_native_pixels=5 << 20)
    assert ask(image, mask) == (200, whole_png(model, image, mask, tiles=TileWish(tile=256)))


def test_canvases_of_one_shape_that_are_cut_and_not_share_no_call(
    version3_of: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(version3_of("local"), provider="cpu")
    paths = image_and_mask(tmp_path)
    image, mask = (decode(path.read_bytes(), channels=count).pixels for path, count in zip(paths, (3, 1), strict=True))
    rules = [model.contract.canvas_rule(tiles=wish) for wish in (TileWish(), TileWish(tile="off"))]
    rows = model.rows_of(setting_from(model.conditions, {"sigma": SIGMA}), [rules[0].for_picture(1).place(mask).pixels])
    shapes = record_shapes(monkeypatch)

    async def both() -> list[Any]:
        with Batcher(
            partial(run_placed, model), max_batch_size=4, max_wait_ms=50, max_queued=4, max_queued_s=30
        ) as batcher:
            return await asyncio.gather(*(batcher.submit(rule.place(image), rows) for rule in (*rules, rules[1])))

    outputs = asyncio.run(both())
    assert len({encode_png(output) for output in outputs}) == 1
    assert shapes.count((152, 204)) == 2
    assert set(shapes) == {(72, 72), (152, 204)}
