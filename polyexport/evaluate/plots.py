"""Plots of the evaluation report, as SVG."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from polyexport.evaluate.catalog import COLUMN
from polyexport.evaluate.color_difference import PAPER
from polyexport.evaluate.score import LABELS, Method, Scores, Split
from polyexport.evaluate.summary import Confusion, Summary
from polyexport.report.html import svg

__all__ = ["COLORS", "color_difference_curves", "confusion_map", "group_bars", "psnr_histograms"]

COLORS: dict[Method, str] = {"model": "#2f81f7", "trapped_ball": "#2da44e", "flood_fill": "#e08a1e"}
_CONFUSED = "#d1242f"
_LEFT_EMPTY = "#8c959f"

_LARGEST_DIFFERENCE = 120
_MAX_PANELS = 12
_MAX_GROUPS = 24


def psnr_histograms(splits: Sequence[Split]) -> Markup:
    """Plot a histogram of PSNR for each split; only the first ones and the last if there are too many."""
    shown = splits if len(splits) <= _MAX_PANELS else (*splits[: _MAX_PANELS - 1], splits[-1])
    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(rows, columns, squeeze=False)
        edges = np.linspace(0, 100, 41)
        for panel, split in zip(panels.flat, shown, strict=False):
            for method, scores in split.scores.items():
                values = np.clip(scores.values[:, COLUMN["psnr_db"]], 0, 100)
                panel.hist(values, edges, color=COLORS[method], alpha=0.3)
                panel.hist(values, edges, color=COLORS[method], histtype="step", linewidth=1.3, label=LABELS[method])
            panel.set(title=split.name, xlabel="PSNR, dB (100: exact)", ylabel="images", xlim=(0, 101))
        for panel in panels.flat[len(shown) :]:
            panel.set_axis_off()
        panels.flat[0].legend(loc="upper left")

    return svg(draw, 3.9 * columns if columns > 1 else 6.5, 2.4 * rows, "Histogram of the PSNR")


def color_difference_curves(split: Split) -> Markup:
    """Plot the share of images whose mean color difference inside the fill is at most x."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for method, scores in split.scores.items():
            values = np.sort(_defined(scores, "fill_ciede2000_mean"))
            if len(values):
                values = np.concatenate([[0], values, [_LARGEST_DIFFERENCE]])
            shares = np.minimum(np.arange(len(values)) / max(1, len(values) - 2), 1) * 100
            axes.step(values, shares, where="post", color=COLORS[method], label=LABELS[method])
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xticks([0, 0.5, 1, 2, 5, 10, 20, 50, 100], ["0", "0.5", "1", "2", "5", "10", "20", "50", "100"])
        axes.set(
            xlabel="mean CIEDE2000 inside the fill, at most",
            ylabel="images, %",
            xlim=(0, _LARGEST_DIFFERENCE),
            ylim=(0, 103),
        )
        axes.legend(loc="lower right")

    return svg(draw, 6.5, 2.9, "Distribution of the color difference")


def group_bars(groups: dict[Method, dict[str, Summary]]) -> Markup:
    """Plot the mean PSNR of each group, the largest groups first."""
    sizes = {name: summary.images for name, summary in groups["model"].items()}
    names = sorted(sizes, key=lambda name: (-sizes[name], name))[:_MAX_GROUPS]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        places = np.arange(len(names))
        for offset, (method, summaries) in zip((-0.27, 0, 0.27), groups.items(), strict=True):
            means = [summaries[name].mean("psnr_db") or 0.0 for name in names]
            axes.barh(places + offset, means, 0.25, color=COLORS[method], label=LABELS[method])
        axes.set_yticks(places, [f"{name} ({sizes[name]})" for name in names])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set(xlabel="mean PSNR, dB (100: exact)", xlim=(0, 101))
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)

    return svg(draw, 6.5, 0.9 + 0.4 * len(names), "Mean PSNR by group")


def confusion_map(confusion: Confusion) -> Markup:
    """Plot wanted against painted color names: right in blue, left empty in gray, any other name in red."""
    counts, names = confusion.counts, confusion.names
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    right = np.eye(len(names), dtype=bool)
    empty = ~right & (np.array(names) == PAPER)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for color, cells in ((COLORS["model"], right), (_LEFT_EMPTY, empty), (_CONFUSED, ~right & ~empty)):
            shading = LinearSegmentedColormap.from_list("shares", [f"{color}38", f"{color}ff"])
            visible = np.ma.masked_where(~cells | (counts == 0), shares)
            axes.pcolormesh(visible, cmap=shading, vmin=0, vmax=1, edgecolors="none")
        for row, column in zip(*np.nonzero(counts), strict=True):
            axes.text(column + 0.5, row + 0.5, str(counts[row, column]), ha="center", va="center", fontsize=7)
        middles = np.arange(len(names)) + 0.5
        axes.set_xticks(middles, names, rotation=60, ha="right", rotation_mode="anchor")
        axes.set_yticks(middles, names)
        axes.set(xlabel="painted", ylabel="wanted", aspect="equal", xlim=(0, len(names)), ylim=(len(names), 0))

    side = 1.6 + 0.22 * max(4, len(names))
    return svg(draw, side, side, "Confusion of color names")


def _defined(scores: Scores, name: str) -> NDArray[np.float64]:
    values = scores.values[:, COLUMN[name]]
    return values[~np.isnan(values)]
