"""An evaluation as one HTML file that loads nothing: plots and images are embedded, and no script runs."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from PIL import Image

from polyexport.evaluate import plots
from polyexport.evaluate.catalog import METRICS, Metric
from polyexport.evaluate.color_difference import NAMES
from polyexport.evaluate.document import BRIEF_GROUPS, ModelFacts, document
from polyexport.evaluate.score import AMPLIFICATION, LABELS, METHODS, RIVALS, Evaluation, Method, Sample, Split
from polyexport.evaluate.summary import Summary, by_color, by_shape, confusion, largest, lead, summarize
from polyexport.imaging.pixels import Pixels
from polyexport.report.html import render_html

__all__ = ["render"]

_TEMPLATE = "report.html.jinja"

# Columns of the tables: metric, statistic, number format.
_HEADLINE = (
    ("psnr_db", "mean", ".2f"),
    ("psnr_db", "median", ".2f"),
    ("psnr_db", "min", ".2f"),
    ("ssim", "mean", ".4f"),
    ("ms_ssim", "mean", ".4f"),
    ("within_8", "mean", ".2%"),
    ("fill_ciede2000_mean", "mean", ".2f"),
    ("fill_ciede2000_p95", "mean", ".2f"),
    ("iou", "mean", ".4f"),
    ("boundary_f1", "mean", ".4f"),
)
_FAILURES = (
    ("wrong", "mean", ".1%"),
    ("page_filled", "mean", ".1%"),
    ("bleeding", "mean", ".3%"),
    ("bleeding", "max", ".3%"),
    ("bleeding_far", "mean", ".3%"),
    ("tint_levels", "mean", ".3f"),
    ("shape_distortion", "mean", ".3%"),
    ("shape_distortion", "max", ".3%"),
    ("boundary_distance_px", "mean", ".3f"),
    ("hausdorff_95_px", "mean", ".2f"),
    ("confusion", "mean", ".2%"),
)
_GROUP = (
    ("psnr_db", "mean", ".2f"),
    ("psnr_db", "min", ".2f"),
    ("within_8", "mean", ".2%"),
    ("fill_ciede2000_mean", "mean", ".2f"),
    ("iou", "mean", ".4f"),
    ("bleeding", "mean", ".3%"),
    ("confusion", "mean", ".2%"),
)
_TILES = (
    ("psnr_db", "mean", ".2f"),
    ("ssim", "mean", ".4f"),
    ("within_8", "mean", ".2%"),
    ("fill_ciede2000_mean", "mean", ".2f"),
    ("wrong", "mean", ".1%"),
    ("bleeding", "mean", ".3%"),
    ("shape_distortion", "mean", ".3%"),
    ("confusion", "mean", ".2%"),
)

Selection = Sequence[tuple[str, str, str]]
Groups = Sequence[tuple[str, dict[Method, Summary]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    """One method on one group of images, as text."""

    group: str
    method: str
    images: int
    exact: int
    cells: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Table:
    headings: tuple[str, ...]
    rows: tuple[_Row, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shown:
    """A sample and its images as data URIs."""

    sample: Sample
    images: tuple[tuple[str, str], ...]
    """Caption and data URI of each image."""


def render(evaluation: Evaluation, facts: ModelFacts) -> str:
    """Render the evaluation as HTML; equal evaluations give equal text."""
    several = len(evaluation.splits) > 1
    splits = (*evaluation.splits, evaluation.all) if several else evaluation.splits
    summaries = [(split.name, _summaries(split)) for split in splits]  # a split may be named "all", too
    everything = evaluation.all
    colors = {method: by_color(everything.items, everything.scores[method]) for method in METHODS}
    shapes = {method: by_shape(everything.items, everything.scores[method]) for method in METHODS}
    return render_html(
        files("polyexport.evaluate").joinpath(_TEMPLATE).read_text(encoding="utf-8"),
        facts=facts,
        evaluation=evaluation,
        method_colors={LABELS[method]: color for method, color in plots.COLORS.items()},
        tiles=_tiles(_summaries(everything)),
        labels=LABELS,
        rivals=tuple(RIVALS),
        leads=[(split.name, lead(split)) for split in splits],
        headline=_table(summaries, _HEADLINE),
        failures=_table(summaries, _FAILURES),
        colors=_table(_by_group(colors), _GROUP),
        shapes=_table(_by_group(shapes), _GROUP),
        psnr_plot=plots.psnr_histograms(splits),
        difference_plot=plots.color_difference_curves(everything),
        color_plot=plots.group_bars(colors),
        shape_plot=plots.group_bars(shapes),
        confusion_plots=[
            (LABELS[method], plots.confusion_map(matrix))
            for method in METHODS
            for matrix in [confusion(everything.items, everything.scores[method])]
            if matrix.names
        ],
        worst=[_shown(sample) for sample in evaluation.worst],
        amplification=AMPLIFICATION,
        metrics=_metrics(_summaries(everything)),
        paper=NAMES[-1],
        document=document(evaluation, facts, brief=True),
    )


def _summaries(split: Split) -> dict[Method, Summary]:
    return {method: summarize(split.scores[method]) for method in METHODS}


def _by_group(groups: dict[Method, dict[str, Summary]]) -> Groups:
    return [
        (name, {method: groups[method][name] for method in METHODS}) for name in largest(groups["model"], BRIEF_GROUPS)
    ]


def _table(groups: Groups, selection: Selection) -> _Table:
    return _Table(
        headings=tuple(_heading(name, statistic) for name, statistic, _ in selection),
        rows=tuple(
            _Row(
                group=group,
                method=LABELS[method],
                images=summary.images,
                exact=summary.exact_images,
                cells=tuple(_cell(summary, *column) for column in selection),
            )
            for group, summaries in groups
            for method, summary in summaries.items()
        ),
    )


def _tiles(summaries: dict[Method, Summary]) -> list[tuple[str, str, list[str]]]:
    """Label of each tile, the value of the model, and the value of each rival."""
    return [
        (
            _heading(name, statistic),
            _cell(summaries["model"], name, statistic, form),
            [_cell(summaries[rival], name, statistic, form) for rival in RIVALS],
        )
        for name, statistic, form in _TILES
    ]


def _metrics(summaries: dict[Method, Summary]) -> list[tuple[Metric, tuple[str, ...]]]:
    """Every metric, with the model's statistics, the images that it is defined on, and the rivals' means."""
    statistics = ("mean", "p05", "median", "p95", "worst")
    return [
        (
            metric,
            (
                *(_cell(summaries["model"], metric.name, statistic, ".5g") for statistic in statistics),
                str(summaries["model"].metrics[metric.name].images),
                *(_cell(summaries[rival], metric.name, "mean", ".5g") for rival in RIVALS),
            ),
        )
        for metric in METRICS
    ]


def _heading(name: str, statistic: str) -> str:
    label = next(metric.label for metric in METRICS if metric.name == name)
    return label if statistic == "mean" else f"{label}, {statistic}"


def _cell(summary: Summary, name: str, statistic: str, form: str) -> str:
    value = getattr(summary.metrics[name], statistic)
    if value is None:
        return "–"  # noqa: RUF001 - the dash of tables
    return format(value, form) + "*" * summary.partial(name)


def _shown(sample: Sample) -> _Shown:
    images = (
        ("input", sample.drawing),
        ("model", sample.colored),
        *((LABELS[rival], image) for rival, image in sample.rivals.items()),
        ("target", sample.target),
        (f"error of the model x{AMPLIFICATION}", sample.difference),
    )
    return _Shown(sample=sample, images=tuple((caption, _data_uri(pixels)) for caption, pixels in images))


def _data_uri(pixels: Pixels) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
