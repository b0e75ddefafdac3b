"""Files that others wrote to break decoders, fetched by ``fetch.py``: each one is pixels or an ImageError."""

import configparser
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

from polyexport.errors import ContractError, ExitCode
from polyexport.imaging.codecs import format_by_signature
from polyexport.imaging.encoders import encoder_of
from polyexport.imaging.output_format import FormatName
from polyexport.imaging.pixels import decode
from polyexport.model.model import Model

TIME_LIMIT_S = 20
CORPORA = ("pillow", "gdk-pixbuf", "golang")
ONNX_FILES = sorted(Path(onnx.__file__).parent.joinpath("backend/test/data").rglob("*.onnx"))

# Reads paths line by line, answers each with one line of JSON.
WORKER = """
import json, sys
from pathlib import Path
from polyexport.errors import ImageError
from polyexport.imaging.pixels import decode, inspect_header
for line in sys.stdin:
    data = Path(json.loads(line)).read_bytes()
    try:
        pixels = decode(data).pixels
        if pixels.dtype != "uint8" or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.flags.writeable:
            raise AssertionError(f"{pixels.dtype} {pixels.shape}")
        if inspect_header(data) != (pixels.shape[1], pixels.shape[0]):
            raise AssertionError(f"the header says {inspect_header(data)}, the pixels {pixels.shape}")
        answer = ["accepted", ""]
    except ImageError as error:
        answer = ["refused", str(error)]
    except BaseException as error:
        answer = ["escaped", repr(error)]
    print(json.dumps(answer), flush=True)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of one file."""

    path: Path
    state: str
    """accepted, refused, escaped (an error that is no ImageError), crashed, or hung."""

    reason: str


class Worker:
    """A process that decodes; it is started again after a crash or a hang."""

    def __init__(self) -> None:
        self.process = self._start()

    @staticmethod
    def _start() -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "ignore", "-c", WORKER]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)

    def decode(self, path: Path) -> Outcome:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        late = threading.Event()

        def kill() -> None:
            late.set()
            self.process.kill()

        timer = threading.Timer(TIME_LIMIT_S, kill)
        timer.start()
        self.process.stdin.write(json.dumps(str(path)) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        timer.cancel()
        if answer:
            state, reason = json.loads(answer)
            return Outcome(path=path, state=state, reason=reason)
        reason = f"exit code {self.process.wait()}"
        self.close()
        self.process = self._start()
        return Outcome(path=path, state="hung" if late.is_set() else "crashed", reason=reason)

    def close(self) -> None:
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()
        self.process.wait()


@pytest.fixture(scope="module")
def corpora() -> Path:
    folder = os.environ.get("POLYEXPORT_CORPORA")
    if not folder:
        pytest.skip("POLYEXPORT_CORPORA does not name the folder that tests/corpora/fetch.py filled")
    return Path(folder)


@pytest.fixture(scope="module")
def outcomes(corpora: Path) -> Iterator[dict[str, list[Outcome]]]:
    """Of every file, by corpus."""
    workers = [Worker(), Worker()]

    def share(number: int, files: list[Path]) -> list[Outcome]:
        return [workers[number].decode(path) for path in files[number :: len(workers)]]

    found = {}
    with ThreadPoolExecutor(len(workers)) as pool:
        for name in CORPORA:
            files = sorted(path for path in (corpora / name).rglob("*") if path.is_file())
            shares = pool.map(share, range(len(workers)), [files] * len(workers))
            found[name] = [outcome for outcomes in shares for outcome in outcomes]
    yield found
    for worker in workers:
        worker.close()


@pytest.fixture
def outcomes_of(outcomes: dict[str, list[Outcome]], corpora: Path, request: pytest.FixtureRequest) -> list[Outcome]:
    if not outcomes[request.param]:
        pytest.skip(f"{corpora} has no {request.param}")
    return outcomes[request.param]


@pytest.mark.parametrize("outcomes_of", CORPORA, indirect=True)
def test_every_file_is_pixels_or_an_image_error(outcomes_of: list[Outcome]) -> None:
    counts = Counter(outcome.state for outcome in outcomes_of)
    reasons = Counter(outcome.reason.split(";")[0].split("(")[0] for outcome in outcomes_of if outcome.reason)
    sys.stdout.write(f"{len(outcomes_of)} files, {dict(counts)}\n")
    sys.stdout.writelines(f"{count:5} {reason}\n" for reason, count in reasons.most_common())
    assert [outcome for outcome in outcomes_of if outcome.state not in ("accepted", "refused")] == []
    assert [outcome for outcome in outcomes_of if "\n" in outcome.reason] == []
    assert counts["accepted"] > len(outcomes_of) / 4


@pytest.mark.parametrize("outcomes_of", ["gdk-pixbuf"], indirect=True)
def test_what_must_fail_is_refused(outcomes_of: list[Outcome]) -> None:
    must_fail = [outcome for outcome in outcomes_of if outcome.path.parent.name == "fail"]
    assert len(must_fail) >= 40
    assert [outcome.path.name for outcome in must_fail if outcome.state != "refused"] == []


@pytest.mark.parametrize("outcomes_of", ["golang"], indirect=True)
def test_what_go_calls_invalid_is_refused(outcomes_of: list[Outcome]) -> None:
    invalid = [outcome for outcome in outcomes_of if outcome.path.name.startswith("invalid-")]
    assert len(invalid) >= 5
    assert [outcome.path.name for outcome in invalid if outcome.state != "refused"] == []


@pytest.mark.parametrize("outcomes_of", ["golang"], indirect=True)
def test_the_whole_png_suite_is_accepted(outcomes_of: list[Outcome]) -> None:
    suite = [outcome for outcome in outcomes_of if "pngsuite" in outcome.path.parts and outcome.path.suffix == ".png"]
    assert len(suite) >= 30
    assert [outcome.path.name for outcome in suite if outcome.state != "accepted"] == []


# Its references show later frames at time 0, or cut the screen where pillow enlarges it.
OTHERWISE = {
    "dispose-restore-previous",
    "high-color",
    "image-outside-bg",
    "image-overlap-bg",
    "images-combine",
    "images-overlap",
}


def test_the_gif_suite_looks_as_its_references_say(corpora: Path) -> None:
    folder = corpora / "gdk-pixbuf" / "gif-test-suite"
    if not folder.is_dir():
        pytest.skip(f"{corpora} has no gdk-pixbuf")
    compared = 0
    for path in sorted(folder.glob("*.conf")):
        suite = configparser.ConfigParser(strict=False, interpolation=None)
        suite.read_string(path.read_text())
        config = suite["config"]
        first = config["frames"].split(",")[0].strip()
        if not first or path.stem in OTHERWISE or "zero" in path.stem or path.stem == "no-data":
            continue
        width, height = int(config["width"]), int(config["height"])
        rgba = np.fromfile(folder / suite[first]["pixels"], np.uint8).reshape(height, width, 4).astype(float)
        expected = np.rint(255 + (rgba[..., :3] - 255) * rgba[..., 3:] / 255)
        found = decode((folder / config["input"]).read_bytes()).pixels
        assert found.shape == expected.shape, path.stem
        assert np.abs(found - expected).max() <= 1, path.stem
        compared += 1
    assert compared >= 55


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ("gdk-pixbuf/reftests/cat.jpg", "gdk-pixbuf/reftests/cat.jpg.ref.png"),
        ("gdk-pixbuf/reftests/mandatory-bitmasks.bmp", "gdk-pixbuf/reftests/mandatory-bitmasks.bmp.ref.png"),
        ("golang/testdata/video-001.cmyk.jpeg", "golang/testdata/video-001.cmyk.png"),
        ("pillow/bmp/g/pal1.bmp", "pillow/bmp/html/pal1.png"),
        ("pillow/bmp/g/pal4rle.bmp", "pillow/bmp/html/pal4.png"),
        ("pillow/bmp/g/pal8rle.bmp", "pillow/bmp/html/pal8.png"),
        ("pillow/bmp/g/pal8topdown.bmp", "pillow/bmp/html/pal8.png"),
        ("pillow/bmp/g/rgb16-565.bmp", "pillow/bmp/html/rgb16-565.png"),
        ("pillow/bmp/g/rgb32.bmp", "pillow/bmp/html/rgb24.png"),
    ],
)
def test_images_look_as_their_references(corpora: Path, image: str, reference: str) -> None:
    if not (corpora / image).is_file():
        pytest.skip(f"{corpora} has no {image}")
    found, expected = (decode((corpora / name).read_bytes()).pixels.astype(int) for name in (image, reference))
    assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize("outcomes_of", CORPORA, indirect=True)
def test_infer_brings_every_file_to_one_state(
    outcomes_of: list[Outcome], tiny_model_path: Path, tmp_path: Path
) -> None:
    """The same files through the program: a state for each, a whole picture for those accepted, and nothing else."""
    command = [sys.executable, "-m", "polyexport.cli.main", "infer", "--files-from", "-", "--json", "-c", "red"]
    command += ["-m", str(tiny_model_path), "--provider", "cpu", "-o", str(tmp_path / "out")]
    listed = "\0".join(str(outcome.path) for outcome in outcomes_of)
    for again in (False, True):
        done = subprocess.run(command, check=False, input=listed, capture_output=True, text=True)
        *lines, run = (json.loads(line) for line in done.stdout.splitlines())
        assert "Traceback" not in done.stderr
        assert done.returncode == ExitCode.SOME_FAILED
        states = {line["source"]: line["status"] for line in lines}
        assert len(lines) == len(states) == len(outcomes_of) == run["images"]
        for outcome in outcomes_of:
            expected = "failed" if outcome.state == "refused" else "skipped" if again else "ok"
            assert states[str(outcome.path)] == expected, outcome
        pictures = [path for path in (tmp_path / "out").rglob("*") if path.is_file() and path.name != "journal.jsonl"]
        assert len(pictures) == sum(outcome.state == "accepted" for outcome in outcomes_of)
        assert all(decode(path.read_bytes()).pixels.ndim == 3 for path in pictures)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["png", "same", "jpeg", "webp", "tiff", "avif"])
@pytest.mark.parametrize("outcomes_of", CORPORA, indirect=True)
def test_infer_writes_every_format_of_every_file(
    outcomes_of: list[Outcome], name: FormatName, tiny_model_path: Path, tmp_path: Path
) -> None:
    """Whatever metadata, profiles and alpha the files have: a picture of the format for each file, or one reason."""
    command = [sys.executable, "-m", "polyexport.cli.main", "infer", "--files-from", "-", "--json", "-c", "red"]
    command += ["-m", str(tiny_model_path), "--provider", "cpu", "-o", str(tmp_path / "out"), "--size", "32"]
    command += ["--format", name, "--color-profile", "keep", *([] if name == "jpeg" else ["--alpha", "keep"])]
    listed = "\0".join(str(outcome.path) for outcome in outcomes_of)
    done = subprocess.run(command, check=False, input=listed, capture_output=True, text=True)
    *lines, run = (json.loads(line) for line in done.stdout.splitlines())
    assert "Traceback" not in done.stderr
    assert done.returncode in (ExitCode.OK, ExitCode.SOME_FAILED)
    assert len(lines) == len({line["source"] for line in lines}) == len(outcomes_of) == run["images"]
    states = {line["source"]: line["status"] for line in lines}
    reasons = {line["source"]: line["reason"] for line in lines}
    for outcome in outcomes_of:
        expected = "failed" if outcome.state == "refused" else "ok"
        told = "at most" in reasons[str(outcome.path)]  # more pixels than the format holds
        assert states[str(outcome.path)] == expected or told, (outcome, reasons[str(outcome.path)])
    assert [line["warnings"] for line in lines if any("\n" in warning for warning in line["warnings"])] == []
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file() and path.name != "journal.jsonl"]
    assert len(written) == run["ok"]
    for path in written:
        assert format_by_signature(path.read_bytes()) == encoder_of(name, path.suffix).name, path
        assert decode(path.read_bytes()).pixels.ndim == 3


def test_models_of_others_are_refused() -> None:
    assert len(ONNX_FILES) >= 100
    for path in ONNX_FILES:
        with pytest.raises(ContractError):
            Model.from_bytes(path.read_bytes())
