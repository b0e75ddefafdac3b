import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from polyexport.bench import contenders as module
from polyexport.bench.compare import CONTENDERS, Comparison, check_comparison, compare
from polyexport.bench.contenders import CALLED, Contender, Work
from polyexport.bench.pools import POOLED
from polyexport.bench.programs import Program
from polyexport.bench.scenarios.scenario import Settings, Subject
from polyexport.errors import UsageError
from polyexport.model.model import Model
from polyexport.package.write import write_package

SETTINGS = Settings(size=16, seconds=0.02)
COPY = "import shutil, sys; shutil.copytree(sys.argv[1], sys.argv[2])"


def test_every_contender_does_the_same_work(subject: Subject, tiny_model: Model, tiny_checkpoint: Path) -> None:
    names = tuple(name for name in CONTENDERS if name != "torch-compile")
    asked = Comparison(names=names, checkpoint=tiny_checkpoint)
    found = compare(subject, tiny_model, asked, SETTINGS)
    assert [one.name for one in found] == [
        "polyexport", "torch", "openvino", "torch-per-image", "polyexport", "onnxruntime-pool", "openvino-queue",
    ]  # fmt: skip
    assert [one.work for one in found] == ["call"] * 4 + ["throughput"] * 3
    assert [one.ratio is None for one in found] == [one.name == "polyexport" for one in found]
    exact = {one.name: one.max_difference for one in found if not one.name.startswith("openvino")}
    assert max(value for value in exact.values() if value is not None) <= 1
    assert all(one.mean_difference is not None and one.mean_difference < 0.5 for one in found)
    assert all(one.versions and len(one.block_ms) == 15 and not one.failure for one in found)


def test_a_pool_runs_many_images_and_gives_each_its_own_result(subject: Subject, tiny_model: Model) -> None:
    ours, pool, queue = compare(subject, tiny_model, Comparison(names=POOLED), SETTINGS)
    assert ours.images == pool.images == queue.images >= 8
    assert ours.max_difference == pool.max_difference == 0
    assert queue.max_difference is not None
    assert queue.max_difference <= 1


def test_without_pytorch_the_reference_is_onnx_runtime(subject: Subject, tiny_model: Model) -> None:
    ours, other = compare(subject, tiny_model, Comparison(names=("openvino",)), SETTINGS)
    assert ours.max_difference == 0
    assert other.ratio is not None
    assert other.ratio.low <= other.ratio.estimate <= other.ratio.high


def test_a_wrong_result_is_seen(subject: Subject, tiny_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    real = module._BUILD["openvino"]

    def wrong(name: str, work: Work) -> Contender:
        built = real(name, work)
        return Contender(built.name, built.how, built.versions, lambda: np.zeros_like(built.call()))

    monkeypatch.setitem(module._BUILD, "openvino", wrong)
    _, other = compare(subject, tiny_model, Comparison(names=("openvino",)), SETTINGS)
    assert other.max_difference is not None
    assert other.max_difference > 100


def test_one_that_cannot_start_leaves_the_others(
    subject: Subject, tiny_model: Model, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(name: str, work: Work) -> Contender:
        raise RuntimeError("no such\nkernel")

    monkeypatch.setitem(module._BUILD, "openvino", broken)
    (tmp_path / "cut.onnx").write_bytes(b"\x08\x07")
    asked = Comparison(names=("openvino", str(tmp_path / "cut.onnx"), "torch"), checkpoint=tiny_checkpoint)
    ours, torch, failed, cut = compare(subject, tiny_model, asked, SETTINGS)
    assert (ours.failure, torch.failure) == ("", "")
    assert failed.failure == "no such; leave it out of --compare"
    assert "cannot be compared with" in cut.failure
    assert (failed.ratio, failed.p50_ms, failed.mean_difference) == (None, None, None)


@pytest.mark.parametrize(
    ("asked", "size", "told"),
    [
        (Comparison(names=("torch",)), 0, "exported from; give --checkpoint"),
        (Comparison(names=("tensorflow",)), 0, "cannot compare with 'tensorflow'"),
        (Comparison(names=("onnxruntime-loop",)), 0, "cannot compare with 'onnxruntime-loop'"),
        (Comparison(programs=(Program.parse("no-such-program {input} {output}"),)), 0, "cannot be found"),
        (Comparison(programs=(Program.parse("true {input} {output}"),) * 2), 0, "two programs have the name true"),
        (Comparison(programs=(Program.parse("polyexport=true {input} {output}"),)), 0, "the name polyexport"),
        (Comparison(programs=(Program.parse("true {input} {output}"),), images=Path("no")), 0, "is not a folder"),
    ],
)
def test_what_cannot_be_compared_is_refused_before(asked: Comparison, size: int, told: str) -> None:
    with pytest.raises(UsageError) as refusal:
        check_comparison(asked, size)
    assert told in str(refusal.value)


def test_a_vocabulary_and_its_pytorch(subject: Subject, vocabulary_model: Model, vocabulary_checkpoint: Path) -> None:
    path = vocabulary_checkpoint.with_suffix(".onnx")
    asked = Comparison(names=("torch",), checkpoint=vocabulary_checkpoint)
    found = compare(replace(subject, path=path), vocabulary_model, asked, SETTINGS)
    assert found[0].max_difference is not None
    assert found[0].max_difference <= 1


@pytest.mark.slow
def test_a_package_and_a_command_run_as_whole_processes(
    subject: Subject, tiny_model: Model, tiny_model_path: Path, drawings: Path, tmp_path: Path
) -> None:
    write_package(tiny_model_path, tmp_path / "package")
    with zipfile.ZipFile(tmp_path / "zipped.zip", "w") as archive:
        for path in sorted((tmp_path / "package").rglob("*")):
            archive.write(path, Path("inner") / path.relative_to(tmp_path / "package"))
    asked = Comparison(
        names=(str(tmp_path / "package"), str(tmp_path / "zipped.zip")),
        programs=(Program(name="copy", words=(sys.executable, "-c", COPY, "{input}", "{output}")),),
        images=drawings,
    )
    ours, copy, package, zipped = compare(subject, tiny_model, asked, Settings(seconds=0.02))
    assert [one.name for one in (copy, package, zipped)] == ["copy", "package", "zipped.zip"]
    assert {one.work for one in (ours, copy, package, zipped)} == {"files"}
    assert not [one.failure for one in (ours, copy, package, zipped) if one.failure]
    assert (package.max_difference, zipped.max_difference) == (0, 0)
    assert copy.max_difference is not None
    assert copy.max_difference > 100
    assert copy.ratio is not None
    assert copy.ratio.estimate < 1
    assert ours.cpu_ms is not None
    assert copy.cpu_ms is not None
    assert copy.cpu_ms < ours.cpu_ms
    with pytest.raises(UsageError, match="runs at the size of its model"):
        check_comparison(asked, 16)


def test_every_name_is_known() -> None:
    assert (*CALLED, *POOLED) == CONTENDERS
