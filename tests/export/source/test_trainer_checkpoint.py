"""What a checkpoint tells of its network: the conditions that it takes, and the kind of its result."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from polyexport.export.source.load import load_source
from polyexport.model.conditions.fields import ColorFields, ConditionFields, LabelFields
from trainer.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from trainer.network import ConditionalUNet, ModelConfig


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
    assert load_source(tmp_path / "c.safetensors").result.kind == result


@pytest.mark.parametrize(
    ("values", "conditions", "embedding"),
    [
        ({"conditioning": "none"}, (), ""),
        ({"conditioning": "label", "labels": ("a", "b")}, (LabelFields(name="label", labels=("a", "b")),), ""),
        ({}, (ColorFields(conditioning="rgb"),), "color_embedding"),
    ],
)
def test_the_conditions_are_those_of_the_network(
    tmp_path: Path, values: dict[str, Any], conditions: tuple[ConditionFields, ...], embedding: str
) -> None:
    model = ConditionalUNet(ModelConfig(channels=(4, 6), embedding_dim=5, **values)).eval()
    save_checkpoint(Checkpoint(model=model, training_size=32), tmp_path / "c.safetensors")
    source = load_source(tmp_path / "c.safetensors")
    assert (source.conditions, source.embedding) == (conditions, embedding)
