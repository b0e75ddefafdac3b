import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from polyexport.model.loading.load import load_model
from polyexport.package.card import model_card
from polyexport.package.readme import readme


def card(path: Path) -> str:
    model = load_model(path, provider="cpu")
    return model_card(model.contract, name="tiny", sha256=model.sha256, size_bytes=path.stat().st_size)


def test_it_says_what_the_file_is_and_what_was_measured(model_of: Callable[[str], Path]) -> None:
    path = model_of("vocabulary")
    text = card(path)

    assert hashlib.sha256(path.read_bytes()).hexdigest() in text
    assert f"{path.stat().st_size} bytes" in text
    for said in (
        "| `color` | int64 | [batch] | index into the palette |",
        "| 2 | house blue | `#0a14c8` |",
        "| simplified | 7 | 1e-06 | 1 | 100% | 99.50 | 1000 |",
        "sizes 32x32, 64x32",
        "| clean | 4 | 50.00 | 40.00 | 60.00 | 49.00 | 99.000% | 98.000% |",
        "| a\\|b | 9 | 44.00 | 33.00 |",
        "multiples of 4, trained at 32x32 pixels",
        "| color | index 1 |",
    ):
        assert said in text


def test_values_that_are_not_all_equal_are_never_a_hundred_per_cent(model_of: Callable[[str], Path]) -> None:
    assert "| raw | 7 | 1e-06 | 1 | 99.99999% |" in card(model_of("rgb"))


def test_what_a_contract_says_stays_in_its_cell(model_of: Callable[[str], Path]) -> None:
    contract = replace(load_model(model_of("rgb"), provider="cpu").contract, network="a\n# b | <script>")
    text = model_card(contract, name="<i>", sha256="", size_bytes=0)

    assert "| network | a # b \\| &lt;script> |" in text
    assert "torch 2\\|&lt;b>" in text
    assert "<i>" not in text


def test_every_table_is_a_table(model_of: Callable[[str], Path]) -> None:
    for kind in ("rgb fixed", "vocabulary many", "encoder many", "vectors"):
        contract = load_model(model_of(kind), provider="cpu").contract
        for text in (card(model_of(kind)), readme(contract, name="tiny")):
            for block in text.strip().split("\n\n"):
                if block.startswith("|"):
                    assert len({line.replace("\\|", "").count("|") for line in block.split("\n")}) == 1, block


def test_what_was_not_measured_is_not_printed(model_of: Callable[[str], Path]) -> None:
    contract = replace(load_model(model_of("rgb"), provider="cpu").contract, quality=None, fidelity=())
    text = model_card(contract, name="tiny", sha256="", size_bytes=0)

    assert "Not measured" in text
    assert "## Fidelity" not in text


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("rgb fixed", "[batch, 32, 32, 3]"),
        ("rgb many", "[batch, colors, height, width, 3]"),
        ("vocabulary many", "[batch, colors]"),
        ("encoder many", "[batch, colors, 4]"),
        ("vectors", "[batch, 4] | the caller's own"),
    ],
)
def test_shapes(kind: str, shape: str, model_of: Callable[[str], Path]) -> None:
    assert shape in card(model_of(kind))


def test_the_readme_gives_a_color_that_the_model_takes(model_of: Callable[[str], Path]) -> None:
    for kind, color in (("rgb", "#ff8800"), ("vocabulary", "#ff0000"), ("encoder", "#ff8800"), ("vectors", None)):
        model = load_model(model_of(kind), provider="cpu")
        assert model.color_condition.example() == color
        if color:
            model.color_condition.row(color)
        assert ("python run.py sample.png" in readme(model.contract, name="tiny")) == bool(color)
