import base64
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyexport.imaging.color import COLOR_NAME
from polyexport.imaging.pixels import MAX_TRAINING_SIZE
from polyexport.model.certificate import Fidelity, ImageFidelity, Parity, Quality, StageParity
from polyexport.model.conditions.fields import (
    ColorFields,
    ConditionFields,
    ConditionValue,
    Embedding,
    ImageFields,
    LabelFields,
    NumberFields,
    VectorFields,
)
from polyexport.model.contract import COLORED, RESULT, Contract
from polyexport.model.golden import GoldenSample
from polyexport.model.result import SCALES, ResultFields, ResultKind
from polyexport.storage.typed_json import build

TEXT = st.text(max_size=6)
COUNT = st.integers(0, 2**40)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
RGB = st.tuples(*[st.integers(0, 255)] * 3)
NAME = st.from_regex(COLOR_NAME, fullmatch=True)
PALETTE = st.lists(st.tuples(NAME, RGB), min_size=1, max_size=3, unique_by=lambda entry: entry[0]).map(tuple)

STAGE = st.builds(
    StageParity,
    name=TEXT,
    nodes=COUNT,
    max_abs_diff=NUMBER,
    uint8_max_diff=COUNT,
    uint8_equal=NUMBER,
    psnr_db=NUMBER,
    values=COUNT,
)
PARITY = st.builds(
    Parity,
    reference=TEXT,
    candidate=TEXT,
    stages=st.lists(STAGE, min_size=1, max_size=3).map(tuple),
    images=COUNT,
    colors=COUNT,
    batches=st.lists(COUNT, max_size=3).map(tuple),
    sizes=st.lists(st.tuples(COUNT, COUNT), max_size=3).map(tuple),
)
FIDELITY = st.builds(
    Fidelity,
    data=TEXT,
    images=COUNT,
    psnr_to_fp32_mean_db=NUMBER,
    psnr_to_fp32_min_db=NUMBER,
    fp32_psnr_mean_db=NUMBER,
    psnr_mean_db=NUMBER,
    fp32_within_8=NUMBER,
    within_8=NUMBER,
)
QUALITY = st.builds(Quality, data=TEXT, images=COUNT, psnr_mean_db=NUMBER, psnr_min_db=NUMBER)


OWN_FIDELITY = st.builds(
    ImageFidelity,
    images=COUNT,
    sha256=TEXT,
    psnr_mean_db=NUMBER,
    psnr_min_db=NUMBER,
    ssim_mean=NUMBER,
    ssim_min=NUMBER,
    float_layers=st.lists(TEXT, max_size=3).map(tuple),
    reduced_layers=COUNT,
)


@st.composite
def colors(draw: st.DrawFn) -> ColorFields:
    """Of every conditioning, with and without each option."""
    conditioning = draw(st.sampled_from(("rgb", "vocabulary", "embedding")))
    vectors = conditioning == "embedding" or draw(st.booleans())
    known = conditioning == "vocabulary" or (conditioning == "embedding" and draw(st.booleans()))
    palette = draw(PALETTE) if known else ()
    dim = draw(st.integers(1, 4))
    embedding = Embedding(
        dim=dim,
        table=base64.b64encode(bytes(4 * dim * len(palette))).decode(),
        encoder="AAAA" if conditioning == "rgb" else "",
    )
    return ColorFields(
        conditioning=conditioning,
        palette=palette,
        color_input="embedding" if vectors else "color",
        embedding=embedding if vectors else None,
        many_colors=draw(st.booleans()),
    )


OTHERS: list[ConditionFields] = [
    LabelFields(name="style", labels=("ukiyo-e", "pop art"), default="pop art"),
    NumberFields(name="sigma", minimum=0, maximum=75.5, default=25, unit="levels"),
    VectorFields(name="code", dim=2, default=(0.5, -1.0)),
    VectorFields(name="noise", dim=3),
    ImageFields(name="mask", channels=1),
]


@st.composite
def contracts(draw: st.DrawFn) -> Contract:
    """Of both versions."""
    multiple = draw(st.integers(1, 32))
    golden_value: st.SearchStrategy[ConditionValue] = COUNT | RGB | TEXT | NUMBER
    entries: dict[str, Any] = {"conditions": (draw(colors()),), "output_name": COLORED}
    if draw(st.booleans()):
        kinds: tuple[ResultKind, ...] = ("picture", "mask", "labels")
        kind = draw(st.sampled_from(kinds))
        others = draw(st.lists(st.sampled_from(OTHERS), max_size=3, unique_by=lambda one: one.name))
        color = () if draw(st.booleans()) else (replace(draw(colors()), many_colors=False),)
        channels = 1 if kind == "mask" else draw(st.sampled_from((1, 3, 4)))
        size = multiple * draw(st.integers(1, MAX_TRAINING_SIZE // multiple))
        entries = {
            "conditions": (*color, *others),
            "output_name": RESULT,
            "image_channels": draw(st.sampled_from((1, 3, 4))),
            "result": ResultFields(kind=kind, scale=draw(st.sampled_from(SCALES[3:])), channels=channels),
            "batch_one": draw(st.booleans()),
            "image_fidelity": draw(st.none() | OWN_FIDELITY),
            "training_width": draw(st.sampled_from((0, size))),
            "fixed_size": True,
        }
    golden = GoldenSample(
        image_png=draw(TEXT), values=tuple(draw(golden_value) for _ in entries["conditions"]), result_png=draw(TEXT)
    )
    return Contract(
        **{"fixed_size": draw(st.booleans())} | entries,
        size_multiple=multiple,
        training_size=multiple * draw(st.integers(1, MAX_TRAINING_SIZE // multiple)),
        precision=draw(st.sampled_from(("fp32", "fp16", "int8"))),
        opset=draw(COUNT),
        versions=draw(st.dictionaries(TEXT, TEXT, max_size=3)),
        network=draw(TEXT),
        checkpoint_sha256=draw(TEXT),
        graph_sha256=draw(TEXT),
        parity=draw(PARITY),
        fidelity=tuple(draw(st.lists(FIDELITY, max_size=2))),
        golden=golden,
        quality=draw(st.none() | QUALITY),
    )


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 300)
    | st.sampled_from((10**400, -(10**400), math.nan, math.inf, 1e-320, 2**63))
    | st.floats()
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(contracts())
def test_a_contract_comes_back_from_json_as_it_was(contract: Contract) -> None:
    assert build(Contract, json.loads(json.dumps(asdict(contract)))) == contract
    assert Contract.from_json(contract.to_json()) == contract


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a JSON value with each of its keys or indices."""
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])


@given(contracts(), JSON, st.data())
def test_any_json_value_at_any_place_is_read_or_refused(contract: Contract, value: Any, data: st.DataObject) -> None:
    raw = json.loads(json.dumps(asdict(contract)))
    holder, key = data.draw(st.sampled_from(list(places(raw))))
    holder[key] = value
    try:
        read = build(Contract, raw)
    except ValueError:
        return
    # Nothing is converted or skipped; NaN, once read, would not even equal itself.
    assert json.loads(json.dumps(asdict(read))) == raw


@given(contracts(), st.data())
def test_a_field_that_is_gone_or_new_is_refused_by_name(contract: Contract, data: st.DataObject) -> None:
    raw = json.loads(json.dumps(asdict(contract)))
    objects = [raw] + [holder[key] for holder, key in places(raw) if isinstance(holder[key], dict)]
    chosen = data.draw(st.sampled_from([one for one in objects if one is not raw["versions"]]))
    name = data.draw(st.sampled_from(sorted(chosen)))
    old = chosen.pop(name)
    with pytest.raises(ValueError, match=f"lacks {name}$"):
        build(Contract, raw)
    chosen |= {name: old, "surprise": 1}
    with pytest.raises(ValueError, match="has an unknown surprise$"):
        build(Contract, raw)


@dataclass(frozen=True, kw_only=True, slots=True)
class Leaf:
    number: float = 0.0
    kind: Literal["a", 1] = "a"


@dataclass(frozen=True, kw_only=True, slots=True)
class Tree:
    """One field of each sort that ``build`` knows."""

    whole: int = 0
    flag: bool = False
    text: str = ""
    leaf: Leaf = Leaf()
    perhaps: Leaf | None = None
    either: int | tuple[int, int] | str = 0
    leaves: tuple[Leaf, ...] = ()
    pairs: tuple[tuple[str, float], ...] = ()
    names: dict[str, int] | None = None

    def __post_init__(self) -> None:
        if self.whole == 13:
            raise ValueError("whole must not be 13")


def tree(**changes: object) -> dict[str, object]:
    return asdict(Tree(names={})) | {"leaves": [], "pairs": []} | changes


def test_every_sort_of_field_is_read() -> None:
    read = build(
        Tree,
        tree(
            perhaps={"number": 2, "kind": 1},
            either=[1, 2],
            leaves=[{"number": 1.5, "kind": "a"}],
            pairs=[["x", 1], ["y", 2.5]],
            names={"k": 3},
        ),
    )
    assert read == Tree(
        perhaps=Leaf(number=2.0, kind=1),
        either=(1, 2),
        leaves=(Leaf(number=1.5),),
        pairs=(("x", 1.0), ("y", 2.5)),
        names={"k": 3},
    )
    assert read.perhaps is not None
    assert type(read.perhaps.number) is float
    assert build(Tree, tree(perhaps=None, either="text")) == replace(Tree(names={}), either="text")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"whole": True}, "^whole is True, expected int$"),
        ({"whole": 1.0}, "^whole is 1.0, expected int$"),
        ({"whole": "1"}, "^whole is '1', expected int$"),
        ({"whole": 13}, "^whole must not be 13$"),
        ({"flag": 1}, "^flag is 1, expected bool$"),
        ({"text": None}, "^text is None, expected str$"),
        ({"text": ["x"]}, "^text is "),
        ({"leaf": 3}, "^leaf is 3, expected an object$"),
        ({"leaf": []}, r"^leaf is \[\], expected an object$"),
        ({"leaf": {"number": 1}}, "^leaf lacks kind$"),
        ({"leaf": {"number": 1, "kind": "a", "more": 1}}, "^leaf has an unknown more$"),
        ({"leaf": {"number": True, "kind": "a"}}, "^leaf.number is True, expected float$"),
        ({"leaf": {"number": math.nan, "kind": "a"}}, "^leaf.number is nan, expected a finite number$"),
        ({"leaf": {"number": -math.inf, "kind": "a"}}, "^leaf.number is -inf, expected a finite number$"),
        ({"leaf": {"number": 10**400, "kind": "a"}}, "^leaf.number is 1000.*, expected a finite number$"),
        ({"leaf": {"number": 1, "kind": True}}, "^leaf.kind is True, expected 'a' or 1$"),
        ({"leaf": {"number": 1, "kind": "b"}}, "^leaf.kind is 'b', expected 'a' or 1$"),
        ({"perhaps": {"number": "x", "kind": 1}}, "^perhaps.number is 'x', expected float$"),
        ({"perhaps": False}, "^perhaps is False, expected an object$"),
        ({"either": None}, "^either is None, expected str$"),
        ({"either": 1.5}, "^either is 1.5, expected str$"),
        ({"either": [1, 2, 3]}, "^either"),
        ({"leaves": {}}, "^leaves is {}, expected tuple$"),
        ({"leaves": [{"number": 1, "kind": 1}, 2]}, r"^leaves\[1\] is 2, expected an object$"),
        ({"pairs": [["x", 1], ["y"]]}, r"^pairs\[1\] has 1 values, expected 2$"),
        ({"pairs": [["x", None]]}, r"^pairs\[0\]\[1\] is None, expected float$"),
        ({"pairs": "xy"}, "^pairs is 'xy', expected tuple$"),
        ({"names": {"k": "v"}}, "^names.k is 'v', expected int$"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_field(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        build(Tree, tree(**changes))


@pytest.mark.parametrize("value", [None, 3, "text", [], [["whole", 1]]])
def test_what_is_no_object_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="^the object is .*, expected an object$"):
        build(Tree, value)


def test_a_message_stays_short() -> None:
    for changes in ({"text": ["x" * 10_000]}, {"x" * 10_000: 1}, {"names": {"x" * 10_000: None}}):
        with pytest.raises(ValueError, match="xxx") as caught:
            build(Tree, tree(**changes))
        assert len(str(caught.value)) < 250
