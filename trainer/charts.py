"""Pictures of a training: sample drawings side by side, and the curves of its metrics."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

__all__ = ["Series", "curves_png", "sample_grid"]

Series = list[tuple[int, float]]
"""Values of one metric: (step, value), steps ascending."""

_TILE_MARGIN_PX = 4
_SMALLEST_TILE_PX = 96  # smaller samples are enlarged by whole factors
_LABEL_WIDTH_PX = 88
_SMOOTHED_FROM_POINTS = 60  # a shorter series is drawn without a running mean
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")  # Okabe and Ito: safe for color blindness
_RAW_ALPHA = 0.22
"""Opacity of a noisy series under its running mean."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Panel:
    """One diagram of the curves."""

    title: str
    """Heading of the diagram."""

    unit: str
    """Unit of the vertical axis."""

    metrics: tuple[str, ...]
    """Names of metrics; a name that ends in ``_`` stands for every metric with that prefix."""

    log: bool = False
    """Use a logarithmic axis if all values are positive."""

    best: bool = False
    """Mark the highest value."""

    exact: bool = False
    """The metric has no noise: draw no running mean."""


_PANELS = (
    _Panel(
        title="Loss",
        unit="loss",
        metrics=("train/loss", "validation/loss", "training_pairs/loss", "train/loss_"),
        log=True,
    ),
    *(
        _Panel(title=f"{name} {quantity}", unit=unit, metrics=(f"{phase}/{metric}",), log=log, best=not log)
        for phase, name in (("validation", "Validation"), ("training_pairs", "Training pairs:"))
        for metric, quantity, unit, log in (
            ("psnr_db", "PSNR", "dB", False),
            ("mae", "MAE", "levels of 255", True),
            ("within_8", "within 8 levels", "fraction", False),
        )
    ),
    _Panel(title="Learning rate", unit="", metrics=("train/learning_rate",), exact=True),
    _Panel(title="Gradient norm", unit="before clipping", metrics=("train/gradient_norm",), log=True),
    _Panel(title="Throughput", unit="images/s", metrics=("train/images_per_s",)),
)


def sample_grid(
    images: NDArray[np.uint8], predictions: NDArray[np.uint8], targets: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Arrange samples in columns, each with its drawing, prediction and target from top to bottom.

    Args:
        images: Drawings, uint8 [N, H, W, 3], RGB.
        predictions: Predictions, of the same shape.
        targets: Targets, of the same shape.

    Returns:
        Picture, uint8 [height, width, 3], RGB, with the names of the rows at its left.

    Raises:
        ValueError: The arrays differ in shape, or are not [N, H, W, 3].
    """
    shape = images.shape
    if predictions.shape != shape or targets.shape != shape or len(shape) != 4 or not shape[0] or shape[3] != 3:
        raise ValueError(f"expected three arrays [N, H, W, 3], got {shape}, {predictions.shape}, {targets.shape}")
    count, height, width, _ = shape
    scale = max(1, -(-_SMALLEST_TILE_PX // max(height, width)))
    tile_height, tile_width = height * scale + _TILE_MARGIN_PX, width * scale + _TILE_MARGIN_PX
    grid = Image.new(
        "RGB",
        (_LABEL_WIDTH_PX + count * tile_width + _TILE_MARGIN_PX, 3 * tile_height + _TILE_MARGIN_PX),
        (236, 236, 236),
    )
    draw = ImageDraw.Draw(grid)
    font = ImageFont.load_default(14)
    for row, (label, tiles) in enumerate((("drawing", images), ("prediction", predictions), ("target", targets))):
        top = _TILE_MARGIN_PX + row * tile_height
        draw.text((8, top + tile_height // 2), label, fill=(40, 40, 40), font=font, anchor="lm")
        for column, tile in enumerate(tiles):
            picture = Image.fromarray(np.repeat(np.repeat(tile, scale, 0), scale, 1))
            grid.paste(picture, (_LABEL_WIDTH_PX + column * tile_width, top))
    return np.asarray(grid)


def _smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the running mean over a thirtieth of a series, narrower at its ends; [N] -> [N]."""
    window = np.ones(max(3, len(values) // 30) | 1)
    return np.convolve(values, window, "same") / np.convolve(np.ones_like(values), window, "same")


def _members(panel: _Panel, series: Mapping[str, Series]) -> list[str]:
    """List the recorded metrics of a panel."""
    found: list[str] = []
    for pattern in panel.metrics:
        found += [name for name in series if name == pattern or (pattern.endswith("_") and name.startswith(pattern))]
    return found


def _plot(axes: Any, name: str, points: NDArray[np.float64], color: str, panel: _Panel) -> None:
    """Add one metric, [N, 2] of (step, value), to Matplotlib axes."""
    steps, values = points.T
    label = name.removeprefix("train/")
    if panel.exact or len(values) < _SMOOTHED_FROM_POINTS:
        marker = "o" if len(values) < _SMOOTHED_FROM_POINTS else ""
        axes.plot(steps, values, color=color, linewidth=1.6, marker=marker, markersize=3, label=label)
    else:
        axes.plot(steps, values, color=color, linewidth=0.7, alpha=_RAW_ALPHA)
        axes.plot(steps, _smoothed(values), color=color, linewidth=1.6, label=label)
    if panel.best:
        highest = int(values.argmax())
        axes.plot(steps[highest], values[highest], color=color, marker="o", markersize=7, fillstyle="none")
        axes.set_title(
            f"best {values[highest]:.4g} at step {steps[highest]:.0f}", fontsize=8, color="#555555", loc="right"
        )


def curves_png(series: Mapping[str, Series], title: str) -> bytes:
    """Draw the metrics over the steps, in one panel for each quantity; returns the bytes of a PNG file.

    Noisy training metrics are drawn pale, with their running mean over them. Values that are not finite are left out.
    """
    # Matplotlib's object interface, because pyplot keeps figures in memory and looks for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, MaxNLocator

    finite = {name: [(step, value) for step, value in points if np.isfinite(value)] for name, points in series.items()}
    finite = {name: points for name, points in finite.items() if points}
    panels = [(panel, members) for panel in _PANELS if (members := _members(panel, finite))]
    rows = 1 if len(panels) <= 3 else 2
    columns = max(1, -(-len(panels) // rows))
    figure = Figure(figsize=(4.6 * columns, 3.3 * rows + 0.4), dpi=110, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=12, fontweight="bold")
    for place, (panel, members) in enumerate(panels, start=1):
        axes = figure.add_subplot(rows, columns, place)
        for number, name in enumerate(members):
            _plot(axes, name, np.asarray(finite[name]), _COLORS[number % len(_COLORS)], panel)
        if panel.log and all(value > 0 for name in members for _, value in finite[name]):
            axes.set_yscale("log")
        axes.set_title(panel.title, fontsize=11, loc="left")
        axes.set_xlim(left=0)
        axes.set_xlabel("step", fontsize=9)
        axes.set_ylabel(panel.unit, fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.tick_params(labelsize=8, which="both")
        axes.grid(visible=True, which="major", color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        if len(members) > 1:
            axes.legend(fontsize=8, frameon=False)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
