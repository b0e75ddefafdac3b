"""Fidelity and speed of several models on every provider that works, and which of them are worth taking."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np

from polyexport.bench.document import Variant
from polyexport.bench.inputs import inputs
from polyexport.bench.measure import in_turn, warm_up
from polyexport.bench.statistics import WINDOWS, is_steady
from polyexport.data.drawings import draw
from polyexport.errors import PolyexportError, UsageError
from polyexport.imaging.psnr import psnr_db
from polyexport.model.loading.limits import DEFAULT_LIMITS, LoadLimits
from polyexport.model.loading.load import load_model
from polyexport.model.model import Model
from polyexport.runtime.probe import probe_provider
from polyexport.runtime.provider import all_providers

__all__ = ["dominated", "frontier"]

_DRAWINGS = 48
_SEED = 20_260_102


@dataclass(frozen=True, slots=True)
class _Candidate:
    variant: Variant
    call: Callable[[], object]


def frontier(
    models: Sequence[Path],
    *,
    size: int,
    seconds: float,
    limits: LoadLimits = DEFAULT_LIMITS,
    progress: Callable[[str], None] = lambda line: None,
) -> tuple[Variant, ...]:
    """Measure each model on each provider that works, one image a call on all cores, in turn.

    Fidelity is the mean PSNR over 48 generated drawings in random colors, against their targets; a drawing that
    equals its target counts as 100 dB.

    Args:
        models: model files.
        size: height and width of the images, pixels; 0 for each model's own.
        seconds: length of each of three windows for each variant.
        limits: limits of the first load of an unknown model file.
        progress: called with a line before each measurement.

    Raises:
        UsageError: none of the models can be loaded.
    """
    variants: list[Variant] = []
    candidates: list[_Candidate] = []
    for path in models:
        # The provider that every machine has comes last.
        for provider in [each.name for each in sorted(all_providers(), key=lambda each: each.built_in)]:
            if not probe_provider(provider).works:
                continue
            progress(f"{path.name} on {provider}: fidelity")
            named = Variant(
                model=path.stem,
                precision="",
                provider=provider,
                psnr_db=None,
                image_ms=None,
                dominated_by="",
                note="",
            )
            try:
                model = load_model(path, provider=provider, limits=limits)
                given = inputs(model, size or model.contract.training_size)
                psnr = _mean_psnr_db(model, size or model.contract.training_size)
            except PolyexportError as error:
                variants.append(replace(named, note=error.message))
                continue
            measured = replace(named, precision=model.contract.precision, psnr_db=psnr)

            call = functools.partial(model.run, *given)
            warm_up(call)
            candidates.append(_Candidate(measured, call))
    if not candidates:
        raise UsageError("no model can be loaded", remedy=variants[0].note if variants else "give model files")
    progress(f"timing {len(candidates)} variants in turn")
    samples = in_turn([candidate.call for candidate in candidates], seconds=seconds)
    for blocks, candidate in zip(samples, candidates, strict=True):
        steady = is_steady([median(part) for part in np.array_split(blocks, WINDOWS)])
        variants.append(replace(candidate.variant, image_ms=median(blocks) if steady else None))
    return dominated(variants)


def dominated(variants: Sequence[Variant]) -> tuple[Variant, ...]:
    """Fill in ``dominated_by``: the fastest variant that is at least as good and as fast, and better in one."""
    return tuple(
        replace(one, dominated_by=f"{best.model} on {best.provider}" if best else "")
        for one in variants
        for best in [min((other for other in variants if _beats(other, one)), key=_ms, default=None)]
    )


def _beats(other: Variant, one: Variant) -> bool:
    if one.psnr_db is None or one.image_ms is None or other.psnr_db is None or other.image_ms is None:
        return False
    as_good = other.psnr_db >= one.psnr_db and other.image_ms <= one.image_ms
    return as_good and (other.psnr_db, other.image_ms) != (one.psnr_db, one.image_ms)


def _ms(variant: Variant) -> float:
    return variant.image_ms or 0.0


def _mean_psnr_db(model: Model, size: int) -> float:
    scores = []
    palette = model.color_condition.fields.palette
    for number in range(_DRAWINGS):
        wanted = palette[number % len(palette)][1] if palette else None
        drawing = draw(np.random.default_rng([_SEED, number]), size, color=wanted)
        colored = model.colorize([drawing.image], [drawing.color], size=size)[0][0]
        scores.append(psnr_db(colored, drawing.colored))
    return sum(scores) / len(scores)
