"""HTML pages that load nothing: style and plots stand inside them, and there is no code to run."""

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

__all__ = ["render_page", "svg"]

_INK = "#767778"  # stands for the page's text colour until the SVG is written
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


def render_page(template: str, **values: Any) -> str:
    """Fill in a template of jinja's, which escapes every value; equal values give equal pages.

    Args:
        template: its text; ``style`` is there for the sheet that all pages share.
        values: what it names. One that is missing is an error.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "separators": (",", ":"), "allow_nan": False}
    sheet = files("polyexport.report").joinpath("page.css").read_text(encoding="utf-8")
    return environment.from_string(template).render(style=Markup(sheet), **values)  # noqa: S704 - our own file


def svg(draw: Callable[[Figure], None], width_in: float, height_in: float, label: str) -> Markup:
    """A plot that takes its text colour from the page: readable on light and on dark.

    Args:
        draw: draws on the figure.
        width_in: inches.
        height_in: inches.
        label: what a screen reader says.
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
    drawing = re.sub(r'<g id="[^"]*"', "<g", drawing)  # several plots share one page
    return Markup(drawing.replace("<svg", f'<svg role="img" aria-label="{label}"', 1))  # noqa: S704 - of matplotlib, which escapes names
