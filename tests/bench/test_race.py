import sys
from pathlib import Path

import pytest
from PIL import Image

from polyexport.bench.programs import Program
from polyexport.bench.race import Race
from polyexport.errors import PolyexportError, UsageError

COPY = "import shutil, sys; shutil.copytree(sys.argv[1], sys.argv[2])"
FEW = """
import os, shutil, sys
os.mkdir(sys.argv[2])
for name in ('0.png', '1.png'):
    shutil.copy(os.path.join(sys.argv[1], name), sys.argv[2])
"""
NOTHING = "pass"
SMALL = """
import os, sys
from PIL import Image
os.mkdir(sys.argv[2])
for name in os.listdir(sys.argv[1]):
    Image.open(os.path.join(sys.argv[1], name)).resize((9, 7)).save(os.path.join(sys.argv[2], name))
"""
OTHER_NAMES = """
import os, sys
from PIL import Image
os.mkdir(sys.argv[2])
for name in os.listdir(sys.argv[1]):
    Image.open(os.path.join(sys.argv[1], name)).save(os.path.join(sys.argv[2], 'result-' + name))
"""
INVERTED = """
import os, sys
from PIL import Image, ImageOps
os.makedirs(os.path.join(sys.argv[2], 'red'))
for name in os.listdir(sys.argv[1]):
    picture = Image.open(os.path.join(sys.argv[1], name)).convert('RGB')
    ImageOps.invert(picture).save(os.path.join(sys.argv[2], 'red', name.replace('png', 'webp')), lossless=True)
"""
ONCE = """
import os, shutil, sys
if os.path.exists(sys.argv[3]): sys.exit('only once')
open(sys.argv[3], 'w')
shutil.copytree(sys.argv[1], sys.argv[2])
"""


def program(name: str, code: str, *more: str) -> Program:
    return Program(name=name, words=(sys.executable, "-c", code, "{input}", "{output}", *more))


OURS = program("polyexport", COPY)


@pytest.fixture
def race(drawings: Path, tmp_path: Path) -> Race:
    (tmp_path / "scratch").mkdir()
    return Race(pictures=drawings, values={}, scratch=tmp_path / "scratch", rounds=3, timeout_s=20)


def test_equal_results_and_differences(race: Race) -> None:
    ours, same, other, named = race.run(
        OURS, [program("same", COPY), program("inverted", INVERTED), program("named", OTHER_NAMES)]
    )
    assert (ours.ratio, ours.images, len(ours.block_ms)) == (None, 6, 3)
    assert (same.mean_difference, same.max_difference) == (0, 0)
    assert (other.max_difference, other.failure) == (255, "")
    assert named.mean_difference is named.max_difference is None  # no names in common: times alone
    for one in (same, other, named):
        assert one.ratio is not None
        assert one.cpu_ms is not None
        assert one.how.startswith(sys.executable)


def test_each_failure_has_its_reason_and_the_others_go_on(race: Race, tmp_path: Path) -> None:
    found = race.run(
        OURS,
        [
            program("few", FEW),
            program("nothing", NOTHING),
            program("small", SMALL),
            program("exits", "raise SystemExit('no model')"),
            program("once", ONCE, str(tmp_path / "ran")),
            program("good", COPY),
        ],
    )
    told = {one.name: one.failure for one in found if one.failure}
    assert list(told) == ["few", "nothing", "small", "exits", "once"]
    assert "it wrote 2 pictures, and polyexport 6; check" in told["few"]
    assert "it wrote 0 pictures" in told["nothing"]
    assert "its 0 has 9x7 pixels, and polyexport's 64x64; check" in told["small"]
    assert "exit code 1: no model; run" in told["exits"]
    assert "exit code 1: only once" in told["once"]
    assert found[-1].ratio is not None
    assert all("\n" not in text for text in told.values())


def test_one_that_hangs_is_left_out(drawings: Path, tmp_path: Path) -> None:
    race = Race(pictures=drawings, values={}, scratch=tmp_path, rounds=1, timeout_s=2)
    hangs, good = race.run(OURS, [program("hangs", "import time; time.sleep(60)"), program("good", COPY)])[1:]
    assert "did not end within 2 s" in hangs.failure
    assert good.ratio is not None


def test_the_programs_alternate(race: Race, tmp_path: Path) -> None:
    log = f"open({str(tmp_path / 'log')!r}, 'a').write(NAME); " + COPY
    race.run(program("polyexport", log.replace("NAME", "'a'")), [program("b", log.replace("NAME", "'b'"))])
    assert (tmp_path / "log").read_text() == "ab" + "ab" + "ba" + "ab"


def test_polyexports_own_failure_ends_it(race: Race) -> None:
    with pytest.raises(PolyexportError, match="exit code 1: no model"):
        race.run(program("polyexport", "raise SystemExit('no model')"), [program("good", COPY)])


def test_folders_without_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    race = Race(pictures=folder, values={}, scratch=tmp_path)
    with pytest.raises(UsageError, match="holds no files"):
        race.run(OURS, [])
    (folder / "a.png").write_text("text")
    with pytest.raises(UsageError, match="none of the pictures"):
        race.run(OURS, [])
    for rounds, timeout_s in ((0, 1.0), (1, 0.0)):
        with pytest.raises(ValueError, match="must be positive"):
            Race(pictures=folder, values={}, scratch=tmp_path, rounds=rounds, timeout_s=timeout_s)


def test_pictures_at_any_depth_are_matched(tmp_path: Path) -> None:
    for name in ("a/0.png", "b/0.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True)
        Image.new("RGB", (8, 8), "red" if name[0] == "a" else "blue").save(tmp_path / "in" / name)
    race = Race(pictures=tmp_path / "in", values={}, scratch=tmp_path, rounds=1)
    assert race.run(OURS, [program("copy", COPY)])[1].max_difference == 0


def test_a_folder_of_another_race_is_refused(race: Race) -> None:
    race.run(OURS, [])
    with pytest.raises(ValueError, match="another race"):
        race.run(OURS, [])


def test_outputs_stay(race: Race) -> None:
    race.run(OURS, [program("copy", COPY)])
    kept = {folder.name for folder in (race.scratch / "runs").iterdir()}
    assert kept == {"reference", "first-1", *(f"round-{turn}-{number}" for turn in range(3) for number in range(2))}


def test_outputs_are_deleted_when_they_are_large(race: Race, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyexport.bench.race._MOST_KEPT_BYTES", 0)
    race.run(OURS, [program("copy", COPY)])
    assert {folder.name for folder in (race.scratch / "runs").iterdir()} == {"reference", "round-2-1"}
