"""The demo page beside the same runtime outside of a browser: `python benchmarks/page.py` writes results/page.json.

The page of `polyexport demo` runs in headless Chromium, on one thread and on several, with the shipped float32 model
and with its int8 export; in turn with it, the same drawings go through `Model` on as many threads. The times are those
that the page shows: canvas, input tensors, network, output in the size of the drawing. Every picture is compared.
"""

import base64
import io
import json
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import sync_playwright

from polyexport.bench.environment import environment
from polyexport.model.loading.load import load_model

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "page.json"
MODELS = ("small", "small-int8")
ROUNDS = 8
RUNS = 20  # of each round; the first of a round is not counted
COLOR = (255, 99, 71)


class Tab:
    """Browser tab with the demo page, on a number of threads."""

    def __init__(self, browser: Any, url: str, threads: int) -> None:
        self.tab = browser.new_context().new_page()
        self.tab.goto(url)
        self.settle()
        labels = self.tab.locator("#way option").all_inner_texts()
        wanted = "CPU (WASM), 1 thread" if threads == 1 else f"CPU (WASM), {threads} threads"
        self.tab.select_option("#way", index=labels.index(wanted))
        self.tab.wait_for_selector(f'#way[data-running="{wanted}"]')
        self.settle()

    def settle(self) -> None:
        """Wait until the shown result belongs to the current drawing."""
        while self.tab.get_attribute("#network", "data-revision") != self.tab.get_attribute(
            "#drawing", "data-revision"
        ):
            self.tab.wait_for_timeout(5)

    def run(self, example: int) -> float:
        """Take a drawing of the gallery, and return the milliseconds until its result."""
        before = self.tab.get_attribute("#drawing", "data-revision")
        self.tab.click(f"#examples button:nth-child({example + 1})")
        self.tab.wait_for_selector(f'#drawing:not([data-revision="{before}"])')
        self.settle()
        return float(self.tab.get_attribute("#network", "data-ms"))

    def pixels(self, name: str) -> NDArray[np.uint8]:
        """Pixels that a canvas shows, uint8 [H, W, 3]."""
        shown = self.tab.evaluate("name => document.getElementById(name).toDataURL('image/png')", name)
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(shown.partition(",")[2]))).convert("RGB"))


def measure(browser: Any, name: str, threads: list[int]) -> list[dict[str, Any]]:
    """Measure one model on each number of threads, in turn with the runtime outside of the browser."""
    path = ROOT / "artifacts" / f"{name}.onnx"
    command = [sys.executable, "-m", "polyexport.cli.main", "demo", "--port", "0", "--model", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        tabs = {count: Tab(browser, url, count) for count in threads}
        models = {count: load_model(path, provider="cpu", threads=count) for count in threads}
        page: dict[int, list[float]] = {count: [] for count in threads}
        native: dict[int, list[float]] = {count: [] for count in threads}
        differences: dict[int, list[NDArray[np.int16]]] = {count: [] for count in threads}
        for _ in range(ROUNDS):
            for count in threads:
                times, found = [], []
                for run in range(RUNS):
                    times.append(tabs[count].run(run % 10))
                    found.append((tabs[count].pixels("drawing"), tabs[count].pixels("network")))
                page[count] += times[1:]
                times = []
                for drawing, colored in found:
                    started = time.perf_counter()
                    [[expected]] = models[count].colorize([drawing], [COLOR])
                    times.append((time.perf_counter() - started) * 1e3)
                    differences[count].append(np.abs(expected.astype(np.int16) - colored))
                native[count] += times[1:]
        server.terminate()
    rows = []
    for count in threads:
        difference = np.stack(differences[count])
        rows.append(
            {
                "model": name,
                "threads": count,
                "runs": len(page[count]),
                "page_ms": {f"p{q}": float(np.percentile(page[count], q)) for q in (50, 90)},
                "native_ms": {f"p{q}": float(np.percentile(native[count], q)) for q in (50, 90)},
                "ratio_p50": float(np.median(page[count]) / np.median(native[count])),
                "pictures": len(difference),
                "max_difference": int(difference.max()),
                "different_values": int(np.count_nonzero(difference)),
                "values": int(difference.size),
            }
        )
    return rows


def main() -> None:
    """Measure, print and write the results."""
    machine = environment()
    threads = sorted({1, min(machine.cores_granted, 8)})
    rows: list[dict[str, Any]] = []
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=flags)
        for name in MODELS:
            rows += measure(browser, name, threads)
        version = browser.version
        browser.close()
    for row in rows:
        print(json.dumps(row))
    runtime = json.loads((ROOT / "polyexport" / "demo" / "runtime.json").read_text())
    record = {
        "size": 512,
        "chromium": version,
        "runtime": f"{runtime['package']} {runtime['version']}",
        "environment": asdict(machine),
        "rows": rows,
    }
    RESULTS.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
