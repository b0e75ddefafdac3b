"""polyexport evaluate: the scores of a model on data sets, beside those of two fills without a network."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyexport.cli.console import console
from polyexport.cli.infer import parse_size
from polyexport.cli.options import (
    DeviceId,
    JsonFlag,
    LoadTimeout,
    MaxModelMemory,
    ProviderOption,
    Quiet,
    RequireSignature,
    SizeOption,
    Threads,
    Verbose,
)
from polyexport.errors import UsageError
from polyexport.model.loading.limits import LoadLimits
from polyexport.runtime.providers import AUTO

if TYPE_CHECKING:
    from polyexport.evaluate.score import Evaluation

__all__ = ["evaluate"]

# Columns of the printed table: heading, width, number format, metric, statistic.
_COLUMNS = (
    ("PSNR dB", 8, ".2f", "psnr_db", "mean"),
    ("min dB", 7, ".2f", "psnr_db", "min"),
    ("SSIM", 7, ".4f", "ssim", "mean"),
    ("within 8", 9, ".3%", "within_8", "mean"),
    ("dE00", 6, ".2f", "fill_ciede2000_mean", "mean"),
    ("p95", 6, ".2f", "fill_ciede2000_p95", "mean"),
    ("IoU", 7, ".4f", "iou", "mean"),
    ("wrong", 7, ".1%", "wrong", "mean"),
    ("page filled", 11, ".1%", "page_filled", "mean"),
    ("edge F1", 8, ".4f", "boundary_f1", "mean"),
    ("bleeding", 9, ".3%", "bleeding", "mean"),
    ("confused", 9, ".2%", "confusion", "mean"),
)


def _list_metrics(wanted: bool) -> None:
    if wanted:
        from polyexport.evaluate.catalog import METRICS

        for metric in METRICS:
            console.data(f"{metric.name}: {metric.what} {metric.formula} [{metric.source}]")
        raise typer.Exit


def evaluate(
    model: Annotated[Path, typer.Argument(help="Model file.")],
    data: Annotated[
        list[Path],
        typer.Argument(metavar="DATA...", help="Data sets: folders with a data.json, or folders of such folders."),
    ],
    report: Annotated[
        Path | None,
        typer.Option(
            help="Write the report with plots and images as one HTML file that loads nothing.", metavar="FILE.html"
        ),
    ] = None,
    contact_sheet: Annotated[
        Path | None,
        typer.Option(
            help="Write a picture of the first twenty drawings of every data set: input, result and target, the worst "
            "result marked with its PSNR.",
            metavar="FILE.png",
        ),
    ] = None,
    require_signature: RequireSignature = None,
    size: SizeOption = "fit",
    provider: ProviderOption = AUTO,
    device_id: DeviceId = 0,
    threads: Threads = 0,
    list_metrics: Annotated[  # noqa: ARG001 - its callback ends the command
        bool,
        typer.Option(
            "--list-metrics",
            help="Print every metric with its meaning and formula, and exit.",
            is_eager=True,
            callback=_list_metrics,
        ),
    ] = False,
    load_timeout: LoadTimeout = 0.0,
    max_model_memory: MaxModelMemory = 0,
    json_report: JsonFlag = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Score a model on data sets, beside two fills that need no network."""
    console.set(verbose=verbose, quiet=quiet)
    wanted = parse_size(size)
    if report is not None and (report.suffix.lower() not in (".html", ".htm") or report.is_dir()):
        raise UsageError(f"--report {report} is not the name of an HTML file", remedy="give a file that ends in .html")
    if contact_sheet is not None and (contact_sheet.suffix.lower() != ".png" or contact_sheet.is_dir()):
        raise UsageError(
            f"--contact-sheet {contact_sheet} is not the name of a PNG file", remedy="give a file that ends in .png"
        )

    from polyexport.data.pairs import read_splits
    from polyexport.evaluate.document import document, facts_of
    from polyexport.evaluate.score import evaluate as score
    from polyexport.evaluate.sheet import SHEET_EXAMPLES, draw_sheet
    from polyexport.imaging.codecs.png import encode_png
    from polyexport.model.loading.load import load_model
    from polyexport.storage.files import check_output_file, write_atomic

    splits = read_splits(data)
    limits = LoadLimits(seconds=load_timeout, memory_mib=max_model_memory)
    loaded = load_model(
        model,
        provider=provider,
        threads=threads,
        device_id=device_id,
        limits=limits,
        signed_by=require_signature,
    )
    if loaded.session.fallback_reason:
        console.info(f"running on {loaded.session.execution_provider} ({loaded.session.fallback_reason})")
    if report is not None:
        from polyexport.evaluate.html import render

        check_output_file(report)  # before minutes of work, not after
    if contact_sheet is not None:
        check_output_file(contact_sheet)
    evaluation = score(loaded, splits, size=wanted, examples=0 if contact_sheet is None else SHEET_EXAMPLES)
    facts = facts_of(loaded, model, size)
    if report is not None:
        write_atomic(report, render(evaluation, facts).encode())
        console.info(f"report: {report}")
    if contact_sheet is not None:
        write_atomic(contact_sheet, encode_png(draw_sheet(evaluation)))
        console.info(f"contact sheet: {contact_sheet}")
    if json_report:
        console.json(document(evaluation, facts))
    else:
        _print(evaluation)


def _print(evaluation: "Evaluation") -> None:
    from polyexport.evaluate.score import LABELS, METHODS
    from polyexport.evaluate.summary import lead, summarize

    splits = (*evaluation.splits, evaluation.all) if len(evaluation.splits) > 1 else evaluation.splits
    widest = max(4, *(min(24, len(split.name)) for split in splits))
    headings = " ".join(f"{heading:>{width}}" for heading, width, *_ in _COLUMNS)
    console.data(f"{'data':<{widest}} {'method':<12} {'images':>6} {'exact':>5} {headings} {'ahead dB':>8}")
    partial = False
    for split in splits:
        ahead = lead(split)
        for method in METHODS:
            summary = summarize(split.scores[method])
            numbers = " ".join(
                f"{'-' if value is None else format(value, form) + '*' * summary.partial(metric):>{width}}"
                for _, width, form, metric, statistic in _COLUMNS
                for value in [getattr(summary.metrics[metric], statistic)]
            )
            partial |= any(summary.partial(metric) for _, _, _, metric, _ in _COLUMNS)
            console.data(
                f"{split.name[-24:]:<{widest}} {LABELS[method]:<12} "
                f"{summary.images:>6} {summary.exact_images:>5} {numbers}"
                + (f" {ahead.ahead_db:>+8.2f}" if method == "model" else "")
            )
    console.info("ahead dB: mean PSNR of the model less that of the better of the two fills")
    if partial:
        console.info("* over fewer images than the row counts: on the others the metric is undefined")
