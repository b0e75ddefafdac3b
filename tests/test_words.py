"""Docstrings and help lines that can be read alone: each begins with its subject."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from polyexport.cli.app import make_app

ROOT = Path(__file__).parents[1]
FILES = [file for package in ("polyexport", "trainer") for file in sorted((ROOT / package).rglob("*.py"))]

RIDDLE = re.compile(r"(Of|What|How|That|Where|At|Same|The same|And|Or|But|As|By|Also|Not|Only|So) ")
"""Beginnings of a sentence that needs the one before it, or the name above it."""

FEWEST_WORDS = 2


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of every docstring, also of those below a constant or an attribute."""
    for node in ast.walk(tree):
        for body in (getattr(node, name, None) for name in ("body", "orelse", "finalbody")):
            if not isinstance(body, list):
                continue
            for statement in body:
                match statement:
                    case ast.Expr(value=ast.Constant(value=str(text))):
                        yield statement.lineno, text


def faults(text: str) -> list[str]:
    """Reasons why a line cannot be read alone."""
    first = " ".join(text.strip().split("\n\n")[0].split())
    found = []
    if RIDDLE.match(first):
        found.append(f"begins with {first.split()[0]!r}, name the subject first")
    if len(first.split()) < FEWEST_WORDS:
        found.append("is one word, write a sentence")
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_docstrings_begin_with_their_subject(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    assert [f"line {line}: {text[:60]!r} {fault}" for line, text in docstrings(tree) for fault in faults(text)] == []


def help_lines() -> Iterator[tuple[str, str]]:
    """Name and help text of every command and every option."""
    root = typer.main.get_command(make_app())
    assert isinstance(root, TyperGroup)
    for name, command in root.commands.items():
        yield name, command.help or ""
        for parameter in command.params:
            yield f"{name} {parameter.opts[-1]}", getattr(parameter, "help", None) or ""


def test_help_lines_are_sentences() -> None:
    wrong = {name: text for name, text in help_lines() if faults(text) or not text.rstrip().endswith((".", ")", "?"))}
    assert wrong == {}


@pytest.mark.parametrize(
    "text", ["Of AdamW.", "What 0 and 255 are.", "At its peak.", "The same for the output.", "Threads."]
)
def test_a_riddle_is_found(text: str) -> None:
    assert faults(text)


@pytest.mark.parametrize("text", ["Peak learning rate.", "Weight decay of the AdamW optimizer."])
def test_a_plain_line_passes(text: str) -> None:
    assert not faults(text)
