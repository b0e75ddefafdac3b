import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from polyexport.data.drawings import draw
from polyexport.imaging.codecs import CODECS, FORMATS, SUFFIXES, codec_of, format_by_signature
from polyexport.imaging.codecs.codec import Codec, DeepGray
from polyexport.imaging.pixels import decode, read_image

ROOT = Path(__file__).parents[2]
DRAWING = draw(np.random.default_rng(2), 32).image
PCX = '''"""PCX, the format of PC Paintbrush."""

from polyexport.imaging.codecs.codec import Codec

__all__ = ["PCX"]

PCX = Codec(name="PCX", description="PC Paintbrush", signature=rb"\\x0a[\\0\\2-\\5]", suffixes=(".pcx",))
'''


def saved(name: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(DRAWING).save(buffer, name)
    return buffer.getvalue()


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_a_codec_recognizes_its_files_and_no_others(codec: Codec) -> None:
    data = saved(codec.name)
    assert format_by_signature(data) == codec.name
    assert [other.name for other in CODECS if re.match(other.signature, data, re.DOTALL)] == [codec.name]
    assert decode(data).pixels.shape == DRAWING.shape


def test_every_suffix_is_one_that_pillow_has_for_the_format() -> None:
    Image.init()
    for codec in CODECS:
        assert codec.description
        for suffix in codec.suffixes:
            assert Image.EXTENSION[suffix] == codec.name
    assert sum(len(codec.suffixes) for codec in CODECS) == len(SUFFIXES)
    assert len(set(FORMATS)) == len(CODECS)


def test_an_image_of_no_format_has_a_codec_without_checks() -> None:
    for name in (None, "MPO"):
        codec = codec_of(name)
        image = Image.new("I;16", (2, 2))
        codec.check_file(b"")
        assert codec not in CODECS
        assert (list(codec.extra_sizes(image)), codec.drawn_box(image)) == ([], None)
        assert codec.deep_gray(image) == DeepGray()
    assert format_by_signature(b"just text") is None


def test_the_documentation_lists_the_registry() -> None:
    rows = "".join(
        f"| {codec.name} | {', '.join(f'`{suffix}`' for suffix in codec.suffixes)} | {codec.description} |\n"
        for codec in CODECS
    )
    assert f"| --- | --- | --- |\n{rows}\n" in (ROOT / "docs" / "infer.md").read_text()


def test_a_format_is_one_file_and_one_row(tmp_path: Path) -> None:
    """In a copy of the source tree: images of a format that is added there are found, decoded and colored."""
    ignored = shutil.ignore_patterns("__pycache__", "demo")
    shutil.copytree(ROOT / "polyexport", tmp_path / "source" / "polyexport", ignore=ignored)
    folder = tmp_path / "source" / "polyexport" / "imaging" / "codecs"
    (tmp_path / "drawings").mkdir()
    for name in ("PCX", "PNG"):
        (tmp_path / "drawings" / f"{name}.{name.lower()}").write_bytes(saved(name))
    (tmp_path / "drawings" / "misnamed.png").write_bytes(saved("PCX"))
    command = [sys.executable, "-m", "polyexport.cli.main", "infer", "drawings", "-c", "red", "-o", "colored"]
    command += ["--provider", "cpu", "-m", str(ROOT / "artifacts" / "small-int8.onnx")]
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "source")}

    before = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert before.returncode == 3
    assert f"no image of a known format; known formats: {', '.join(FORMATS)}" in before.stderr
    assert [path.name for path in (tmp_path / "colored").rglob("*.png")] == ["PNG.png"]

    (folder / "pcx.py").write_text(PCX)
    registry = (folder / "__init__.py").read_text()
    row = "\nfrom polyexport.imaging.codecs.pcx import PCX\n\nCODECS: tuple[Codec, ...] = (\n    PCX,"
    (folder / "__init__.py").write_text(registry.replace("\nCODECS: tuple[Codec, ...] = (", row))
    command[command.index("colored")] = "after"
    after = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert after.returncode == 0, after.stderr
    assert sorted(path.name for path in (tmp_path / "after").rglob("*.png")) == ["PCX.png", "PNG.png", "misnamed.png"]
    assert len({read_image(path).pixels.tobytes() for path in (tmp_path / "after").rglob("*.png")}) == 1
