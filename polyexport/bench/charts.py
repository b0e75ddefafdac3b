"""Charts of a benchmark report, as SVG."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from polyexport.bench.document import Compared, Row, Variant
from polyexport.bench.profile import Profile
from polyexport.bench.results import Line
from polyexport.bench.scenarios import times_images
from polyexport.report.html import svg

__all__ = ["compared_bars", "frontier_plot", "layer_bars", "results_bars", "window_plot"]

_OURS, _OTHERS = "#2f81f7", "#8c959f"
_PRECISIONS = {"fp32": "#2f81f7", "fp16": "#8250df", "int8": "#e08a1e"}
_MARKERS = ("o", "s", "^", "D", "v")
_SHOWN_LAYERS = 20
_SHOWN_RESULTS = 40
_WORKS = {"call": "a call", "throughput": "all cores", "files": "files"}


def window_plot(rows: Sequence[Row]) -> Markup:
    """Plot the time of every block of calls over the median of its row, which shows whether the speed was constant."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for row in (row for row in rows if times_images(row.scenario)):
            blocks = np.array(row.block_ms)
            places = (np.arange(len(blocks)) + 0.5) * len(row.windows) / len(blocks)
            label = f"{row.scenario}, {row.name}{'' if row.stable else ': UNSTABLE'}"
            axes.plot(places, blocks / np.median(blocks), marker=".", linewidth=0.9, label=label)
        for window in range(1, 3):
            axes.axvline(window, color=_OTHERS, linewidth=0.6, linestyle=":")
        axes.set(xlabel="window", ylabel="time over the median", xlim=(0, 3))
        axes.set_xticks([0.5, 1.5, 2.5], ["1", "2", "3"])
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))

    return svg(draw, 9.5, 3.0, "Time of each block of calls over the median")


def compared_bars(compared: Sequence[Compared]) -> Markup:
    """Plot the time of polyexport and of each program that it is compared with, in units of polyexport's."""
    placed = [one for one in compared if not one.failure]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        places = np.arange(len(placed))
        ratios = [one.ratio.estimate if one.ratio else 1.0 for one in placed]
        errors = [
            [one.ratio.estimate - one.ratio.low if one.ratio else 0.0 for one in placed],
            [one.ratio.high - one.ratio.estimate if one.ratio else 0.0 for one in placed],
        ]
        colors = [_OTHERS if one.ratio else _OURS for one in placed]
        bars = axes.barh(places, ratios, 0.6, color=colors, xerr=errors, ecolor=_OTHERS)
        axes.bar_label(bars, [_bar_label(one) for one in placed], padding=4)
        axes.set_yticks(places, [f"{one.name}, {_WORKS[one.work]}" for one in placed])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set(xlabel="time of the same work over polyexport's", xlim=(0, 1.4 * max(ratios)))

    return svg(draw, 7.5, 0.8 + 0.34 * len(placed), "Time of the same work")


def _bar_label(one: Compared) -> str:
    time = "UNSTABLE" if one.p50_ms is None else f"{one.p50_ms:.3g} ms"
    return time + (f", x{one.ratio.estimate:.2f}" if one.ratio else "")


def frontier_plot(variants: Sequence[Variant]) -> Markup:
    """Plot fidelity over time, with hollow marks for dominated variants and a line along the frontier."""
    placed = [one for one in variants if one.image_ms is not None and one.psnr_db is not None]
    providers = sorted({one.provider for one in placed})

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for one in placed:
            color = _PRECISIONS.get(one.precision, _OTHERS)
            axes.plot(
                [one.image_ms or 0],
                [one.psnr_db or 0],
                marker=_MARKERS[providers.index(one.provider) % len(_MARKERS)],
                markersize=8,
                linestyle="",
                color=color,
                markerfacecolor="none" if one.dominated_by else color,
            )
            axes.annotate(
                f"{one.model} ({one.precision}), {one.provider}",
                (one.image_ms or 0, one.psnr_db or 0),
                xytext=(7, 5),
                textcoords="offset points",
                fontsize=8,
            )
        best = sorted((one.image_ms or 0, one.psnr_db or 0) for one in placed if not one.dominated_by)
        axes.step([x for x, _ in best], [y for _, y in best], where="post", color=_OTHERS, linewidth=0.9, zorder=0)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.margins(x=0.25, y=0.2)
        axes.set(xlabel="milliseconds for one image (logarithmic)", ylabel="mean PSNR, dB")

    return svg(draw, 7.5, 4.0, "Fidelity against speed")


def layer_bars(profile: Profile) -> Markup:
    """Plot the layers that take longest, with the fraction of the limit that multiplying layers reach."""
    longest = sorted(profile.layers, key=lambda layer: -layer.ms)[:_SHOWN_LAYERS]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        places = np.arange(len(longest))
        colors = [_OURS if layer.macs else _OTHERS for layer in longest]
        bars = axes.barh(places, [layer.ms for layer in longest], 0.7, color=colors)
        labels = [
            f"{layer.gflop_per_s / profile.limit_gflop_per_s:.0%} of the limit" if layer.gflop_per_s else ""
            for layer in longest
        ]
        axes.bar_label(bars, labels, padding=4, fontsize=7)
        axes.set_yticks(places, [f"{layer.operator}  {layer.output}" for layer in longest], fontsize=7)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set(xlabel="milliseconds", xlim=(0, 1.25 * longest[0].ms))

    return svg(draw, 7.5, 0.8 + 0.22 * len(longest), "Time of the layers")


def results_bars(lines: Sequence[Line]) -> Markup:
    """Plot milliseconds per image of the measurements of several reports, in the order of the table."""
    placed = [line for line in lines if line.image_ms is not None and times_images(line.scenario)][:_SHOWN_RESULTS]
    if not placed:
        return Markup("")
    files = list(dict.fromkeys(line.file for line in placed))
    keys = list(dict.fromkeys((line.scenario, line.name, line.size) for line in placed))

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        # A gap of one bar between different measurements.
        places = [number + keys.index((line.scenario, line.name, line.size)) for number, line in enumerate(placed)]
        colors = [f"C{files.index(line.file) % 10}" for line in placed]
        bars = axes.barh(places, [line.image_ms or 0 for line in placed], 0.8, color=colors)
        axes.bar_label(bars, [f"{line.image_ms:.3g} ms" for line in placed], padding=4, fontsize=7)
        labels = [
            f"{line.scenario}, {line.name}{f', {line.size}' if line.size else ''}: {line.file}" for line in placed
        ]
        axes.set_yticks(places, labels, fontsize=7)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set(xlabel="milliseconds for one image", xlim=(0, 1.15 * max(line.image_ms or 0 for line in placed)))

    height = 0.8 + 0.2 * (len(placed) + len(keys))
    return svg(draw, 9.5, height, f"Time of an image in {len(files)} reports")
