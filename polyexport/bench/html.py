"""A benchmark report as one HTML file that loads nothing."""

from importlib.resources import files

from polyexport.bench import charts
from polyexport.bench.document import BenchReport
from polyexport.bench.scenarios import times_images
from polyexport.bench.table import asked, number, outliers
from polyexport.report.html import render_html

__all__ = ["render"]

_TEMPLATE = "report.html.jinja"


def render(report: BenchReport) -> str:
    """Render the report as HTML; equal reports give equal text."""
    return render_html(
        files("polyexport.bench").joinpath(_TEMPLATE).read_text(encoding="utf-8"),
        report=report,
        number=number,
        outliers=outliers,
        asked=asked(report),
        measured=[row for row in report.rows if row.capacity is None],
        times_images=times_images,
        window_plot=charts.window_plot(report.rows) if any(times_images(row.scenario) for row in report.rows) else "",
        compared_plot=charts.compared_bars(report.compared) if report.compared else "",
        frontier_plot=charts.frontier_plot(report.variants) if report.variants else "",
        layer_plot=charts.layer_bars(report.profile) if report.profile else "",
    )
