"""The page of network kinds offers only options, kinds and spaces that the command has."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from polyexport.export.source.condition_spec import parse_condition

PAGE = (Path(__file__).parents[1] / "docs" / "your-network.md").read_text(encoding="utf-8").replace("\\|", "|")
COMMANDS = re.findall(r"`([^`]*--[^`]*)`", PAGE)


def test_every_option_of_the_page_is_one_of_the_commands() -> None:
    commands = ["export", "infer", "verify"]
    texts = [
        subprocess.run([sys.executable, "-m", "polyexport.cli.main", name, "--help"], capture_output=True, text=True)
        for name in commands
    ]
    known = set(re.findall(r"--[a-z][a-z-]+", " ".join(text.stdout for text in texts)))
    said = set(re.findall(r"--[a-z][a-z-]+", " ".join(COMMANDS)))
    assert len(said) > 15
    assert said <= known


@pytest.mark.parametrize("text", sorted(set(re.findall(r"--condition (\S+=\S+:\S+)", " ".join(COMMANDS)))))
def test_every_condition_of_the_page_is_read(text: str) -> None:
    assert parse_condition(text).name in text
