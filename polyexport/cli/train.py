"""polyexport train: generated drawings, or a data set, -> a checkpoint."""

from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyexport.cli.console import build, console
from polyexport.cli.options import Quiet, Verbose
from polyexport.errors import DatasetError, UsageError

if TYPE_CHECKING:
    from polyexport.data.drawings import Drawing
    from trainer.tracking import Tracker

__all__ = ["train"]


_HOLD_OUT = 8  # of so many pairs, one is validated on and never trained on


class Network(StrEnum):
    """Values of --network."""

    SMALL = "small"
    BASE = "base"


class ConditioningName(StrEnum):
    """Values of --conditioning."""

    RGB = "rgb"
    VOCABULARY = "vocabulary"


class Precision(StrEnum):
    """Values of --precision, in Lightning's words; ``mixed`` is float16 on a GPU and bfloat16 on the CPU."""

    FP32 = "32-true"
    MIXED = "mixed"
    BF16 = "bf16-mixed"
    FP16 = "16-mixed"


class Schedule(StrEnum):
    """Values of --schedule."""

    COSINE = "cosine"
    PLATEAU = "plateau"


class TrackerName(StrEnum):
    """Values of --tracker."""

    LOCAL = "local"
    WANDB = "wandb"
    TENSORBOARD = "tensorboard"


def train(
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="Checkpoint, the best one; all else goes beside it.", metavar="FILE"),
    ] = Path("runs/model.safetensors"),
    minutes: Annotated[
        float | None, typer.Option(min=0.01, help="Stop by the clock.", show_default="30, unless --steps is given")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Stop after so many optimizer steps.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Data set to train on.", show_default="drawings generated on the fly", metavar="DIR"),
    ] = None,
    validation: Annotated[
        Path | None,
        typer.Option(help="Data set to validate on.", show_default="every eighth pair of --data", metavar="DIR"),
    ] = None,
    initial: Annotated[
        Path | None, typer.Option(help="Start from this checkpoint; --network may be a wider one.", metavar="FILE")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Carry on the training that -o belongs to.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the training that is there.")] = False,
    network: Annotated[
        Network | None,
        typer.Option(help="base: 64-128-256-512-1024; small: a quarter.", show_default="small, or that of --initial"),
    ] = None,
    conditioning: Annotated[
        ConditioningName, typer.Option(help="rgb: any color; vocabulary: twenty named ones.")
    ] = ConditioningName.RGB,
    precision: Annotated[Precision, typer.Option(help="mixed: fp16 on a GPU, bf16 on the CPU.")] = Precision.FP32,
    learning_rate: Annotated[float, typer.Option(min=1e-8, max=0.5, help="At its peak.")] = 3e-3,
    schedule: Annotated[
        Schedule, typer.Option(help="plateau: halved after five validations that were no better.")
    ] = Schedule.COSINE,
    early_stopping: Annotated[
        int | None, typer.Option(min=1, help="End after so many validations without a better one.")
    ] = None,
    l1: Annotated[float, typer.Option(min=0, help="Weight of the mean absolute error.")] = 1.0,
    l2: Annotated[float, typer.Option(min=0, help="Weight of the mean squared error.")] = 0.5,
    perceptual: Annotated[float, typer.Option(min=0, help="Weight of the edge pyramid.")] = 0.1,
    psnr: Annotated[float, typer.Option(min=0, help="Weight of each image's negative PSNR; for a last stage.")] = 0.0,
    weight_decay: Annotated[float, typer.Option(min=0, help="Of AdamW.")] = 1e-4,
    gradient_clip: Annotated[float, typer.Option(min=1e-6, help="Largest gradient norm.")] = 1.0,
    ema_decay: Annotated[float, typer.Option(min=0, max=0.999999, help="Of the averaged weights.")] = 0.999,
    freeze_norm: Annotated[
        float, typer.Option(min=0, max=1, help="Fraction after which batch normalisation is fixed.")
    ] = 0.5,
    batch_size: Annotated[int, typer.Option("-b", "--batch-size", min=2, max=4096, help="At 128 pixels.")] = 16,
    seed: Annotated[int, typer.Option(min=0, help="The same seed and steps give the same checkpoint.")] = 0,
    validate_every: Annotated[int, typer.Option(min=1, help="Steps between validations.")] = 500,
    workers: Annotated[int, typer.Option(min=0, max=64, help="Processes that draw.")] = 1,
    devices: Annotated[int, typer.Option(min=1, max=1024, help="GPUs, or processes on the CPU.")] = 1,
    strategy: Annotated[str, typer.Option(help="Of several devices, by Lightning's name: ddp, ...")] = "auto",
    tracker: Annotated[
        TrackerName, typer.Option(help="Mirror the local record of metrics, curves and samples.")
    ] = TrackerName.LOCAL,
    offline: Annotated[bool, typer.Option("--offline", help="Weights & Biases without network or account.")] = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Train a conditional UNet and write its checkpoint."""
    console.set(verbose=verbose, quiet=quiet)
    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other", remedy="give one of them")
    if validation and not data:
        raise UsageError("--validation needs --data", remedy="give --data too, or leave both out")

    from polyexport.data.drawing_config import DrawingConfig
    from polyexport.data.vocabulary import VOCABULARY
    from trainer.batches import PairConfig, SizedBatch
    from trainer.checkpoint import load_checkpoint
    from trainer.loop import TrainConfig, options_of, run_folder
    from trainer.loop import train as run
    from trainer.losses import LossConfig
    from trainer.network import BASE_CHANNELS, SMALL_CHANNELS, ModelConfig
    from trainer.tracking import open_tracker

    start = load_checkpoint(initial) if initial else None
    channels = BASE_CHANNELS if network is Network.BASE else SMALL_CHANNELS
    if start:
        model = replace(start.model.config, channels=channels) if network else start.model.config
    else:
        palette = VOCABULARY if conditioning is ConditioningName.VOCABULARY else ()
        model = ModelConfig(channels=channels, conditioning=conditioning.value, palette=palette)
    pairs = _load_pairs(data, model.size_multiple) if data else None
    held_out = _load_pairs(validation, model.size_multiple) if validation else None
    if pairs and not held_out:
        # Too few to spare any: the training's own pairs at least show that it learns.
        held_out = pairs[::_HOLD_OUT] if len(pairs) >= _HOLD_OUT else pairs
        pairs = [pair for number, pair in enumerate(pairs) if number % _HOLD_OUT or len(pairs) < _HOLD_OUT]
    mix: tuple[SizedBatch, ...] = (
        SizedBatch(size=64, batch_size=batch_size * 9 // 4),
        SizedBatch(size=128, batch_size=batch_size),
    )
    if pairs:
        mix = (SizedBatch(size=pairs[0].image.shape[0], batch_size=batch_size),)
    drawings = DrawingConfig(palette=tuple(rgb for _, rgb in model.palette))
    config = build(
        TrainConfig,
        output=output,
        model=model,
        loss=build(LossConfig, l1=l1, l2=l2, perceptual=perceptual, psnr=psnr),
        drawings=drawings,
        pairs=PairConfig(drawings=drawings),
        mix=mix,
        initial=start,
        steps=steps,
        minutes=minutes if minutes or steps else 30.0,
        learning_rate=learning_rate,
        schedule=schedule.value,
        early_stopping=early_stopping,
        weight_decay=weight_decay,
        gradient_clip=gradient_clip,
        ema_decay=ema_decay,
        freeze_norm=freeze_norm,
        precision=precision.value,
        seed=seed,
        validate_every=validate_every,
        workers=workers,
        devices=devices,
        strategy=strategy,
    )

    def open_record(resumed_step: int | None) -> "Tracker":
        return open_tracker(
            tracker.value,
            run_folder(output),
            {"model": asdict(model), "training": options_of(config)},
            name=output.stem,
            offline=offline,
            resumed_step=resumed_step,
            overwrite=overwrite,
            report=console.info,
        )

    result = run(config, pairs=pairs, validation=held_out, resume=resume, open_record=open_record, report=console.info)
    if result.speaks and not quiet:
        ended = f" (no better one in {early_stopping} validations)" if result.stopped_early else ""
        console.data(
            f"{result.output}: {result.steps} steps{ended}, {result.images} images, {result.minutes:.1f} min, "
            f"validation PSNR {result.validation_psnr_db:.2f} dB at step {result.best_step}, "
            f"weights {result.weights_sha256}; curves in {run_folder(output)}; next: polyexport export {result.output}"
        )


def _load_pairs(folder: Path, multiple: int) -> "list[Drawing]":
    from polyexport.data.drawings import Drawing
    from polyexport.data.pairs import read_pair, read_pairs

    pairs: list[Drawing] = []
    for entry in read_pairs(folder):
        pixels = read_pair(entry)
        height, width = pixels.image.shape[:2]
        if height != width or height % multiple or (pairs and pairs[0].image.shape != pixels.image.shape):
            raise DatasetError(
                f"{entry.input} is {width}x{height}",
                remedy=f"give square images of one size, a multiple of {multiple}",
            )
        pairs.append(Drawing(shape=entry.input.stem, color=entry.color.rgb, image=pixels.image, colored=pixels.colored))
    return pairs
