"""Results of a reduced precision on a user's images, compared with those of the fp32 graph that it was made from."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from polyexport.export.precision.precision import ImageGate
from polyexport.export.proof.examples import stacked
from polyexport.export.proof.own_images import OwnImages, Tile, tiles
from polyexport.export.proof.parity import CPU_OPTIONS, Candidate
from polyexport.export.source.source import Source
from polyexport.imaging.pixels import Pixels
from polyexport.imaging.psnr import psnr_db
from polyexport.imaging.ssim import ssim
from polyexport.model.certificate import ImageFidelity
from polyexport.model.result import ResultKind
from polyexport.runtime.open import open_session
from polyexport.runtime.session import SessionOptions

__all__ = ["ImageTest"]

_PROBES = 3
"""Images on which the sensitivity of single layers is measured."""

_HALF = 128


@dataclass(slots=True)
class _Agreement:
    """Sums over all images of what is equal; see ``ImageFidelity.agreement``."""

    same: int = 0
    all: int = 0

    @property
    def fraction(self) -> float:
        return self.same / self.all if self.all else 1.0

    def add(self, own: Pixels, fp32: Pixels, kind: ResultKind) -> None:
        if kind == "labels":
            self.same += int(np.count_nonzero((own == fp32).all(axis=2)))
            self.all += own.shape[0] * own.shape[1]
        else:
            self.same += int(np.count_nonzero((own >= _HALF) & (fp32 >= _HALF)))
            self.all += int(np.count_nonzero((own >= _HALF) | (fp32 >= _HALF)))


class ImageTest:
    """Images of a user, or others, on which graphs are compared with the fp32 graph."""

    def __init__(
        self,
        source: Source,
        fp32: Candidate,
        own: OwnImages,
        options: SessionOptions = CPU_OPTIONS,
        *,
        calibrated: bool = False,
        result: ResultKind | None = None,
    ) -> None:
        """Set up the comparison.

        Args:
            source: The network.
            fp32: The graph to measure against; every other graph has the same inputs.
            own: The images; at least two.
            options: Execution provider that the graphs run on.
            calibrated: Every second image is set apart for calibration, and graphs are compared on the others.
            result: What the network's output is; None for what the source says.
        """
        self._source, self._options, self._fp32, self._own = source, options, fp32, own
        self._calibrated = calibrated
        self._latest: tuple[bytes, list[Pixels]] | None = None
        self.kind: ResultKind = result or source.result.kind

    @cached_property
    def _tiles(self) -> list[Tile]:
        return tiles(self._source, self._own)

    @property
    def _judged(self) -> list[Tile]:
        return self._tiles[::2] if self._calibrated else self._tiles

    @cached_property
    def _fp32_results(self) -> list[Pixels]:
        return self._results(self._fp32.model)

    def feeds(self, batch: int) -> dict[str, NDArray[Any]]:
        """Return the first image ``batch`` times as inputs of the graph."""
        return self._inputs(self._judged[:1] * batch)

    def calibration_feeds(self) -> list[dict[str, NDArray[Any]]]:
        """Return the images that graphs are not compared on, one by one, as inputs of the graph."""
        return [self._inputs([tile]) for tile in (self._tiles[1::2] if self._calibrated else self._tiles)]

    def probe_feeds(self) -> list[dict[str, NDArray[Any]]]:
        """Return a few of the images that graphs are compared on, one by one, as inputs of the graph."""
        step = max(1, len(self._judged) // _PROBES)
        return [self._inputs([tile]) for tile in self._judged[::step][:_PROBES]]

    def headroom_db(self, model: onnx.ModelProto, gate: ImageGate) -> float:
        """Return how many decibels the results of a graph have to spare before they miss a limit of a gate."""
        return gate.headroom_db(self.fidelity(model), self.kind)

    def fidelity(self, model: onnx.ModelProto) -> ImageFidelity:
        """Compare the results of a graph with those of the fp32 graph, without the padding of canvases."""
        near, alike, agreement = [], [], _Agreement()
        ratio = self._source.result.ratio
        for tile, *results in zip(self._judged, self._results(model), self._fp32_results, strict=True):
            inner = tuple(slice(0, max(1, int(side * ratio))) for side in tile.inner)
            own, fp32 = (result[inner] for result in results)
            near.append(psnr_db(own, fp32))
            alike.append(ssim(own, fp32))
            agreement.add(own, fp32, self.kind)
        decided = self.kind in ("mask", "alpha", "labels")
        return ImageFidelity(
            images=len(self._own.images),
            sha256=self._own.sha256,
            psnr_mean_db=round(float(np.mean(near)), 3),
            psnr_min_db=round(min(near), 3),
            ssim_mean=round(float(np.mean(alike)), 6),
            ssim_min=round(min(alike), 6),
            agreement=round(agreement.fraction, 6) if decided else None,
        )

    def _results(self, model: onnx.ModelProto) -> list[Pixels]:
        data = model.SerializeToString()
        if self._latest is not None and self._latest[0] == hashlib.sha256(data).digest():
            return self._latest[1]  # the last graph of a search is the one that is judged
        session = open_session(data, self._options)
        found = (session.run(self._fp32.output, self._inputs([tile])) for tile in self._judged)
        results = [result.reshape(result.shape[-3:]) for result in found]
        self._latest = hashlib.sha256(data).digest(), results
        return results

    def _inputs(self, chosen: Sequence[Tile]) -> dict[str, NDArray[Any]]:
        return self._fp32.feeds(*stacked([tile.example for tile in chosen]))
