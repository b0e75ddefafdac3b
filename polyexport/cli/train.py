"""polyexport train: train a network on generated drawings or a data set, and write its checkpoint."""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyexport.cli.console import build, console
from polyexport.cli.options import Quiet, Verbose
from polyexport.errors import UsageError

if TYPE_CHECKING:
    from trainer.tracking import Tracker

__all__ = ["train"]


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
        typer.Option(
            "-o",
            "--output",
            help="Checkpoint file for the best weights; all other files go into a folder beside it.",
            metavar="FILE",
        ),
    ] = Path("runs/model.safetensors"),
    minutes: Annotated[
        float | None,
        typer.Option(min=0.01, help="Duration of the training, minutes.", show_default="30, unless --steps is given"),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Number of optimizer steps to train for.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Data set to train on: inputs/ and outputs/, paired by data.json with a color, a label or neither for "
            "each pair, or without it by their relative paths.",
            show_default="drawings that are generated during the training",
            metavar="DIR",
        ),
    ] = None,
    validation: Annotated[
        Path | None,
        typer.Option(
            help="Data set to validate on, of the same kind.",
            show_default="every eighth pair of --data, the first one included",
            metavar="DIR",
        ),
    ] = None,
    initial: Annotated[
        Path | None,
        typer.Option(
            help="Checkpoint to start from, not from random weights; --network may be wider.",
            metavar="FILE",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the training that -o belongs to.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the training that -o belongs to.")] = False,
    network: Annotated[
        Network | None,
        typer.Option(
            help="Size of the network. base: channels 64-128-256-512-1024, and thin levels below; small: "
            "channels 16-16-32-64-128-128-128.",
            show_default="small, or that of --initial",
        ),
    ] = None,
    patch: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=2,
            help="Side of the squares of pixels that the first level takes as one position. 2 halves the time of a "
            "call; with an --initial of 1, its finest level is left out.",
            show_default="1, or that of --initial",
        ),
    ] = None,
    conditioning: Annotated[
        ConditioningName | None,
        typer.Option(
            help="Colors that the network can fill with. rgb: any color; vocabulary: twenty named ones.",
            show_default="rgb, or that of --initial; a network for --data without colors takes its labels, or nothing",
        ),
    ] = None,
    precision: Annotated[
        Precision, typer.Option(help="Numeric precision. mixed: float16 on a GPU, bfloat16 on the CPU.")
    ] = Precision.FP32,
    learning_rate: Annotated[float, typer.Option(min=1e-8, max=0.5, help="Peak learning rate.")] = 3e-3,
    schedule: Annotated[
        Schedule,
        typer.Option(
            help="Learning-rate schedule. cosine: falls to a hundredth of its peak; plateau: constant, and halved when "
            "more than five validations in a row are no better."
        ),
    ] = Schedule.COSINE,
    early_stopping: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of validations in a row without a better one after which the training ends.",
            show_default="never",
        ),
    ] = None,
    l1: Annotated[float, typer.Option(min=0, help="Loss weight of the mean absolute error.")] = 1.0,
    l2: Annotated[float, typer.Option(min=0, help="Loss weight of the mean squared error.")] = 0.5,
    perceptual: Annotated[
        float, typer.Option(min=0, help="Loss weight of the difference in edges, at three scales.")
    ] = 0.1,
    psnr: Annotated[
        float, typer.Option(min=0, help="Loss weight of the negative PSNR of each image, for the last stage.")
    ] = 0.0,
    weight_decay: Annotated[float, typer.Option(min=0, help="Weight decay of the AdamW optimizer.")] = 1e-4,
    gradient_clip: Annotated[
        float, typer.Option(min=1e-6, help="Largest norm of the gradient; a longer gradient is scaled down to it.")
    ] = 1.0,
    quantize: Annotated[
        bool,
        typer.Option(
            "--quantize",
            help="Train under the rounding of an int8 export, so that it loses less; for the last stage of a training, "
            "with --freeze-norm 0.",
        ),
    ] = False,
    ema_decay: Annotated[
        float,
        typer.Option(
            min=0, max=0.999999, help="Decay of the moving average of the weights, which is validated and saved."
        ),
    ] = 0.999,
    freeze_norm: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Fraction of the training after which batch normalization keeps its statistics."
        ),
    ] = 0.5,
    batch_size: Annotated[
        int,
        typer.Option(
            "-b",
            "--batch-size",
            min=2,
            max=4096,
            help="Number of images per batch; of generated drawings, the number of those of 128 pixels.",
        ),
    ] = 16,
    size: Annotated[
        int,
        typer.Option(
            min=16,
            max=1024,
            help="Training size, pixels: larger drawings are scaled down to it before the network sees them. Generated "
            "drawings are a third of it to at most 8/3 of it. With --data, it is the size of the pairs.",
        ),
    ] = 192,
    seed: Annotated[
        int,
        typer.Option(min=0, help="Seed of the random generators; the same seed and --steps give the same checkpoint."),
    ] = 0,
    validate_every: Annotated[int, typer.Option(min=1, help="Number of optimizer steps between validations.")] = 500,
    workers: Annotated[
        int, typer.Option(min=0, max=64, help="Number of processes that prepare batches; 0: the training process.")
    ] = 1,
    float16: Annotated[
        bool,
        typer.Option(
            "--float16",
            help="Round the kernels and matrices of the best weights to float16 at the end, which halves the file. "
            "Scores are those before the rounding; --resume continues from float32.",
        ),
    ] = False,
    devices: Annotated[
        int, typer.Option(min=1, max=1024, help="Number of GPUs, or of processes on a machine without a GPU.")
    ] = 1,
    strategy: Annotated[
        str, typer.Option(help="Lightning's name of the strategy for several devices: ddp, fsdp, ...")
    ] = "auto",
    tracker: Annotated[
        TrackerName, typer.Option(help="Service that mirrors the local record of metrics, curves and samples.")
    ] = TrackerName.LOCAL,
    offline: Annotated[
        bool, typer.Option("--offline", help="Run Weights & Biases without a network or an account.")
    ] = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Train a UNet to fill drawings, or to make a data set's outputs of its inputs, and write a checkpoint."""
    console.set(verbose=verbose, quiet=quiet)
    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other", remedy="give one of them")
    if validation and not data:
        raise UsageError("--validation needs --data", remedy="give --data too, or leave both out")

    from polyexport.data.drawing_config import DrawingConfig
    from polyexport.data.image_pairs import read_image_pairs
    from polyexport.data.sketch_config import SketchConfig
    from polyexport.data.vocabulary import VOCABULARY
    from trainer.batches import PairConfig, SizedBatch, generated_mix
    from trainer.checkpoint import load_checkpoint
    from trainer.config import TrainConfig, options_of, run_folder
    from trainer.datasets import examples_of, hold_out, labels_of
    from trainer.losses import LossConfig
    from trainer.network import BASE_CHANNELS, BASE_CONTEXT, SMALL_CHANNELS, Conditioning, ModelConfig
    from trainer.tracking import open_tracker
    from trainer.train import train as run
    from trainer.transplant import without_finest_level

    start = load_checkpoint(initial) if initial else None
    files = read_image_pairs(data) if data else []
    kind: Conditioning = conditioning.value if conditioning else "rgb"
    if files and files[0].kind != "color":
        kind = files[0].kind
    if conditioning and conditioning.value != (start.model.config.conditioning if start else kind):
        other = f"the {start.model.config.conditioning} network of --initial" if start else "a data set without colors"
        raise UsageError(f"--conditioning {conditioning.value} does not go with {other}", remedy="leave it out")
    channels, context = (BASE_CHANNELS, BASE_CONTEXT) if network is Network.BASE else (SMALL_CHANNELS, ())
    if start:
        model = replace(start.model.config, channels=channels, context=context) if network else start.model.config
        if patch == 2 and model.patch == 1 and not network:
            model = build(without_finest_level, config=model)
        elif patch:
            model = replace(model, patch=patch)
    else:
        palette = VOCABULARY if kind == "vocabulary" else ()
        model = build(
            ModelConfig,
            channels=channels,
            context=context,
            conditioning=kind,
            palette=palette,
            labels=labels_of(files),
            patch=patch or 1,
        )
    pairs = examples_of(files, model) if files else None
    held_out = examples_of(read_image_pairs(validation), model) if validation else None
    mix = generated_mix(batch_size, size=size, multiple=model.size_multiple)
    if pairs:
        size = pairs[0].image.shape[0]
        mix = (SizedBatch(size=size, batch_size=batch_size),)
        if not held_out:
            pairs, held_out = hold_out(pairs, model.labels)
    outlines = DrawingConfig(palette=tuple(rgb for _, rgb in model.palette))
    config = build(
        TrainConfig,
        output=output,
        model=model,
        loss=build(LossConfig, l1=l1, l2=l2, perceptual=perceptual, psnr=psnr),
        drawings=SketchConfig(outlines=outlines),
        pairs=PairConfig(drawings=outlines),
        mix=mix,
        size=size,
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
        quantize=quantize,
        precision=precision.value,
        seed=seed,
        validate_every=validate_every,
        workers=workers,
        float16=float16,
        devices=devices,
        strategy=strategy,
    )

    def open_record(resumed_step: int | None) -> "Tracker":
        return open_tracker(
            tracker.value,
            run_folder(output),
            {"model": model.as_json(), "training": options_of(config)},
            name=output.stem,
            offline=offline,
            resumed_step=resumed_step,
            overwrite=overwrite,
            report=console.info,
        )

    result = run(config, pairs=pairs, validation=held_out, resume=resume, open_record=open_record, report=console.info)
    if result.is_main_process and not quiet:
        ended = f" (no better one in {early_stopping} validations)" if result.stopped_early else ""
        console.data(
            f"{result.output}: {result.steps} steps{ended}, {result.images} images, {result.minutes:.1f} min, "
            f"{result.scored.name} PSNR {result.best_psnr_db:.2f} dB at step {result.best_step}, "
            f"weights {result.weights_sha256}; curves in {run_folder(output)}; next: polyexport export {result.output}"
        )
