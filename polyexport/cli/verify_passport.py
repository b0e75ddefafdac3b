"""The passport of `polyexport verify`: the comparison of two providers, and its file."""

from pathlib import Path
from typing import TYPE_CHECKING

from polyexport.cli.console import console
from polyexport.errors import ParityError
from polyexport.passport.compare import Pair, compare_providers
from polyexport.passport.document import Entry, Passport, passport_path, read_passport, write_passport
from polyexport.storage.files import check_output_file

if TYPE_CHECKING:
    from polyexport.model.loading.limits import LoadLimits
    from polyexport.model.model import Model

__all__ = ["check_passport", "make_passport"]


def make_passport(
    file: Path,
    data: bytes,
    model: "Model",
    pair: Pair,
    *,
    other: Path | None,
    device_id: int,
    limits: "LoadLimits",
) -> Entry:
    """Compare two providers on a model file, and note the result in the passport beside it.

    Args:
        file: path of the model file.
        data: its bytes.
        model: the loaded model.
        pair: names of the providers.
        other: second file for the second provider, after which nothing is noted; None for the same file.
        device_id: number of the GPU.
        limits: limits of the first look at the second file.

    Raises:
        PolyexportError: see ``compare_providers``; OutputError if the passport cannot be written.
    """
    if other is None:
        check_output_file(passport_path(file))
        entry = compare_providers(data, model, pair, device_id=device_id, report=console.info)
        earlier, reason = read_passport(file, model.sha256)
        if reason:
            console.info(f"warning: {reason}; it is replaced")
        passport = (earlier or Passport(model_sha256=model.sha256)).with_entry(entry)
        console.info(f"passport {write_passport(file, passport)}")
        return entry
    from polyexport.model.file import read_model

    return compare_providers(
        data,
        model,
        pair,
        other=read_model(other),
        other_name=str(other),
        device_id=device_id,
        limits=limits,
        report=console.info,
    )


def check_passport(entry: Entry, other: Path | None) -> None:
    """Refuse a comparison whose providers differ.

    Args:
        entry: the comparison.
        other: second file, which the second provider ran; None for the same file.

    Raises:
        ParityError: they do.
    """
    if entry.agrees:
        return
    culprit = entry.cause or entry.first
    where = f", first by itself at {culprit.operator} {culprit.node}" if culprit and culprit.kind == "cause" else ""
    one, two = entry.candidate, entry.reference
    named = one.provider if other is None else f"{other} on {one.provider}"
    remedy = f"run it on {two.provider}, or install another version of {one.version}"
    raise ParityError(
        f"{named} computes something else than {two.provider}{where}",
        remedy=remedy if other is None else "compare the nodes of the two files there",
    )
