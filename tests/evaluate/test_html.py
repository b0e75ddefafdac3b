import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from polyexport.data.pairs import read_pairs
from polyexport.evaluate.document import ModelFacts, document, facts_of
from polyexport.evaluate.html import render
from polyexport.evaluate.score import Evaluation, Split, evaluate
from polyexport.model.model import Model

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>$\\frac$ & \u0444\u4e2d]]>-->"


class Page(HTMLParser):
    """Elements and attributes of a page, and whether every element is closed."""

    VOID = frozenset(("meta", "link", "img", "br"))

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def facts(shipped: Model) -> ModelFacts:
    return facts_of(shipped, Path("small.onnx"), "fit")


def test_it_loads_nothing_and_runs_nothing(evaluation: Evaluation, facts: ModelFacts) -> None:
    page = render(evaluation, facts)
    elements = Page(page).elements

    loads = [
        value
        for _, attributes in elements
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster")
    ]
    assert loads
    assert all(str(value).startswith(("data:image/png;base64,", "#")) for value in loads)
    assert not re.search(r"url\((?!#)|@import", page)
    assert [attributes.get("type") for tag, attributes in elements if tag == "script"] == ["application/json"]
    assert not [name for _, attributes in elements for name in attributes if name.startswith("on")]
    assert not {"link", "iframe", "object", "embed"} & {tag for tag, _ in elements}
    assert "prefers-color-scheme: dark" in page


def test_hostile_names_are_text(evaluation: Evaluation, facts: ModelFacts) -> None:
    def renamed(split: Split) -> Split:
        items = tuple(
            replace(item, input=Path(f"{HOSTILE}.png".replace("/", "")), shape=HOSTILE) for item in split.items
        )
        return replace(split, name=HOSTILE, items=items)

    worst = tuple(
        replace(sample, split=HOSTILE, item=replace(sample.item, input=Path(HOSTILE.replace("/", "")), shape=HOSTILE))
        for sample in evaluation.worst
    )
    hostile = Evaluation(splits=tuple(map(renamed, evaluation.splits[:1])), all=renamed(evaluation.all), worst=worst)
    page = render(hostile, replace(facts, file=HOSTILE))

    tags = [tag for tag, _ in Page(page).elements]
    assert tags.count("script") == 1
    assert tags.count("img") == 6 * len(worst)
    assert "<script>alert" not in page


@pytest.mark.slow
def test_the_same_evaluation_is_the_same_page(evaluation: Evaluation, facts: ModelFacts) -> None:
    assert render(evaluation, facts) == render(evaluation, facts)


def test_the_numbers_stand_in_the_page(evaluation: Evaluation, facts: ModelFacts, shipped: Model) -> None:
    page = render(evaluation, facts)
    (embedded,) = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, flags=re.DOTALL)
    assert json.loads(embedded) == document(evaluation, facts, brief=True)
    assert page.count('class="sample"') == 7
    assert shipped.sha256 in page
    assert page.count("<svg") >= 6
    # White fills have no mask, so that some means are over the other images alone.
    assert re.search(r"<td>[0-9.%]+\*</td>", page)


def test_a_set_of_one_white_fill_is_reported(shipped: Model, make_set: Callable[..., Path], facts: ModelFacts) -> None:
    pairs = read_pairs(make_set("white", 1, size=16, colors=("white",)))
    page = render(evaluate(shipped, {"white": pairs}), facts)
    Page(page)
    assert "nan" not in re.sub(r"base64,[^\"]*", "", page)
