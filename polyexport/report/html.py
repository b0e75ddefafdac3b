"""HTML files for reports: style and plots are embedded, nothing is loaded, and no script runs."""

import io
import re
import warnings
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import matplotlib as mpl
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

__all__ = ["render_html", "svg"]

_INK = "#767778"  # placeholder, replaced by the text color of the HTML file when the SVG is written
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "polyexport",
    "text.parse_math": False,  # names come from files
    "font.size": 9,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.titlecolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.titlesize": 9,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _INK,
    "grid.alpha": 0.18,
    "grid.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "legend.frameon": False,
}


def render_html(template: str, **values: Any) -> str:
    """Fill in a Jinja template, which escapes every value; equal values give equal text.

    Args:
        template: text of the template; its variable ``style`` is the style sheet that all reports share.
        values: values of the other variables; a missing one is an error.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "separators": (",", ":"), "allow_nan": False}
    sheet = files("polyexport.report").joinpath("html.css").read_text(encoding="utf-8")
    return environment.from_string(template).render(style=Markup(sheet), **values)  # noqa: S704 - our own file


def svg(draw: Callable[[Figure], None], width_in: float, height_in: float, label: str) -> Markup:
    """Draw a plot as SVG that takes its text color from the HTML around it, so that it is readable on light and dark.

    Args:
        draw: function that draws on the figure.
        width_in: width, inches.
        height_in: height, inches.
        label: description for screen readers.
    """
    buffer = io.StringIO()
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # The browser has glyphs for names in scripts that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        figure = Figure(figsize=(width_in, height_in), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure)
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    drawing = buffer.getvalue()
    drawing = drawing[drawing.index("<svg") :].replace(_INK, "currentColor")
    drawing = re.sub(r'<g id="[^"]*"', "<g", drawing)  # several plots share one file, whose ids must differ
    return Markup(drawing.replace("<svg", f'<svg role="img" aria-label="{label}"', 1))  # noqa: S704 - of matplotlib, which escapes names
