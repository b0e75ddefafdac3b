import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyexport.bench.programs import Program, infer_program, is_package, package_program
from polyexport.errors import UsageError

VALUES = {"input": "/in {output}", "output": "/out", "model": "m.onnx", "color": "#ff6347"}


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        ("loop {input} {output}", "loop", ("loop", "{input}", "{output}")),
        ("mine=/usr/bin/loop.py {input} {output}", "mine", ("/usr/bin/loop.py", "{input}", "{output}")),
        ("/usr/bin/loop.py {input} {output}", "loop.py", ("/usr/bin/loop.py", "{input}", "{output}")),
        ("a.b-c=x '{input}/a b' --out={output}", "a.b-c", ("x", "{input}/a b", "--out={output}")),
        ("x {input} {output} '$(reboot)' '{\"a\": 1}'", "x", ("x", "{input}", "{output}", "$(reboot)", '{"a": 1}')),
    ],
)
def test_command_lines(text: str, name: str, words: tuple[str, ...]) -> None:
    program = Program.parse(text)
    assert (program.name, program.words) == (name, words)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("name=", "is empty"),
        ("   ", "is empty"),
        ("x {output}", "has no {input}, the folder that it reads"),
        ("x {input}", "has no {output}, the folder that it writes to"),
        ("x {input} {output} {place}", "unknown placeholder {place}; give some of {input}, {output}, {model}"),
        ("x '{input} {output}", "cannot be read (No closing quotation); close its quotes"),
    ],
)
def test_command_lines_that_are_refused(text: str, told: str) -> None:
    with pytest.raises(UsageError) as refusal:
        Program.parse(text)
    assert told in str(refusal.value)
    assert "\n" not in str(refusal.value)


@given(st.text(max_size=60))
def test_any_text_is_a_command_or_refused(text: str) -> None:
    try:
        program = Program.parse(text)
    except UsageError:
        return
    command = program.command(VALUES, Path("/in"))
    assert len(command) == len(program.words)


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="{}"), min_size=1, max_size=8), max_size=4))
def test_arguments_arrive_as_they_were_written(words: list[str]) -> None:
    import shlex

    text = shlex.join(["program", *words, "{input}", "{output}"])
    assert Program.parse(text).command(VALUES, Path("/in")) == ["program", *words, "/in {output}", "/out"]


def test_a_value_is_not_searched_for_placeholders() -> None:
    assert Program.parse("x {input}:{output}").command(VALUES, Path("/in")) == ["x", "/in {output}:/out"]


def test_double_braces_are_no_placeholder() -> None:
    program = Program.parse("x {input} {output} {{n}} 'f\"{{input}}\"'")
    assert program.command(VALUES, Path())[3:] == ["{n}", 'f"{input}"']


def test_a_model_without_a_color_has_no_value_for_it() -> None:
    with pytest.raises(UsageError, match="wants {color}, which the model does not take"):
        Program.parse("x {input} {output} {color}").command({"input": "a", "output": "b"}, Path())


def test_a_program_has_to_be_there(tmp_path: Path) -> None:
    script = tmp_path / "loop"
    script.write_text("#!/bin/sh\n")
    program = Program.parse(f"{script} {{input}} {{output}}")
    with pytest.raises(UsageError, match="cannot be found or executed"):
        program.check()
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    program.check()


def test_polyexports_own_command_line() -> None:
    program = infer_program(provider="cpu", color=True, size=256, threads=1)
    assert program.how == (
        "polyexport infer {input} -o {output} -m {model} -q --provider cpu --color {color} --size 256 --threads 1"
    )
    assert "{color}" not in infer_program(provider="cpu", color=False).words


def test_packages_are_told_by_their_script(tmp_path: Path) -> None:
    assert not is_package(tmp_path)
    assert not is_package(tmp_path / "missing.zip")
    (tmp_path / "run.py").write_text("")
    assert is_package(tmp_path)


def test_zip_files_that_are_no_packages(tmp_path: Path) -> None:
    path = tmp_path / "p.zip"
    path.write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(UsageError, match="cannot be unpacked"):
        package_program(path, color=True, scratch=tmp_path / "a")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "nothing")
    with pytest.raises(UsageError, match="holds no run.py"):
        package_program(path, color=True, scratch=tmp_path / "b")


def test_nothing_of_a_zip_file_leaves_the_folder(tmp_path: Path) -> None:
    path, scratch = tmp_path / "p.zip", tmp_path / "deep" / "scratch"
    scratch.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../escaped.py", "")
        archive.writestr("/rooted.py", "")
        archive.writestr("run.py", "")
    program = package_program(path, color=False, scratch=scratch)
    assert program.words[1] == str(scratch / "run.py")
    assert sorted(one.name for one in tmp_path.rglob("*.py")) == ["escaped.py", "rooted.py", "run.py"]
    assert all(one.is_relative_to(scratch) for one in tmp_path.rglob("*.py"))


def test_a_zip_file_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "p.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("run.py", b"\0" * 5000)
    monkeypatch.setattr("polyexport.bench.programs._MAX_PACKAGE_BYTES", 4999)
    with pytest.raises(UsageError, match="more than a package"):
        package_program(path, color=True, scratch=tmp_path / "a")
    assert not (tmp_path / "a").exists()
