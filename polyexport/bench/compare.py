"""Comparison of polyexport with other programs on the same work, in turn, block by block.

There are three kinds of work, and polyexport does each of them beside its rivals: one image a call, many images side by
side, and whole processes from files to files. In the first two, differences are from PyTorch's output if PyTorch is
compared, else from that of ONNX Runtime's CPU provider in the model's precision; in the third from polyexport's files.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from polyexport.bench.contenders import (
    CALLED,
    Contender,
    Work,
    call_contender,
    check_called,
    plain_results,
    versions_of,
)
from polyexport.bench.document import Compared
from polyexport.bench.inputs import checked_size, inputs, write_drawings
from polyexport.bench.measure import BLOCKS_IN_TURN, closed_loop, in_turn, warm_up
from polyexport.bench.pools import POOLED, own_pool, pool_contender
from polyexport.bench.programs import Program, infer_program, is_package, package_program
from polyexport.bench.race import Race
from polyexport.bench.scenarios.scenario import Settings, Subject
from polyexport.bench.statistics import WINDOWS, is_steady, ratio_interval
from polyexport.errors import PolyexportError, UsageError, check_memory, reason_of
from polyexport.model.conditions.color_condition import ColorCondition
from polyexport.model.model import Model
from polyexport.runtime.cores import granted_cores
from polyexport.runtime.provider import provider_of
from polyexport.storage.scratch import scratch_folder

__all__ = ["CONTENDERS", "NO_COMPARISON", "Comparison", "check_comparison", "compare"]

CONTENDERS: tuple[str, ...] = (*CALLED, *POOLED)
"""Names of the programs that this module knows."""

_CALLS_PER_CORE = 16
"""Largest number of calls of ``_BATCH`` images for each core in a block of many images."""

Builders = Mapping[str, Callable[[], Contender]]

_BATCH = 8
_COLOR = "#ff6347"
_DRAWING_SIZE = 128  # pixels of generated drawings, where no size is asked for
_REMEDY = "leave it out of --compare"


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Programs that polyexport is compared with, and what they need."""

    names: tuple[str, ...] = ()
    """Names of ``CONTENDERS``, paths of ONNX files, and paths of packages that ``polyexport package`` wrote."""

    programs: tuple[Program, ...] = ()
    """Command lines of other programs."""

    checkpoint: Path | None = None
    """Checkpoint that the model was exported from, for the programs that run PyTorch."""

    images: Path | None = None
    """Folder of image files for whole processes; None for generated drawings."""

    timeout_s: float = 600.0
    """Time after which a whole process is ended, seconds."""

    def __post_init__(self) -> None:
        if self.timeout_s <= 0:
            raise ValueError(f"timeout must be positive, got {self.timeout_s}")

    @property
    def called(self) -> tuple[str, ...]:
        """Names and ONNX files that are compared call by call."""
        return tuple(name for name in self.names if name in CALLED or _is_onnx_file(name))

    @property
    def pooled(self) -> tuple[str, ...]:
        """Names that are compared by their throughput."""
        return tuple(name for name in self.names if name in POOLED)

    @property
    def packages(self) -> tuple[Path, ...]:
        """Packages, which are compared as whole processes."""
        return tuple(Path(name) for name in self.names if name not in CONTENDERS and not _is_onnx_file(name))


NO_COMPARISON = Comparison()
"""A benchmark without other programs."""


def check_comparison(asked: Comparison, size: int) -> None:
    """Refuse what cannot be compared, before anything is measured.

    Args:
        asked: the programs.
        size: height and width of the images that was asked for, pixels; 0 for the model's own.

    Raises:
        UsageError: a name is not known, a program needs what is missing, or a command cannot be found.
    """
    for path in asked.packages:
        if not is_package(path):
            raise UsageError(
                f"cannot compare with {str(path)!r}",
                remedy=f"give some of {', '.join(CONTENDERS)}, FILE.onnx, or what `polyexport package` wrote",
            )
    if asked.packages and size:
        raise UsageError("a package runs at the size of its model", remedy="leave out --size, or the package")
    check_called(asked.names, asked.checkpoint)
    names = ["polyexport", *(program.name for program in asked.programs)]
    twice = [name for number, name in enumerate(names) if name in names[:number]]
    if twice:
        raise UsageError(f"two programs have the name {twice[0]}", remedy="give --compare-command NAME=COMMAND")
    for program in asked.programs:
        program.check()
    if asked.images is not None and (asked.packages or asked.programs) and not asked.images.is_dir():
        raise UsageError(f"--images {asked.images} is not a folder", remedy="give a folder of image files")


def compare(
    subject: Subject,
    model: Model,
    asked: Comparison,
    settings: Settings,
    progress: Callable[[str], None] = lambda line: None,
) -> tuple[Compared, ...]:
    """Measure polyexport and the programs that were asked for. One that fails gets its reason in place of figures.

    Args:
        subject: the model that is measured, and how it is loaded.
        model: the model, loaded for one call at a time on all cores.
        asked: the programs.
        settings: size of the images, and seconds of the three windows of each program.
        progress: called with a line before each program is prepared, and before they are compared.

    Raises:
        UsageError: a program cannot be compared; see ``check_comparison``.
        PolyexportError: polyexport itself cannot do the work.
    """
    check_comparison(asked, settings.size)
    compared: list[Compared] = []
    if asked.called:
        compared += _compare_calls(subject, model, asked, settings, progress)
    if asked.pooled:
        compared += _compare_pools(subject, model, asked, settings, progress)
    if asked.programs or asked.packages:
        compared += _compare_programs(subject, model, asked, settings, progress)
    return tuple(compared)


def _compare_calls(
    subject: Subject, model: Model, asked: Comparison, settings: Settings, progress: Callable[[str], None]
) -> list[Compared]:
    size = checked_size(model, settings.size)
    work = Work(subject.path, asked.checkpoint, model.contract, inputs(model, size))
    ours = Contender(
        "polyexport",
        f"Model.run on {model.session.execution_provider}, as `infer` calls it",
        versions_of(provider_of(model.session.execution_provider).runtime),
        lambda: model.run(*work.inputs),
    )
    builders: Builders = {name: functools.partial(call_contender, name, work, model) for name in asked.called}
    group = _Group("call", work, subject.macs, settings.seconds)
    return group.compare(ours, builders, progress)


def _compare_pools(
    subject: Subject, model: Model, asked: Comparison, settings: Settings, progress: Callable[[str], None]
) -> list[Compared]:
    cores = granted_cores()
    threads = subject.threads or 1
    streams = max(1, cores // threads)
    wide = subject.load(threads=threads, streams=streams, images=0)
    size = checked_size(model, settings.size)
    least = Work(subject.path, None, model.contract, inputs(wide, size, _BATCH * cores))
    with ExitStack() as closing:
        probe = own_pool(wide, least, streams, closing)
        probe.call()
        (least_ms,) = closed_loop(probe.call)(0.0)
        block_ms = 1e3 * WINDOWS * settings.seconds / BLOCKS_IN_TURN
        calls = max(1, min(_CALLS_PER_CORE, round(block_ms / least_ms)))
        work = replace(least, inputs=inputs(wide, size, _BATCH * cores * calls))
        builders: Builders = {name: functools.partial(pool_contender, name, work, closing) for name in asked.pooled}
        group = _Group("throughput", work, subject.macs, settings.seconds)
        return group.compare(own_pool(wide, work, streams, closing), builders, progress)


def _compare_programs(
    subject: Subject, model: Model, asked: Comparison, settings: Settings, progress: Callable[[str], None]
) -> list[Compared]:
    values = {"model": str(subject.path.resolve())}
    color = next((one for one in model.conditions if isinstance(one, ColorCondition)), None)
    if color is not None:
        palette = color.fields.palette
        values["color"] = palette[0][0] if palette else _COLOR
    ours = infer_program(
        provider=subject.provider,
        color=color is not None,
        size=settings.size,
        threads=subject.threads,
        device_id=subject.device_id,
    )
    with scratch_folder() as scratch:
        (scratch / "packages").mkdir()
        programs = [*asked.programs]
        for number, path in enumerate(asked.packages):
            unpacked = scratch / "packages" / str(number)
            programs.append(package_program(path, color=color is not None, scratch=unpacked))
        pictures = asked.images or write_drawings(scratch / "drawings", settings.size or _DRAWING_SIZE)
        race = Race(pictures=pictures, values=values, scratch=scratch, timeout_s=asked.timeout_s, progress=progress)
        return race.run(ours, programs)


@dataclass(frozen=True, slots=True)
class _Group:
    """Contenders that do one kind of work in this process."""

    kind: Literal["call", "throughput"]
    work: Work
    macs: int
    seconds: float

    @property
    def images(self) -> int:
        return len(self.work.inputs[0])

    def compare(
        self,
        ours: Contender,
        builders: Builders,
        progress: Callable[[str], None],
    ) -> list[Compared]:
        """Prepare the rivals, time all in turn, and compare what they made."""
        contenders, outputs = [ours], [_flat(warm_up(ours.call))]
        failed: dict[str, Compared] = {}
        for name, build in builders.items():
            progress(f"preparing {name}")
            try:
                built = build()
                output = _flat(warm_up(built.call))
                _check_shape(output, outputs[0])
            except Exception as error:  # noqa: BLE001 - runtimes raise unrelated types
                check_memory(error, f"preparing {name}")
                failed[name] = self._failed(name, error)
                continue
            contenders.append(built)
            outputs.append(output)
        torch = [number for number, one in enumerate(contenders) if one.name in ("torch", "torch-per-image")]
        reference = outputs[torch[0]] if torch else _flat(plain_results(self.work))
        progress(f"comparing {', '.join(contender.name for contender in contenders)}")
        blocks = in_turn([contender.call for contender in contenders], seconds=self.seconds)
        per_image = [[sample / self.images for sample in samples] for samples in blocks]
        results = [
            self._measured(contender, samples, per_image[0] if number else None, output, reference)
            for number, (contender, samples, output) in enumerate(zip(contenders, per_image, outputs, strict=True))
        ]
        return [*results, *failed.values()]

    def _measured(
        self,
        contender: Contender,
        samples: Sequence[float],
        ours: Sequence[float] | None,
        output: NDArray[np.uint8],
        reference: NDArray[np.uint8],
    ) -> Compared:
        steady = is_steady([median(part) for part in np.array_split(samples, WINDOWS)])
        difference = np.abs(output.astype(np.int16) - reference.astype(np.int16))
        return Compared(
            name=contender.name,
            how=contender.how,
            versions=contender.versions,
            work=self.kind,
            images=self.images,
            p50_ms=median(samples) if steady else None,
            cpu_ms=None,
            ratio=None if ours is None else ratio_interval(samples, ours, paired=True),
            mean_difference=float(difference.mean()),
            max_difference=int(difference.max()),
            gflop_per_s=2 * self.macs / median(samples) / 1e6 if steady and self.macs else None,
            block_ms=tuple(samples),
            failure="",
        )

    def _failed(self, name: str, error: Exception) -> Compared:
        failure = str(error) if isinstance(error, PolyexportError) else f"{reason_of(error)}; {_REMEDY}"
        return Compared.without_figures(name, "", work=self.kind, images=self.images, failure=failure)


def _check_shape(output: NDArray[np.uint8], expected: NDArray[np.uint8]) -> None:
    if output.shape != expected.shape:
        raise PolyexportError(f"it makes {list(output.shape)}, expected {list(expected.shape)}", remedy=_REMEDY)


def _flat(output: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Put the colors of a palette graph beside the images."""
    return output.reshape(-1, *output.shape[-3:])


def _is_onnx_file(name: str) -> bool:
    return name.lower().endswith(".onnx")
