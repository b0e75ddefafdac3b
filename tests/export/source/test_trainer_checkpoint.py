"""The kind of result that the record of a training tells."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from polyexport.export.source.load import load_source
from trainer.checkpoint import load_checkpoint, save_checkpoint


@pytest.mark.parametrize(
    ("record", "result"),
    [
        ({"result": "fill"}, "fill"),
        ({"result": "picture", "scored_on": {"drawings": "generated drawings"}}, "picture"),
        ({"scored_on": {"drawings": "generated drawings"}}, "fill"),
        ({"scored_on": {"drawings": "pairs"}}, "picture"),
        ({"scored_on": "generated drawings"}, "picture"),
        ({"result": ["fill"]}, "picture"),
        ({}, "picture"),
    ],
)
def test_a_network_of_fills_is_known_from_its_training(
    tiny_checkpoint: Path, tmp_path: Path, record: dict[str, Any], result: str
) -> None:
    save_checkpoint(replace(load_checkpoint(tiny_checkpoint), training=record), tmp_path / "c.safetensors")
    assert load_source(tmp_path / "c.safetensors").result == result
