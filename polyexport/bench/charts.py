"""Charts of a benchmark report, as SVG."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from polyexport.bench.document import Compared, Row, Variant
from polyexport.bench.profile import Profile
from polyexport.bench.scenarios import times_images
from polyexport.report.html import svg

__all__ = ["compared_bars", "frontier_plot", "layer_bars", "window_plot"]

_OURS, _OTHERS = "#2f81f7", "#8c959f"
_PRECISIONS = {"fp32": "#2f81f7", "fp16": "#8250df", "int8": "#e08a1e"}
_MARKERS = ("o", "s", "^", "D", "v")
_SHOWN_LAYERS = 20


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
    """Plot milliseconds per image of polyexport and the programs it is compared with."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        names = [one.name for one in compared]
        times = [one.p50_ms or 0.0 for one in compared]
        bars = axes.barh(names, times, 0.6, color=[_OTHERS if one.ratio else _OURS for one in compared])
        axes.bar_label(bars, [_bar_label(one) for one in compared], padding=4)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set(xlabel="milliseconds for one image", xlim=(0, 1.3 * max(times) or 1))

    return svg(draw, 6.5, 0.8 + 0.34 * len(compared), "Time of the same work")


def _bar_label(one: Compared) -> str:
    if one.p50_ms is None:
        return "UNSTABLE"
    return f"{one.p50_ms:.3g} ms" + (f", x{one.ratio.estimate:.2f}" if one.ratio else "")


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
