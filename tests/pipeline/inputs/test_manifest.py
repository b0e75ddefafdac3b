import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from color_settings import color, setting
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polyexport.errors import UsageError
from polyexport.imaging.color import Color, color_of
from polyexport.model.conditions import condition_of
from polyexport.model.conditions.fields import ColorFields
from polyexport.pipeline.inputs import manifest
from polyexport.pipeline.inputs.manifest import Entry

RED, BLUE = setting("red"), setting("blue")
RGB = (condition_of(ColorFields(conditioning="rgb")),)

# Files of one test at once: each example writes its own.
one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def write(folder: Path, data: str | bytes, name: str = "list.csv") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def read_manifest(path: Path) -> list[Entry]:
    """For a model that takes any color."""
    return manifest.read_manifest(path, RGB)


def short(entries: Sequence[Entry]) -> list[tuple[str, str]]:
    return [(entry.name, color(entry.setting).name) for entry in entries]


def test_a_csv_names_images_beside_it(tmp_path: Path) -> None:
    file = write(tmp_path, 'image,color\ncats/tom.png,red\n./dog.png,"rgb(0, 0, 255)"\ncats//tom.png,blue\n')
    assert read_manifest(file) == [
        Entry(f"{tmp_path}/cats/tom.png", "cats/tom.png", RED),
        Entry(f"{tmp_path}/dog.png", "dog.png", setting((0, 0, 255))),
        Entry(f"{tmp_path}/cats/tom.png", "cats/tom.png", BLUE),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "image,color\na.png,red\nb.png,blue",
        "\ufeffimage,color\r\na.png,red\r\nb.png,blue\r\n",
        "\n\nInput ; note;COLOUR\n\n a.png;;red\n;;\n b.png;x; blue;;\n",  # codespell:ignore
        '"image";"color"\n"a.png";"red"\n"b.png";"blue"\n',
        "colour\tinput_polygon\nred\ta.png\nblue\tb.png\nblue\tb.png\n",  # codespell:ignore
        'color, image\rred, "a.png"\rblue, b.png\r',
    ],
)
def test_the_dialects_that_people_write(tmp_path: Path, text: str) -> None:
    assert short(read_manifest(write(tmp_path, text))) == [("a.png", "red"), ("b.png", "blue")]


def test_a_name_keeps_what_quotes_protect(tmp_path: Path) -> None:
    text = 'image,color\n" a, ""b"".png",red\n"new\nline.png",red\n日本/🎨.png,red\n'
    assert [name for name, _ in short(read_manifest(write(tmp_path, text)))] == [
        ' a, "b".png',
        "new\nline.png",
        "日本/🎨.png",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no header with the columns.*image,color"),
        ("a.png,red\n", "no header with the columns"),
        ("image\na.png\n", "no header with the columns"),
        ("image,input,color\na.png,b.png,red\n", "several columns"),
        ("image,color\n", "names no image"),
        ("image,color\na.png,red\nb.png,grene\n", "line 3: unknown color 'grene'; did you mean green"),
        ("image,color\na.png\n", "line 2 has 1 fields, the header 2"),
        ("image,color\na.png,rgb(1, 2, 3)\n", "line 2 has 4 fields.*quotes"),
        ('image,color\n"a.png,red\nb.png,blue\n', "line 3 is not a CSV"),
        ('image,color\n"a"b,red\n', "line 2 is not a CSV"),
        (f"image,color\n{'x' * 200_000},red\n", "line 2 is not a CSV.*limit"),
        ("image,color\n/etc/passwd,red\n", "line 2: '/etc/passwd' is not a path inside"),
        ("image,color\nx/../../a.png,red\n", "line 2: .* is not a path inside"),
        ("image,color\n,red\n", "line 2: '' is not a path inside"),
        ("image,color\n.,red\n", "line 2: '.' is not a path inside"),
        ("image,color\na\0b,red\n", "line 2: .* is not a path inside"),
        ("image,color\nout/a.png,red\n", "line 2: 'out/a.png' leaves the folder"),
        ("image,color\nlink.png,red\n", "line 2: 'link.png' leaves the folder"),
        (b"image,color\n\xff.png,red\n", "not UTF-8"),
        ("image,color\na.png,red\n".encode("utf-16"), "not UTF-8"),
    ],
)
def test_a_bad_csv_is_a_usage_error(tmp_path: Path, text: str | bytes, said: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "out").symlink_to(tmp_path)
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "link.png")
    with pytest.raises(UsageError, match=said):
        read_manifest(write(tmp_path / "in", text))


def test_what_fails_alone_when_it_is_read_is_listed(tmp_path: Path) -> None:
    (tmp_path / "self.png").symlink_to("self.png")
    (tmp_path / "near.png").symlink_to("a/b.png")
    names = ["missing.png", "x" * 300 + ".png", "self.png", "near.png", "folder"]
    (tmp_path / "folder").mkdir()
    file = write(tmp_path, "image,color\n" + "".join(f"{name},red\n" for name in names))
    assert [entry.name for entry in read_manifest(file)] == names


def test_the_index_of_a_data_set(tmp_path: Path) -> None:
    entries = [
        {"input_polygon": "star.png", "colour": "green", "output_image": "missing.png"},
        {"input_polygon": "a/b.png", "colour": "#008000", "shape": 3},
        {"input_polygon": "star.png", "colour": " Green "},
        {"input_polygon": "star.png", "colour": "lime"},
    ]
    file = write(tmp_path, json.dumps(entries), "data.json")
    expected = [
        Entry(f"{tmp_path}/inputs/star.png", "star.png", setting(Color("green", (0, 255, 0)))),
        Entry(f"{tmp_path}/inputs/a/b.png", "a/b.png", setting("#008000")),
        Entry(f"{tmp_path}/inputs/star.png", "star.png", setting("lime")),
    ]
    assert read_manifest(file) == read_manifest(tmp_path) == expected
    # In a CSV a name means what CSS means by it.
    assert read_manifest(write(tmp_path, "image,color\na,green"))[0].setting == setting("green")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not JSON"),
        ("{}", "is not a list of entries.*input_polygon and colour"),
        ("[]", "names no image"),
        ("[" * 100_000, "is not JSON"),
        ("[1]", "entry 0 is not an object with input_polygon and colour"),
        ('[{"input_polygon": "a", "colour": "red"}, {"input_polygon": "a"}]', "entry 1 is not an object"),
        ('[{"input_polygon": "a", "colour": 3}]', "entry 0 is not an object"),
        ('[{"input_polygon": "a", "colour": "grene"}]', "entry 0: unknown color 'grene'; did you mean green"),
        ('[{"input_polygon": "../a", "colour": "red"}]', "entry 0: '../a' is not a path inside"),
        ('[{"input_polygon": "\\ud800", "colour": "red"}]', "entry 0: .* is not a usable path"),
        ('[{"input_polygon": "a\\u0000", "colour": "red"}]', "entry 0: .* is not a path inside"),
        ('[{"input_polygon": "out/list.csv", "colour": "red"}]', "entry 0: .* leaves the folder"),
    ],
)
def test_a_bad_index_is_a_usage_error(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "inputs").mkdir()
    (tmp_path / "inputs" / "out").symlink_to(tmp_path)
    with pytest.raises(UsageError, match=said):
        read_manifest(write(tmp_path, text, "data.json"))


def test_the_model_says_how_colors_are_read(tmp_path: Path) -> None:
    leaf = Color("leaf", (1, 2, 3))
    known = [condition_of(ColorFields(conditioning="vocabulary", palette=((leaf.name, leaf.rgb),)))]
    file = write(tmp_path, "image,color\n" + "".join(f"{number}.png,leaf\n" for number in range(50)))
    assert {color(entry.setting) for entry in manifest.read_manifest(file, known)} == {leaf}
    index = write(tmp_path, '[{"input_polygon": "a", "colour": "leef"}]', "data.json")
    with pytest.raises(UsageError, match=r"entry 0: unknown color 'leef'"):
        manifest.read_manifest(index, known)


def test_what_cannot_be_read_is_a_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    for name, said in (("missing.csv", "No such file"), ("pipe.csv", "not a regular file"), (".", "No such file")):
        with pytest.raises(UsageError, match=f"cannot be read .{said}.*; expected"):
            read_manifest(tmp_path / name)
    with pytest.raises(UsageError, match="cannot be read"):
        read_manifest(Path("nul\0byte"))
    monkeypatch.setattr(manifest, "MAX_INDEX_BYTES", 10)
    with pytest.raises(UsageError, match="more than the limit of 10"):
        read_manifest(write(tmp_path, "image,color\na.png,red\n"))


part = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=20)
paths = st.lists(part.filter(lambda text: text not in (".", "..")), min_size=1, max_size=3).map("/".join)
rows = st.lists(st.tuples(paths, st.tuples(*[st.integers(0, 255)] * 3)), min_size=1, max_size=8)


@one_folder
@given(rows, st.sampled_from(",;\t"), st.sampled_from(["\n", "\r\n"]), st.sampled_from(["utf-8", "utf-8-sig"]))
def test_what_is_written_is_read(
    tmp_path: Path, rows: list[tuple[str, tuple[int, int, int]]], delimiter: str, end: str, encoding: str
) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([("image", "color"), *((path, "rgb({}, {}, {})".format(*rgb)) for path, rgb in rows)])
    data = json.dumps([{"input_polygon": path, "colour": "#{:02x}{:02x}{:02x}".format(*rgb)} for path, rgb in rows])

    expected = list(dict.fromkeys((path, color_of(rgb)) for path, rgb in rows))
    for file in (
        write(tmp_path, buffer.getvalue().encode(encoding)),
        write(tmp_path, data.encode(encoding), "data.json"),
    ):
        assert [(entry.name, color(entry.setting)) for entry in read_manifest(file)] == expected


lines = st.lists(
    st.lists(st.sampled_from(["a.png", "red", '"', ",", ";", "\n", "\r", " ", "..", "/", "\0", "é", "#fff"])).map(
        "".join
    )
)


@one_folder
@given(
    st.binary()
    | lines.map(lambda lines: ("image,color\n" + "\n".join(lines)).encode())
    | st.binary().map(lambda data: b"image;color\n" + data)
)
def test_any_bytes_are_entries_or_a_usage_error(tmp_path: Path, data: bytes) -> None:
    for name in ("list.csv", "data.json"):
        try:
            entries = read_manifest(write(tmp_path, data, name))
        except UsageError as error:
            assert error.remedy
        else:
            assert all(".." not in Path(entry.name).parts and Path(entry.name).name for entry in entries)


values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["input_polygon", "colour", "x"]), inner | st.text(), max_size=3)
    ),
    max_leaves=6,
)


@one_folder
@given(values | st.lists(st.fixed_dictionaries({"input_polygon": st.text(st.characters()), "colour": st.just("red")})))
def test_any_json_is_entries_or_a_usage_error(tmp_path: Path, value: object) -> None:
    try:
        entries = read_manifest(write(tmp_path, json.dumps(value), "data.json"))
    except UsageError:
        return
    for entry in entries:
        # Whatever it names, looking for it raises nothing but OSError.
        try:
            os.close(os.open(entry.source, os.O_RDONLY))
        except OSError:
            continue
