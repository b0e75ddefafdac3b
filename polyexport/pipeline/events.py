"""Events of a run: what a program or the command line is told on the way, as typed values."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from polyexport.pipeline.results import ItemResult, RunReport
from polyexport.storage.stores import Url

if TYPE_CHECKING:
    from polyexport.model.tile_difference import TileDifference

__all__ = [
    "Event",
    "ImageFinished",
    "NotificationsFailed",
    "OnEvent",
    "ProviderChosen",
    "RunFinished",
    "RunStarted",
    "TilesDiffer",
    "WatchWaiting",
    "ignore_event",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunStarted:
    """First event: the output folder is locked, and nothing has been decoded yet."""

    inputs: int
    """Number of inputs; for a watch, of those that its folder holds at the start."""

    outputs: int
    """Number of outputs of these inputs, with those that an earlier run has made."""

    output: Path | Url
    """Output folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderChosen:
    """The model is loaded."""

    execution_provider: str
    """Execution provider that runs the model, such as ``CPUExecutionProvider``."""

    fallback_reason: str
    """Why ``auto`` took no better provider; empty if there is nothing to say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TilesDiffer:
    """Large images are cut into tiles that do not give the result of the whole image."""

    difference: "TileDifference"
    """Difference on a sample."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFinished:
    """One input has its final state, and its outputs have their final names."""

    result: ItemResult


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchWaiting:
    """A watch has finished everything that was there, and waits for files."""

    folder: Path
    """Watched folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NotificationsFailed:
    """The system does not tell a watch of changes, so that it finds them only by listing the folder."""

    reason: str
    """Error of the system, in one line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFinished:
    """Last event of a run that ended without an error, also of one that was cancelled."""

    report: RunReport


Event = RunStarted | ProviderChosen | TilesDiffer | ImageFinished | WatchWaiting | NotificationsFailed | RunFinished
"""Any event of a run. Later versions may add further ones."""

OnEvent = Callable[[Event], None]
"""Function that is told of each event, from the thread that called the run. An exception that it raises ends the run as
an interrupt does, and propagates."""


def ignore_event(event: Event) -> None:
    """Do nothing with an event."""
