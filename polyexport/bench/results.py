"""Reports of several runs side by side: read from files that are not trusted, and put into one table."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from polyexport.bench.changes import differences
from polyexport.bench.document import BenchReport, Row, read_report
from polyexport.bench.table import number
from polyexport.errors import UsageError

__all__ = ["Line", "Results", "read_results", "result_lines"]

_MAX_FILES = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One measurement of one report, as a line of the table over all."""

    file: str
    """Name of the report's file."""

    measured_at: str
    """Time of the run, ISO 8601 in UTC; empty if the report does not tell."""

    cpu: str
    cores: int
    model: str
    precision: str
    provider: str
    scenario: str
    name: str
    """Name of the measurement within its scenario."""

    size: int
    """Height and width of the images, pixels; 0 for files of any size."""

    stable: bool
    p50_ms: float | None
    """Median time of a call, milliseconds."""

    p99_ms: float | None
    image_ms: float | None
    images_per_s: float | None
    cpu_ms_per_image: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Results:
    """Reports that could be read, and the reasons why others could not."""

    reports: Mapping[str, BenchReport]
    """Reports by the names of their files, the latest first; those without a time come last."""

    refused: Mapping[str, str]
    """Reason and remedy by the paths of the files that could not be used."""

    def lines(self) -> Sequence[Line]:
        """All measurements of all reports: those of one scenario, name and size together, the fastest first."""
        found = [_line(file, report, row) for file, report in self.reports.items() for row in report.rows]
        scenarios = list(dict.fromkeys(line.scenario for line in found))
        return sorted(
            found,
            key=lambda line: (scenarios.index(line.scenario), line.name, line.size, _or_last(line.image_ms), line.file),
        )

    def differences(self) -> Mapping[str, tuple[str, ...]]:
        """List what differs between each report and the first one and can change a time, by the names of the files."""
        first, *others = self.reports.items()
        return {file: differences(first[1].environment, first[1].model, report) for file, report in others}

    def to_json(self) -> str:
        """Write lines, differences and refused files as JSON; equal results give equal text."""
        value = {
            "lines": [asdict(line) for line in self.lines()],
            "differences": self.differences(),
            "refused": dict(self.refused),
        }
        return json.dumps(value, indent=1) + "\n"


def read_results(paths: Sequence[Path]) -> Results:
    """Read the reports of some files, and of all files of folders that end in ``.json``.

    Args:
        paths: Files and folders; a file that is named twice is read once.

    Raises:
        UsageError: A folder holds no such file, there are too many, or none can be used.
    """
    files: dict[Path, None] = {}
    for path in paths:
        inside = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not inside:
            raise UsageError(f"{path} holds no file that ends in .json", remedy="give a folder of bench reports")
        files |= dict.fromkeys(inside)
    if len(files) > _MAX_FILES:
        raise UsageError(f"got {len(files)} files, more than {_MAX_FILES}", remedy="give fewer")
    reports: dict[str, BenchReport] = {}
    refused: dict[str, str] = {}
    for path in files:
        try:
            report = read_report(path)
        except UsageError as error:
            refused[str(path)] = str(error).removeprefix(f"{path} ")
            continue
        reports[path.name if path.name not in reports else str(path)] = report
    if not reports:
        named, reason = next(iter(refused.items()))
        raise UsageError(f"none of {len(refused)} files is a bench report: {named} {reason}", remedy="give others")
    latest_first = sorted(reports.items(), key=lambda one: one[1].measured_at, reverse=True)
    return Results(reports=dict(latest_first), refused=refused)


def result_lines(results: Results) -> Iterator[str]:
    """Lines of the table for a terminal."""
    lines = results.lines()
    width = max(len("file"), *(len(line.file) for line in lines)) if lines else len("file")
    yield (
        f"{'file':<{width}}  {'measured (UTC)':<17}{'model':<22}{'precision':<10}{'provider':<26}{'scenario':<12}"
        f"{'':<16}{'size':>5}{'p50 ms':>9}{'p99 ms':>9}{'ms/image':>9}{'images/s':>9}{'CPU ms':>8}"
    )
    for line in lines:
        figures = (
            f"{number(line.p50_ms, '.3f'):>9}{number(line.p99_ms, '.3f'):>9}{number(line.image_ms, '.3f'):>9}"
            f"{number(line.images_per_s, '.1f'):>9}{number(line.cpu_ms_per_image, '.2f'):>8}"
        )
        yield (
            f"{line.file:<{width}}  {line.measured_at[:16] or '-':<17}{line.model:<22}{line.precision:<10}"
            f"{line.provider:<26}{line.scenario:<12}{line.name:<16}{line.size or '':>5}"
            f"{figures if line.stable else '   UNSTABLE'}"
        )
    first = next(iter(results.reports))
    for file, apart in results.differences().items():
        if apart:
            yield f"{file} differs from {first}: {'; '.join(apart)}"


def _line(file: str, report: BenchReport, row: Row) -> Line:
    return Line(
        file=file,
        measured_at=report.measured_at,
        cpu=report.environment.cpu,
        cores=report.environment.cores_granted,
        model=report.model.name,
        precision=report.model.precision,
        provider=report.model.execution_provider,
        scenario=row.scenario,
        name=row.name,
        size=row.size,
        stable=row.stable,
        p50_ms=row.call_ms.p50 if row.call_ms else None,
        p99_ms=row.call_ms.p99 if row.call_ms else None,
        image_ms=row.image_ms,
        images_per_s=row.images_per_s,
        cpu_ms_per_image=row.cpu_ms_per_image,
    )


def _or_last(value: float | None) -> float:
    return float("inf") if value is None else value
