"""``train``: run one training, from its options to its checkpoint.

Beside the checkpoint ``model.safetensors`` (the best validation so far) a training keeps a folder ``model/`` with
``last.safetensors`` (the latest validation), ``state.safetensors`` (the state that a resumption continues from) and the
files of its tracker.
"""

import logging
import sys
from collections.abc import Callable
from typing import Literal

import torch
from lightning.fabric import Fabric, seed_everything
from torch.utils.data import DataLoader
from tqdm import tqdm

from polyexport.errors import UsageError
from polyexport.storage.files import check_output_file, check_writable
from trainer.batches import Batch, BatchStream, is_fill, pair_batches, synthetic_batches
from trainer.checkpoint import load_checkpoint, save_checkpoint, weights_sha256
from trainer.config import Precision, TrainConfig, run_folder
from trainer.example import Example
from trainer.growth import grow
from trainer.loop import TrainingLoop
from trainer.losses import ColoringLoss
from trainer.network import ConditionalUNet
from trainer.result import TrainResult, model_card
from trainer.signals import ignore_sigint
from trainer.tracking import Tracker
from trainer.transplant import can_transplant, transplant
from trainer.validation import ScoredDrawings, Validation

__all__ = ["train"]

_BATCHES_PREPARED_PER_WORKER = 8


def train(
    config: TrainConfig,
    *,
    pairs: list[Example] | None = None,
    validation: list[Example] | None = None,
    model: ConditionalUNet | None = None,
    resume: bool = False,
    open_record: Callable[[int | None], Tracker] | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> TrainResult:
    """Train a model and write its checkpoints.

    Args:
        config: All options that decide the result.
        pairs: Examples to train on, all of one size, with the kind of condition that the network takes; generated
            drawings if None.
        validation: Examples to validate on, all of one size; held-out generated ones if None. If all of them are among
            ``pairs``, every score is called that of the training pairs.
        model: A network of another class with the same configuration and signature; if None, a new ConditionalUNet.
        resume: Continue from the state that an earlier training with the same output left.
        open_record: Opens the record that receives every metric and sample picture. Its argument is the step that the
            training is resumed at, None for a new training.
        report: Called with one line of text at each validation.

    Raises:
        OutputError: A checkpoint cannot be written; the one before it is complete.
        UsageError: There is nothing to resume; or the network takes no color, and no examples are given.
        CheckpointError: The state to resume is damaged, or of another architecture; or float16 does not hold a weight
            of the result, which stays in float32.
        TrainingError: The loss or the weights are no longer finite; the last good checkpoint stays.
    """
    if config.model.conditioning in ("label", "none") and (pairs is None or validation is None):
        raise UsageError("generated drawings are for networks that fill with a color", remedy="give --data DIR")
    check_output_file(config.output)
    check_writable(run_folder(config.output))
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)  # Lightning lists the machine's hardware at INFO
    fabric = Fabric(
        accelerator="auto", devices=config.devices, strategy=config.strategy, precision=_precision(config.precision)
    )
    if config.devices > 1:
        fabric.launch()
    seed_everything(config.seed, verbose=False)
    network = (model or _initial_model(config)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if not fabric.is_global_zero:
        open_record, report = None, lambda line: None
    loss = ColoringLoss(config.loss)
    scored = Validation(config, fabric, loss, validation, trained_on=pairs or ())
    result_kind = "fill" if pairs is None or all(map(is_fill, pairs)) else "picture"
    loop = TrainingLoop(config, fabric, network, loss, scored, report, result_kind=result_kind)
    if pairs is not None:
        report(f"trains on {_counted(len(pairs))}, {_scored_on(scored.drawings)}")
    if resume:
        changed = loop.resume()
        note = f", with other {', '.join(changed)}" if changed else ""
        report(f"resumed at step {loop.progress.step}{note}")
    if open_record:
        loop.tracker = open_record(loop.progress.step if resume else None)
    batches = _batches(config, fabric, pairs, first_step=loop.progress.step)
    bar = tqdm(
        total=config.steps,
        initial=loop.progress.step,
        unit="step",
        disable=not (sys.stderr.isatty() and fabric.is_global_zero),
    )
    failed = True
    try:
        with bar:
            stopped_early = loop.run(iter(batches), bar)
        if config.float16 and fabric.is_global_zero:
            save_checkpoint(load_checkpoint(config.output), config.output, float16=True)
        fabric.barrier()  # only the main process writes the checkpoint: wait until it is there
        result = TrainResult(
            output=config.output,
            steps=loop.progress.step,
            images=loop.progress.images,
            minutes=loop.seconds / 60,
            best_psnr_db=loop.progress.best_psnr_db,
            best_step=loop.progress.best_step,
            scored=scored.drawings,
            weights_sha256=weights_sha256(config.output),
            stopped_early=stopped_early,
            is_main_process=fabric.is_global_zero,
        )
        if loop.tracker:
            scores = {f"{result.scored.phase}/psnr_db": result.best_psnr_db, "step": result.best_step}
            loop.tracker.card(model_card(config, result), scores)
        failed = False
    finally:
        if loop.tracker:
            loop.tracker.close(failed=failed)
    return result


def _counted(pairs: int) -> str:
    return "1 pair" if pairs == 1 else f"{pairs} pairs"


def _scored_on(drawings: ScoredDrawings) -> str:
    if drawings.trained_on == drawings.count:
        return "and no other pair is there to validate on: all scores are those of the training pairs"
    return f"validates on {drawings.description}"


def _batches(
    config: TrainConfig, fabric: Fabric, pairs: list[Example] | None, *, first_step: int
) -> "DataLoader[Batch]":
    """Return this process's share of the training batches, from ``first_step`` on."""
    if pairs is not None:
        make = pair_batches(pairs, config.mix[-1].batch_size, config.pairs)
    else:
        make = synthetic_batches(config.mix, config.drawings)
    stream = BatchStream(
        make,
        seed=config.seed,
        start=first_step * fabric.world_size + fabric.global_rank,
        step=fabric.world_size,
    )
    return DataLoader(
        stream,
        batch_size=None,
        num_workers=config.workers,
        worker_init_fn=ignore_sigint,
        prefetch_factor=_BATCHES_PREPARED_PER_WORKER if config.workers else None,
    )


def _precision(precision: Precision) -> Literal["32-true", "bf16-mixed", "16-mixed"]:
    if precision == "mixed":
        return "16-mixed" if torch.cuda.is_available() else "bf16-mixed"
    return precision


def _initial_model(config: TrainConfig) -> ConditionalUNet:
    if config.initial is None:
        return ConditionalUNet(config.model)
    source = config.initial.model
    start = transplant if can_transplant(source.config, config.model) else grow
    return start(source, config.model)
