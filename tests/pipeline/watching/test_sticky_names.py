import hashlib

from hypothesis import given
from hypothesis import strategies as st

from polyexport.imaging.names import output_names
from polyexport.model.settings import NO_SETTING
from polyexport.pipeline.outputs.journal import Record
from polyexport.pipeline.watching.sticky_names import StickyNames
from polyexport.storage.spelling import Spelling


class Made:
    """Records of outputs, by their names, and the inputs of which they were made."""

    def __init__(self, **inputs: str) -> None:
        self.records = {name: Record(sha(relative), "recipe", "0" * 64) for name, relative in inputs.items()}

    def record(self, output: str) -> Record | None:
        return self.records.get(output)


def sha(relative: str) -> str:
    return hashlib.sha256(relative.encode()).hexdigest()


def names_of(made: Made, spelling: Spelling | None = None) -> StickyNames:
    return StickyNames((NO_SETTING,), made, spelling or Spelling(), sha)


def named(names: StickyNames, *relatives: str) -> list[str]:
    names.assign(relatives)
    return [names.name(relative)[0] for relative in relatives]


def test_names_are_those_of_a_run_over_the_folder() -> None:
    names = names_of(Made())
    assert named(names, "a.jpg", "a.png", "b.jpg", "c.png") == ["a.jpg.png", "a.png", "b.png", "c.png"]


def test_a_later_input_takes_no_name_from_an_output() -> None:
    names = names_of(Made())
    assert named(names, "a.jpg") == ["a.png"]
    assert named(names, "a.png", "a.webp") == ["a.png.png", "a.webp.png"]
    assert named(names, "a.jpg", "a.png") == ["a.png", "a.png.png"]


def test_a_watch_that_starts_again_gives_the_same_names() -> None:
    made = Made(**{"a.png": "a.jpg", "a.png.png": "a.png", "a.webp.png": "a.webp"})
    assert named(names_of(made), "a.jpg", "a.png", "a.webp") == ["a.png", "a.png.png", "a.webp.png"]
    made = Made(**{"b.jpg.png": "b.jpg"})  # made beside b.png, which is gone
    assert named(names_of(made), "b.jpg") == ["b.jpg.png"]


def test_an_input_that_has_changed_since_is_named_as_by_a_run() -> None:
    made = Made(**{"a.png": "an earlier a.jpg"})
    assert named(names_of(made), "a.jpg", "a.png") == ["a.jpg.png", "a.png"]


def test_a_removed_input_frees_its_name() -> None:
    names = names_of(Made())
    named(names, "a.jpg")
    names.release("a.jpg")
    names.release("unknown.jpg")
    assert named(names, "a.png") == ["a.png"]


def test_an_input_without_a_free_name_fails_with_the_reason() -> None:
    names = names_of(Made())
    named(names, "a.webp", "a.jpg.webp")
    assert names.name("a.webp") == ("a.png", "")
    names.assign(["a.jpg"])
    name, clash = names.name("a.jpg")
    assert name == "a.png"
    assert "is the output of a.webp, too" in clash


def test_the_disk_decides_which_names_are_one() -> None:
    case = Spelling(ignores_case=True)
    names = names_of(Made(), case)
    assert named(names, "a.jpg") == ["a.png"]
    assert named(names, "A.png") == ["A.png.png"]
    assert named(names_of(Made()), "B.jpg", "b.jpg") == ["B.png", "b.png"]


_NAMES = st.lists(
    st.builds(lambda stem, suffix: f"{stem}.{suffix}", st.sampled_from("aAb"), st.sampled_from(("png", "jpg", "PNG"))),
    unique=True,
)


@given(first=_NAMES, later=st.lists(_NAMES, max_size=4))
def test_no_two_inputs_have_one_name_and_no_name_changes(first: list[str], later: list[list[str]]) -> None:
    names = names_of(Made())
    names.assign(first)
    known: dict[str, str] = {}
    for relatives in (first, *later):
        names.assign(relatives)
        for relative in relatives:
            name, clash = names.name(relative)
            if not clash:
                assert known.setdefault(relative, name) == name
    assert len(set(known.values())) == len(known)
    plain = output_names(first)
    if len(set(plain)) == len(plain):
        assert [known[relative] for relative in first] == plain
    # A watch that starts again, with what has been made, changes no name.
    again = names_of(Made(**{name: relative for relative, name in known.items()}))
    again.assign(sorted(known))
    assert {relative: again.name(relative)[0] for relative in known} == known
