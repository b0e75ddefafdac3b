"""Catalog of the metrics: the one list behind the table, the JSON document, the HTML report and docs/metrics.md."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["COLUMN", "METRICS", "Better", "Metric", "markdown_table"]

Better = Literal["higher", "lower", "zero", "neither"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """Description of a metric, which is one number per image."""

    name: str
    """Key in the JSON document; ends in the unit where there is one."""

    label: str
    """Short name for tables and plots."""

    range: str
    """Range of the values, in interval notation; n is the number of pixels."""

    better: Better
    """Direction of better values; ``zero`` is near zero from either side, ``neither`` a count that has no direction."""

    library: str
    """Libraries that compute it."""

    source: str
    """Publication that defines it."""

    what: str
    """Meaning, as a sentence."""

    formula: str
    """Formula in the symbols that docs/metrics.md explains."""

    def __post_init__(self) -> None:
        if self.better not in ("higher", "lower", "zero", "neither"):
            raise ValueError(f"better must be higher, lower, zero or neither, got {self.better!r}")


# Three lines each: name, label, range, better, library and source; what it is; how it is computed.
_TABLE = """\
psnr_db | PSNR dB | [0, 100] | higher | numpy | definition
    Peak signal-to-noise ratio; an exact image counts as 100 dB.
    10 log10(255^2 / MSE), at most 100
ssim | SSIM | [-1, 1] | higher | scikit-image | Wang et al., 2004
    Structural similarity, Gaussian window of 11 px (sigma 1.5), mean over the channels.
    mean (2 mp mt + C1)(2 spt + C2) / ((mp^2 + mt^2 + C1)(sp^2 + st^2 + C2))
ms_ssim | MS-SSIM | [0, 1] | higher | numpy, scipy | Wang et al., 2003
    SSIM at up to five scales, each half the one before.
    l_M^w_M * product over scales j of cs_j^w_j, the last being M
mse | MSE | [0, 65025] | lower | numpy | definition
    Mean squared error.
    mean (p - t)^2
rmse_levels | RMSE | [0, 255] | lower | numpy | definition
    Root of the mean squared error, in levels.
    sqrt(MSE)
mae_levels | MAE | [0, 255] | lower | numpy | definition
    Mean absolute error, in levels.
    mean abs(p - t)
mae_red_levels | MAE red | [0, 255] | lower | numpy | definition
    Mean absolute error of the red channel.
    mean abs(p - t) over the red channel
mae_green_levels | MAE green | [0, 255] | lower | numpy | definition
    Mean absolute error of the green channel.
    mean abs(p - t) over the green channel
mae_blue_levels | MAE blue | [0, 255] | lower | numpy | definition
    Mean absolute error of the blue channel.
    mean abs(p - t) over the blue channel
bias_red_levels | bias red | [-255, 255] | zero | numpy | definition
    Mean signed error of the red channel: positive is too bright.
    mean (p - t) over the red channel
bias_green_levels | bias green | [-255, 255] | zero | numpy | definition
    Mean signed error of the green channel: positive is too bright.
    mean (p - t) over the green channel
bias_blue_levels | bias blue | [-255, 255] | zero | numpy | definition
    Mean signed error of the blue channel: positive is too bright.
    mean (p - t) over the blue channel
max_error_levels | max error | [0, 255] | lower | numpy | definition
    Largest error of a single value.
    max abs(p - t)
within_8 | within 8 | [0, 1] | higher | numpy | definition
    Share of pixels whose three channels are all within 8 levels of the target.
    count(max over channels abs(p - t) <= 8) / n
exact_pixels | exact pixels | [0, 1] | higher | numpy | definition
    Share of pixels whose three channels are all equal to the target.
    count(p = t) / n
exact | exact | {0, 1} | higher | numpy | definition
    1 for an image without a single differing value; its mean is the share of exact images.
    1 if p = t everywhere, else 0
tp_px | TP | [0, n] | neither | numpy | definition
    Number of pixels that are filled in the image and in the target.
    count(P and T)
fp_px | FP | [0, n] | lower | numpy | definition
    Number of pixels that are filled in the image but not in the target.
    count(P and not T)
fn_px | FN | [0, n] | lower | numpy | definition
    Number of pixels that are filled in the target but not in the image.
    count(not P and T)
tn_px | TN | [0, n] | neither | numpy | definition
    Number of pixels that are filled neither in the image nor in the target.
    count(not P and not T)
accuracy | accuracy | [0, 1] | higher | numpy | definition
    Share of pixels that are filled or empty as in the target.
    (TP + TN) / n
precision | precision | [0, 1] | higher | numpy | van Rijsbergen, 1979
    Share of the filled pixels that should be.
    TP / (TP + FP)
recall | recall | [0, 1] | higher | numpy | van Rijsbergen, 1979
    Share of the pixels to fill that are.
    TP / (TP + FN)
specificity | specificity | [0, 1] | higher | numpy | definition
    Share of the pixels to leave empty that are.
    TN / (TN + FP)
f1 | F1 | [0, 1] | higher | numpy | van Rijsbergen, 1979
    Harmonic mean of precision and recall.
    2 precision recall / (precision + recall)
iou | IoU | [0, 1] | higher | numpy | Jaccard, 1912
    Intersection over union of the fills.
    TP / (TP + FP + FN)
dice | Dice | [0, 1] | higher | numpy | Dice, 1945
    Overlap of the fills; of two masks it equals F1.
    2 TP / (2 TP + FP + FN)
wrong | wrong | {0, 1} | lower | numpy | this project
    Failure: 1 if the fills overlap so little that the drawing is wrong; its mean is the share of wrong drawings.
    1 if IoU < 0.9, else 0; 0 if neither has a fill
page_filled | page filled | {0, 1} | lower | numpy | this project
    Failure: 1 if nearly the whole page took the color although the target's did not; its mean is the share of pages.
    1 if count(P) / n > 0.98 >= count(T) / n, else 0
boundary_precision | boundary precision | [0, 1] | higher | scikit-image, scipy | Csurka et al., 2013
    Share of the fill's edge that lies near the target's edge.
    count(b in edge(P): d(b, edge(T)) <= tolerance) / count(edge(P))
boundary_recall | boundary recall | [0, 1] | higher | scikit-image, scipy | Csurka et al., 2013
    Share of the target's edge that lies near the fill's edge.
    count(b in edge(T): d(b, edge(P)) <= tolerance) / count(edge(T))
boundary_f1 | boundary F1 | [0, 1] | higher | scikit-image, scipy | Csurka et al., 2013; Martin et al., 2004
    Agreement of the two edges.
    harmonic mean of boundary precision and boundary recall
hausdorff_px | Hausdorff px | [0, diagonal] | lower | scipy | Huttenlocher et al., 1993
    Largest distance from one edge to the other, in pixels.
    max(max d(edge(P), edge(T)), max d(edge(T), edge(P)))
hausdorff_95_px | Hausdorff 95 px | [0, diagonal] | lower | scipy | Huttenlocher et al., 1993
    95th percentile of the distances from one edge to the other, in pixels: one stray pixel does not decide it.
    max(p95 d(edge(P), edge(T)), p95 d(edge(T), edge(P)))
boundary_distance_px | edge distance px | [0, diagonal] | lower | scipy | Heimann et al., 2009
    Mean distance between the edges, from both sides, in pixels.
    (sum d(edge(P), edge(T)) + sum d(edge(T), edge(P))) / (count(edge(P)) + count(edge(T)))
shape_distortion | distortion | [0, 1] | lower | scikit-image, scipy | this project
    Failure: the shape's edge is not where it should be.
    1 - boundary F1
ciede2000_mean | dE00 image | [0, ~120] | lower | scikit-image | Sharma et al., 2005
    Mean color difference over the whole image.
    mean dE00(p, t)
fill_ciede2000_mean | dE00 | [0, ~120] | lower | scikit-image | Sharma et al., 2005
    Mean color difference inside the target's fill.
    mean over T of dE00(p, t)
fill_ciede2000_p95 | dE00 p95 | [0, ~120] | lower | scikit-image | Sharma et al., 2005
    95th percentile of the color difference inside the target's fill.
    p95 over T of dE00(p, t)
fill_ciede2000_max | dE00 max | [0, ~120] | lower | scikit-image | Sharma et al., 2005
    Largest color difference inside the target's fill.
    max over T of dE00(p, t)
fill_mae_levels | fill MAE | [0, 255] | lower | numpy | definition
    Mean absolute error inside the target's fill, in levels.
    mean over T of abs(p - t)
fill_color_error_levels | color error | [0, 255] | lower | numpy | this project
    Difference of the painted color (the median inside the target's fill) from the one asked for, in levels.
    mean over channels abs(median over T of p - color)
fill_color_ciede2000 | color dE00 | [0, ~120] | lower | scikit-image | Sharma et al., 2005
    Perceived difference of the painted color (the median inside the target's fill) from the one asked for.
    dE00(median over T of p, color)
bleeding | bleeding | [0, 1] | lower | numpy | this project
    Failure: share of the target's paper that is tinted by more than 8 levels.
    count(paper: tint > 8) / count(paper), tint = max over channels max(0, t - p)
bleeding_far | far bleeding | [0, 1] | lower | numpy, scipy | this project
    Failure: share of the tinted paper among that more than 3 px away from ink and fill: a leak, not a soft edge.
    count(far paper: tint > 8) / count(far paper)
tint_levels | mean tint | [0, 255] | lower | numpy | this project
    Mean tint of the target's paper, in levels.
    mean over paper of tint
confusion | confusion | {0, 1} | lower | scikit-image | this project; Sharma et al., 2005
    Failure: 1 if the painted color goes by another name than the one asked for; its mean is the confusion rate.
    1 if name(painted) is neither name(wanted) nor white, else 0
"""


def _read(lines: Sequence[str]) -> tuple[Metric, ...]:
    metrics = []
    for head, what, formula in zip(lines[::3], lines[1::3], lines[2::3], strict=True):
        names = ("name", "label", "range", "better", "library", "source")
        fields = dict(zip(names, head.split(" | "), strict=True))
        metrics.append(Metric(**fields, what=what.strip(), formula=formula.strip()))  # type: ignore[arg-type]
    return tuple(metrics)


METRICS: tuple[Metric, ...] = _read(_TABLE.splitlines())

COLUMN: dict[str, int] = {metric.name: index for index, metric in enumerate(METRICS)}
"""Position of a metric in a row of values, by its name."""


def markdown_table(metrics: Sequence[Metric] = METRICS) -> str:
    """Table of docs/metrics.md, without a line break at its end."""
    fields = ("name", "what", "formula", "source", "library", "range", "better")
    rows = [fields, ("---",) * len(fields)]
    rows += [
        (f"`{each.name}`", each.what, f"`{each.formula}`", each.source, each.library, each.range, each.better)
        for each in metrics
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
