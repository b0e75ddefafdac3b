"""A benchmark report, and several side by side, as one HTML file that loads nothing."""

from importlib.resources import files

from polyexport.bench import charts
from polyexport.bench.document import BenchReport, Compared
from polyexport.bench.results import Results
from polyexport.bench.scenarios import times_images
from polyexport.bench.table import WORKS, asked, number, outliers
from polyexport.report.html import render_html

__all__ = ["render", "render_results"]

_TEMPLATE = "report.html.jinja"
_RESULTS_TEMPLATE = "results.html.jinja"


def render(report: BenchReport) -> str:
    """Render the report as HTML; equal reports give equal text."""
    return render_html(
        files("polyexport.bench").joinpath(_TEMPLATE).read_text(encoding="utf-8"),
        report=report,
        number=number,
        outliers=outliers,
        asked=asked(report),
        measured=[row for row in report.rows if row.capacity is None],
        works=WORKS,
        times_images=times_images,
        window_plot=charts.window_plot(report.rows) if any(times_images(row.scenario) for row in report.rows) else "",
        compared_plot=charts.compared_bars(report.compared) if report.compared else "",
        frontier_plot=charts.frontier_plot(report.variants) if report.variants else "",
        layer_plot=charts.layer_bars(report.profile) if report.profile else "",
    )


def render_results(results: Results) -> str:
    """Render several reports side by side as HTML; equal results give equal text."""
    lines = results.lines()
    return render_html(
        files("polyexport.bench").joinpath(_RESULTS_TEMPLATE).read_text(encoding="utf-8"),
        results=results,
        lines=lines,
        first=next(iter(results.reports)),
        differences=results.differences(),
        compared=sorted(
            ((file, report.model.name, one) for file, report in results.reports.items() for one in _rivals(report)),
            key=lambda row: (row[2].work, row[2].name),
        ),
        works=WORKS,
        number=number,
        plot=charts.results_bars(lines),
    )


def _rivals(report: BenchReport) -> list[Compared]:
    return [one for one in report.compared if one.ratio or one.failure]
