"""polyexport train: generated drawings, or a data set, -> a checkpoint."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyexport.cli.console import build, console
from polyexport.cli.options import Quiet, Verbose
from polyexport.errors import DatasetError

if TYPE_CHECKING:
    from trainer.polygons import Drawing

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
    """Values of --precision, in Lightning's words."""

    FP32 = "32-true"
    BF16 = "bf16-mixed"
    FP16 = "16-mixed"


def train(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Checkpoint; rewritten at every validation.", metavar="FILE")
    ] = Path("runs/model.safetensors"),
    minutes: Annotated[
        float | None, typer.Option(min=0.01, help="Stop by the clock.", show_default="30, unless --steps is given")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Stop after so many optimizer steps.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Data set to train on.", show_default="drawings generated on the fly", metavar="DIR"),
    ] = None,
    initial: Annotated[
        Path | None, typer.Option(help="Start from this checkpoint, which decides the architecture.", metavar="FILE")
    ] = None,
    network: Annotated[Network, typer.Option(help="base: 64-128-256-512-1024; small: a quarter.")] = Network.SMALL,
    conditioning: Annotated[
        ConditioningName, typer.Option(help="rgb: any color; vocabulary: twenty named ones.")
    ] = ConditioningName.RGB,
    precision: Annotated[Precision, typer.Option(help="bf16 is faster on CPUs that have it.")] = Precision.FP32,
    learning_rate: Annotated[float, typer.Option(min=1e-8, max=0.5, help="Peak of the cosine schedule.")] = 3e-3,
    batch_size: Annotated[int, typer.Option("-b", "--batch-size", min=2, max=4096, help="At 128 pixels.")] = 16,
    seed: Annotated[int, typer.Option(min=0, help="The same seed and steps give the same weights.")] = 0,
    validate_every: Annotated[int, typer.Option(min=1, help="Steps between validations.")] = 500,
    workers: Annotated[int, typer.Option(min=0, max=64, help="Processes that draw.")] = 1,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Train a conditional UNet and write its checkpoint."""
    console.set(verbose=verbose, quiet=quiet)

    from trainer.checkpoint import load_checkpoint
    from trainer.dataset import SizedBatch
    from trainer.model import BASE_CHANNELS, SMALL_CHANNELS, ModelConfig
    from trainer.polygons import DrawingConfig
    from trainer.train import TrainConfig
    from trainer.train import train as run
    from trainer.vocabulary import VOCABULARY

    start = load_checkpoint(initial) if initial else None
    if start:
        model = start.model.config
    else:
        model = ModelConfig(
            channels=BASE_CHANNELS if network is Network.BASE else SMALL_CHANNELS,
            conditioning=conditioning.value,
            palette=VOCABULARY if conditioning is ConditioningName.VOCABULARY else (),
        )
    pairs = _load_pairs(data, model.size_multiple) if data else None
    mix: tuple[SizedBatch, ...] = (
        SizedBatch(size=64, batch_size=batch_size * 9 // 4),
        SizedBatch(size=128, batch_size=batch_size),
    )
    if pairs:
        mix = (SizedBatch(size=pairs[0].image.shape[0], batch_size=batch_size),)
    config = build(
        TrainConfig,
        output=output,
        model=model,
        drawings=DrawingConfig(palette=tuple(rgb for _, rgb in model.palette)),
        mix=mix,
        initial=start,
        steps=steps,
        minutes=minutes if minutes or steps else 30.0,
        learning_rate=learning_rate,
        precision=precision.value,
        seed=seed,
        validate_every=validate_every,
        workers=workers,
    )
    result = run(config, pairs=pairs, report=console.info)
    if not quiet:
        console.data(
            f"{result.output}: {result.steps} steps, {result.images} images, {result.minutes:.1f} min, "
            f"validation PSNR {result.validation_psnr_db:.2f} dB; "
            f"next: polyexport export {result.output}"
        )


def _load_pairs(folder: Path, multiple: int) -> "list[Drawing]":
    from polyexport.dataset import read_pair, read_pairs
    from trainer.polygons import Drawing

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
