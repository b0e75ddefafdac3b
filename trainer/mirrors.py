"""Trackers that show a training in Weights & Biases or TensorBoard; each implements ``trainer.tracking.Tracker``."""

import contextlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyexport.errors import UsageError, reason_of
from polyexport.storage.files import read_limited, write_atomic

__all__ = ["TensorBoardMirror", "WandbMirror", "missing"]

_WANDB_PROJECT = "polyexport"
"""Project of Weights & Biases, unless the environment variable WANDB_PROJECT names another."""

_WANDB_START_TIMEOUT_S = 30.0
"""Longest wait for an answer of the service at the start."""

_WANDB_FINISH_TIMEOUT_S = 120.0
"""Longest wait for unfinished uploads at the end; `wandb sync` uploads the rest later."""


class WandbMirror:
    """Mirror in a run of Weights & Biases, whose files are in ``<folder>/wandb``."""

    def __init__(
        self, folder: Path, config: Mapping[str, Any], name: str, resumed_step: int | None, *, offline: bool
    ) -> None:
        try:
            import wandb
        except ImportError as error:
            raise missing("wandb") from error
        self.wandb = wandb
        run_id = secrets.token_hex(4)
        identity = folder / "wandb" / "run-id"
        if resumed_step is not None and identity.is_file():
            with contextlib.suppress(OSError):  # without its id, the training becomes a second run
                run_id = read_limited(identity, 64).decode(errors="replace").strip()
        try:
            # Without `silent`, login() prints where its key comes from. WANDB_MODE or `wandb offline` set the mode.
            session = wandb.setup(wandb.Settings(silent=True)).settings
            online = not offline and session.mode in ("online", "shared")
            # Without credentials, init() would prompt for them.
            if online and not wandb.login(prompt=False, verify=False):
                raise UsageError(
                    "Weights & Biases has no account on this machine",
                    remedy="run `wandb login`, or track offline (WANDB_MODE=offline)",
                )
            self.run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", _WANDB_PROJECT),
                dir=folder,
                id=run_id,
                name=name,
                config=dict(config),
                mode="offline" if offline else None,
                # Offline, `wandb sync` joins the parts of one id later, in the order of their start.
                resume="allow" if online and resumed_step is not None else None,
                reinit="create_new",
                settings=wandb.Settings(
                    silent=True,
                    console="off",  # otherwise wandb captures and uploads standard output
                    init_timeout=_WANDB_START_TIMEOUT_S,
                    finish_timeout=_WANDB_FINISH_TIMEOUT_S,
                ),
            )
        except wandb.Error as error:
            raise UsageError(
                f"Weights & Biases cannot start ({reason_of(error)})", remedy="track offline (WANDB_MODE=offline)"
            ) from error
        write_atomic(identity, run_id.encode())

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Send values after ``step`` optimizer steps."""
        self.run.log(dict(values), step=step)

    def images(self, step: int, name: str, grid: NDArray[np.uint8]) -> None:
        """Send one picture, uint8 [H, W, 3], RGB."""
        self.run.log({name: self.wandb.Image(grid)}, step=step)

    def card(self, text: str, scores: Mapping[str, float]) -> None:
        """Send the model card of the finished model, Markdown, and its best scores."""
        card = Path(self.run.dir) / "card.md"
        card.write_text(text, encoding="utf-8")
        self.run.save(card, base_path=self.run.dir, policy="now")
        self.run.notes = text  # shown as Markdown on the overview page of the run
        self.run.summary.update({f"best/{metric}": score for metric, score in scores.items()})

    def close(self, *, failed: bool = False) -> None:
        """End the mirror of this training."""
        self.run.finish(exit_code=int(failed))


class TensorBoardMirror:
    """Mirror in the event files of TensorBoard, in ``<folder>/tensorboard``."""

    def __init__(self, folder: Path, config: Mapping[str, Any], resumed_step: int | None) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise missing("tensorboard") from error
        self.last_step = -1 if resumed_step is None else resumed_step
        # Events of an earlier training, or of repeated steps, stay in their files; purge_step hides them.
        self.writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=self.last_step + 1)
        self.writer.add_text("config", _preformatted(config), self.last_step + 1)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Send values after ``step`` optimizer steps."""
        self.last_step = step
        for metric, value in values.items():
            self.writer.add_scalar(metric, value, step)

    def images(self, step: int, name: str, grid: NDArray[np.uint8]) -> None:
        """Send one picture, uint8 [H, W, 3], RGB."""
        self.writer.add_image(name, grid, step, dataformats="HWC")
        self.writer.flush()

    def card(self, text: str, scores: Mapping[str, float]) -> None:
        """Send the model card of the finished model, Markdown, and its best scores."""
        self.writer.add_text("card", text, self.last_step)
        self.writer.add_text("scores", _preformatted(scores), self.last_step)

    def close(self, *, failed: bool = False) -> None:
        """End the mirror of this training."""
        self.writer.close()


def missing(extra: str, *, package: str = "") -> UsageError:
    """Return the error for a package that is not installed.

    Args:
        extra: The extra of polyexport that installs the package.
        package: Name of the package, if it differs from the extra's.
    """
    return UsageError(f"{package or extra} is not installed", remedy=f"pip install 'polyexport[{extra}]'")


def _preformatted(value: Mapping[str, Any]) -> str:
    """Format a mapping as JSON in a Markdown code block."""
    return "\n".join(f"    {line}" for line in json.dumps(dict(value), indent=2).splitlines())
