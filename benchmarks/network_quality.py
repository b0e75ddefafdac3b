"""Networks that fill drawings, side by side: what a drawing costs them, and how good it becomes.

    python benchmarks/network_quality.py NAME=MODEL [NAME=MODEL ...] --data NAME=DIR [--data NAME=DIR ...] \\
        [--provider cpu --provider openvino] [--output FILE.json]

A NAME of a model is shown, such as `small` or `patches`. DIR is a data set, or a folder of some, as `polyexport
dataset --split all` writes them; their drawings count together.

Every drawing is run as `infer` does it by default, one after the other in one thread, and all models take turns on
each. CPU ms is the processor time of the network's calls, with what decides whether a first look is enough, a picture.
A model that looks at drawings on a smaller canvas first is also run without that (`--size` of its training size).
"""

import argparse
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from polyexport.bench.environment import environment
from polyexport.data.pairs import PairPixels, read_pair, read_splits
from polyexport.evaluate.masks import Counts, fill_mask
from polyexport.imaging.pixels import Pixels
from polyexport.imaging.psnr import psnr_db
from polyexport.model.canvas import CanvasRule
from polyexport.model.loading.load import load_model
from polyexport.model.model import Model
from polyexport.model.settings import setting_from

VERSION = 1
"""Version of the record, which `benchmarks/tables.py` reads."""


@dataclass
class Row:
    """One model on one provider and the drawings of one set."""

    network: str
    precision: str
    provider: str
    data: str
    first_look: bool
    model: Model = field(repr=False)
    rule: CanvasRule = field(repr=False)
    seconds: list[float] = field(default_factory=list)
    psnr: list[float] = field(default_factory=list)
    wrong: list[bool] = field(default_factory=list)
    settled: list[bool] = field(default_factory=list)
    same: list[bool] = field(default_factory=list)

    def add(self, pixels: PairPixels, color: tuple[int, int, int]) -> Pixels:
        """Run one drawing, and add what it cost and what became of it."""
        canvas = self.rule.place(pixels.image)
        setting = setting_from(self.model.conditions, {self.model.color_condition.name: color})
        started = time.process_time()
        [output] = self.model.run_canvases([canvas], [setting])
        self.seconds.append(time.process_time() - started)
        made = self.model.finish(canvas, output, setting)
        found, wanted = (fill_mask(image, color) for image in (made, pixels.colored))
        self.psnr.append(psnr_db(made, pixels.colored))
        self.settled.append(output.shape != canvas.pixels.shape)
        if found is not None and wanted is not None:  # a fill as light as paper cannot be judged
            self.wrong.append(bool(Counts.of(found, wanted).metrics()["wrong"]))
        return made

    def entries(self) -> dict[str, Any]:
        """Return what is recorded."""
        return {
            "network": self.network,
            "precision": self.precision,
            "provider": self.provider,
            "data": self.data,
            "first_look": self.first_look,
            "drawings": len(self.psnr),
            "cpu_ms": round(1e3 * fmean(self.seconds), 3),
            "psnr_db": round(fmean(self.psnr), 2),
            "wrong": sum(self.wrong),
            "settled": sum(self.settled),
            "same_bytes": sum(self.same),
        }


def rows_of(models: Sequence[tuple[str, str]], provider: str, data: str) -> Iterator[Row]:
    """Open the models on a provider: each as it is run by default, and without its first look if it has one."""
    for network, path in models:
        model = load_model(path, provider=provider, threads=1)
        contract = model.contract
        rule = contract.canvas_rule()
        for chosen in [rule] + [contract.canvas_rule(contract.training_size)] * bool(rule.first_look):
            yield Row(network, contract.precision, provider, data, bool(chosen.first_look), model, chosen)


def measure(models: Sequence[tuple[str, str]], provider: str, data: str, folder: Path) -> list[dict[str, Any]]:
    """Run every drawing of a set by every model, in turn."""
    rows = list(rows_of(models, provider, data))
    page = np.full((128, 128, 3), 255, np.uint8)
    for row in rows:
        setting = setting_from(row.model.conditions, {row.model.color_condition.name: "red"})
        row.model.run_canvases([row.rule.place(page)], [setting])  # the first call allocates
    for number, pair in enumerate(each for split in read_splits([folder]).values() for each in split):
        pixels, turn = read_pair(pair), number % len(rows)
        made = {id(row): row.add(pixels, pair.color.rgb) for row in rows[turn:] + rows[:turn]}
        for row, full in itertools.pairwise(rows):
            if row.first_look:
                row.same.append(row.settled[-1] and np.array_equal(made[id(row)], made[id(full)]))
    found = [row.entries() for row in rows]
    for entries in found:
        print(*entries.values(), sep="\t", flush=True)
    return found


def main() -> None:
    """Measure, print, and record if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="NAME=MODEL")
    parser.add_argument("--data", action="append", required=True, metavar="NAME=DIR")
    parser.add_argument("--provider", action="append")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    models = [tuple(one.split("=", 1)) for one in given.models]
    rows = [
        row
        for name, folder in (one.split("=", 1) for one in given.data)
        for provider in given.provider or ["cpu"]
        for row in measure(models, provider, name, Path(folder))
    ]
    if given.output:
        report = {"network_quality": VERSION, "environment": asdict(environment()), "rows": rows}
        given.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
