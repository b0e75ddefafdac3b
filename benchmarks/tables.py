"""Redraw every table and chart of docs/ that shows figures, from the recorded results.

    python benchmarks/tables.py            # writes the pages of PAGES and docs/frontier.svg
    python benchmarks/tables.py --check    # exit code 1 if they show anything else

A part that is made here stands between <!-- figures: NAME --> and <!-- end -->.
"""

import argparse
import json
import re
import sys
import textwrap
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from polyexport.bench.charts import frontier_plot
from polyexport.bench.document import BenchReport, Compared, read_report

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"

MACHINE, DATE = "xeon-amx-2core", "2026-11-24"
"""Machine and date of the recorded runs that docs/performance.md shows."""

_INSTRUCTIONS = {"epyc-avx2-2core": "AVX2", "epyc-zen4-2core": "VNNI"}
"""What multiplies int8 on the machines of the records of `throughput.py` and `cold_start.py`."""

_FASTEST = "epyc-zen4-2core"
"""The machine on which the loops of `throughput.py` are fastest; the README shows its figures."""

INK = "#767778"  # readable on white and on black

_NOTHING = "No run has been recorded yet.\n"
_PART = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def performance() -> str:
    """polyexport and the others on the same work, one image a call."""
    lines = [
        "| network | precision, provider | `polyexport` | limit | PyTorch eager | torch.compile | OpenVINO |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for network in ("small", "base"):
        for size in (128, 256):
            for precision in ("fp32", "int8"):
                report = _recorded(f"{network}-{size}_{precision}")
                ours, *others = report.compared
                by_name = {one.name: one for one in others}
                cells = [_ratio(by_name[name]) for name in ("torch", "torch-compile", "openvino")]
                share = "–" if report.rows[0].limit_fraction is None else f"{report.rows[0].limit_fraction:.2f}"  # noqa: RUF001
                provider = report.model.multiplied.split()[0]
                lines.append(
                    f"| `{network}`, {size} | {precision}, {provider} | {_ms(ours.p50_ms)} | {share} | "
                    f"{' | '.join(cells)} |"
                )
    return "\n".join(lines) + "\n"


def parity() -> str:
    """How far the outputs of those runs are from PyTorch's, and the sums of work and limit."""
    reports = [
        _recorded(f"{network}-{size}_{precision}")
        for network in ("small", "base")
        for size in (128, 256)
        for precision in ("fp32", "int8")
    ]
    by_precision = {
        precision: max(
            report.compared[0].mean_difference or 0 for report in reports if report.model.precision == precision
        )
        for precision in ("fp32", "int8")
    }
    rates: dict[str, list[float]] = {}
    for report in reports:
        for limit in report.limits:
            rates.setdefault(f"{limit.provider} {limit.precision}", []).append(limit.gflop_per_s)
    used = sorted({report.model.multiplied for report in reports})
    told = ", ".join(f"{name} {min(rates[name]):.0f} to {max(rates[name]):.0f}" for name in used)
    fp32, int8 = by_precision["fp32"], by_precision["int8"]
    return (
        f"`polyexport`'s outputs are {fp32:.2f} (fp32) and {int8:.2f} (int8) of 255 levels off PyTorch's on average, "
        f"at most. Rates at\nwhich matrices were multiplied in these runs, GFLOP/s: {told}.\n"
    )


def pools() -> str:
    """polyexport and the competent loops on many images in memory, on all cores."""
    names = {"onnxruntime-pool": "pool around ONNX Runtime", "openvino-queue": "OpenVINO's queue"}
    lines = [
        f"| network | precision, provider | `polyexport`, images/s | {' | '.join(names.values())} |",
        f"| --- | --- | --- | {' | '.join('---' for _ in names)} |",
    ]
    for path in sorted(RESULTS.glob("pools_*.json")):
        report = read_report(path)
        group = {one.name: one for one in report.compared if one.work == "throughput"}
        if not group:
            continue
        cells = [_ratio(group[name]) if name in group else "" for name in names]
        rate = f"{1e3 / median(group['polyexport'].block_ms):.0f}"
        network, _, size = path.name.split("_")[1].rpartition("-")
        what = f"`{network}`, {size} | {report.model.precision}, {report.model.execution_provider}"
        lines.append(f"| {what} | {rate} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""]) if len(lines) > 2 else _NOTHING


def folder() -> str:
    """`polyexport infer` beside the loops of `benchmarks/rivals/`, from a folder of files to another."""
    runs = _throughput()
    if not runs:
        return _NOTHING
    lines = [
        "| pictures, model, int8 by | program | images/s | CPU ms an image | time over `infer`'s | mean levels apart |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for (machine, size, provider), run in runs.items():
        for number, one in enumerate(run["compared"]):
            name = f"infer --provider {provider}" if not number else one["name"]
            name = f"`{name}`" if name.startswith("infer") else f"`benchmarks/rivals/{name}`"
            ratio = _interval(one["ratio"]) if one["ratio"] else ""
            rate = f"{1e3 / median(one['block_ms']):.0f} | {one['cpu_ms']:.2f}"
            apart = f"{one['mean_difference']:.2f}" if number else ""
            what = "" if number else f"{run['images']:,} of {size}x{size}, `{run['model']}`, {_INSTRUCTIONS[machine]}"
            lines.append(f"| {what} | {name} | {rate} | {ratio} | {apart} |")
    return "\n".join([*lines, ""])


def speed() -> str:
    """The README's sentence about speed."""
    runs = _throughput()
    told = []
    for provider, rival in (
        ("cpu", "a pool of threads around ONNX Runtime"),
        ("openvino", "OpenVINO's asynchronous queue"),
    ):
        found = [(size, run) for (machine, size, by), run in runs.items() if (machine, by) == (_FASTEST, provider)]
        for size, run in found[:1] + found[1:][-1:]:  # the smallest and the largest
            *others, loop = run["compared"]
            ratio = _interval(loop["ratio"])
            rate = f"{ratio} on" if size > found[0][0] else f"{ratio} times the rate of {rival} on"
            same = "".join(f" ({_pace(loop, one):.2f} with `--size {size}`)" for one in others[1:])
            told.append(f"{rate} {run['images']:,} pictures of {size}x{size}{same}")
    measured = (
        " It looks at drawings on [a small canvas first](docs/decisions/0051-a-first-look-on-a-small-canvas.md), and "
        "settles those without gaps with that. With a journal and synced files on top, it runs at "
        f"{', and at '.join(told)}; in parentheses with the canvas of the loops for every picture."
        if told
        else ""
    )
    text = (
        "- **Speed.** `infer` keeps every core at work, with batches and threads that suit the runtime; "
        f"`pip install '.[openvino]'` brings a faster one.{measured} [docs/performance.md](docs/performance.md) has "
        "the figures. No GPU has been measured yet."
    )
    return textwrap.fill(text, 150, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False) + "\n"


def _pace(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Return the time of one program divided by that of another one of the same rounds."""
    return float(median(one["block_ms"]) / median(other["block_ms"]))


def network_quality() -> str:
    """Cost and quality of networks that fill drawings."""
    recorded = _json("network_quality.json")["rows"]
    sets = list(dict.fromkeys(row["data"] for row in recorded))
    lines = [
        "| network | precision, provider | " + " | ".join(sets) + " |",
        "| --- | --- | " + " | ".join("---" for _ in sets) + " |",
    ]
    kinds = dict.fromkeys((row["network"], row["precision"], row["provider"], row["first_look"]) for row in recorded)
    looking = {row["network"] for row in recorded if row["first_look"]}
    for kind in kinds:
        cells = []
        for data in sets:
            keys = ("network", "precision", "provider", "first_look")
            [row] = [one for one in recorded if one["data"] == data and tuple(one[key] for key in keys) == kind]
            settled = f", {row['settled'] / row['drawings']:.0%} settled" if row["first_look"] else ""
            cells.append(f"{row['cpu_ms']:.1f} ms, {row['psnr_db']:.2f} dB, {row['wrong']} wrong{settled}")
        network, precision, provider, first_look = kind
        what = f"`{network}`" + (", full canvas alone" if network in looking and not first_look else "")
        lines.append(f"| {what} | {precision}, {provider} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def start_and_memory() -> str:
    """Time of the first image, and memory of many."""
    cold = _json(f"cold_start_small-int8_cpu_{MACHINE}_{DATE}.json")
    peaks = _json(f"memory_small-int8_cpu_{MACHINE}_{DATE}.json")["peaks"]
    few, many = (peaks[f"{count} images, from nothing"]["sum_mib"] for count in (500, 20000))
    return (
        f"One image from nothing takes {cold['p50_difference_s']:.2f} s more than importing ONNX Runtime, NumPy and "
        f"Pillow (p50 of {len(cold['infer_s'])}). Memory is {few:.0f} MiB for\n500 images, {many:.0f} MiB for 20,000, "
        "decoders included.\n"
    )


def compiled() -> str:
    """Time of the first image with OpenVINO's compiled model in the cache folder, and without."""
    lines = [
        "| model, int8 by | provider | with the cache: p50, processor time | without | bare imports |",
        "| --- | --- | --- | --- | --- |",
    ]
    for path in sorted(RESULTS.glob("cold_start_*_openvino_*.json")):
        found = _json(path.name)
        cells = [
            f"{found['p50'][name]['wall_s']:.2f} s, {found['p50'][name]['cpu_s']:.2f} s"
            for name in ("cached", "uncached", "import")
        ]
        model = f"`{found['model'].removesuffix('.onnx')}`, {_INSTRUCTIONS[path.stem.split('_')[-2]]}"
        lines.append(f"| {model} | {found['provider']} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def cluster() -> str:
    """Ray beside the local engine, whole and with losses."""
    recorded = _json("cluster.json")
    lines = [
        "| run | images/s | reported, each once | ok | same bytes | temporary files |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    labels = {"local": "the engine of one machine", "ray": "Ray, two machines of one core"}
    for name, run in recorded["runs"].items():
        label = labels.get(name, f"Ray, {name} on the way")
        same = "yes" if run["same_bytes"] else "NO"
        counts = f"{run['reported_once']} of {run['reported']} | {run['ok']} | {same} | {run['temporary_files']}"
        lines.append(f"| {label} | {run['images_per_s']:.0f} | {counts} |")
    return "\n".join([*lines, ""])


def service() -> str:
    """The service under load, and its end."""
    recorded = _json("service.json")
    lines = [
        "| batches | requests/s | p50 | p99 | memory before, peak, after | wrong images | unexpected answers, lost |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, label in (("unbatched", "of one"), ("batched", "of up to eight")):
        run = recorded[name]
        memory = ", ".join(f"{run[f'rss_{when}_mib']:.0f}" for when in ("before", "peak", "after"))
        times = f"{run['p50_ms']:.0f} ms | {run['p99_ms']:.0f} ms"
        bad = f"{run['unexpected_answers']}, {run['lost']}"
        lines.append(
            f"| {label} | {run['requests_per_s']:.0f} | {times} | {memory} MiB | {run['wrong_images']} | {bad} |"
        )
    stop = recorded["stop"]
    told = (
        f"Told to stop under that load it ended in {stop['seconds']:.1f} s: {stop['lost']} accepted requests lost, "
        f"{stop['turned_away']} new connections turned\naway, {stop['processes_left']} processes left, its port free.\n"
    )
    return "\n".join([*lines, "", told])


def page() -> str:
    """The model in a browser, beside the same runtime outside of it."""
    recorded = _json("page.json")
    lines = [
        "| model | threads | in the page, p50 | p90 | outside of it, p50 | times as long | values that differ |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in recorded["rows"]:
        inside, outside = row["page_ms"], row["native_ms"]
        parts = f"{1e6 * row['different_values'] / row['values']:.0f} in a million, by {row['max_difference']}"
        lines.append(
            f"| `{row['model']}` | {row['threads']} | {_ms(inside['p50'])} | {_ms(inside['p90'])} | "
            f"{_ms(outside['p50'])} | {row['ratio_p50']:.1f} | {parts if row['different_values'] else 'none'} |"
        )
    machine = recorded["environment"]
    told = (
        f"{recorded['runtime']} in Chromium {recorded['chromium'].split('.')[0]}, headless, on "
        f"{machine['cores_granted']} cores of an {machine['cpu'].removesuffix(' Processor')}, "
        f"{recorded['size']}x{recorded['size']} pixels, {recorded['rows'][0]['runs']} runs each.\n"
    )
    return "\n".join([*lines, "", told])


def networks() -> str:
    """The shipped network beside the one before it, one call on one thread."""
    recorded = _json("network_times.json")
    sizes = sorted({row["size"] for row in recorded["rows"]})
    lines = [
        f"| network | provider | {' | '.join(f'{size} pixels' for size in sizes)} |",
        f"| --- | --- | {' | '.join('---' for _ in sizes)} |",
    ]
    by_row: dict[tuple[str, str], dict[int, str]] = {}
    for row in recorded["rows"]:
        ratio = "" if row["model"].startswith("before/") else f" ({row['ratio']:.2f})"
        by_row.setdefault((row["model"], row["provider"]), {})[row["size"]] = f"{_ms(row['ms'])}{ratio}"
    for (model, provider), times in by_row.items():
        name = f"`{Path(model).stem}`" + (" before" if model.startswith("before/") else "")
        lines.append(f"| {name} | {provider} | {' | '.join(times[size] for size in sizes)} |")
    return "\n".join([*lines, ""])


def edges() -> str:
    """Time and memory of the exact edges of a fill."""
    rows = _json("edges.json")["rows"]
    sizes = sorted({row["size"] for row in rows})
    lines = [
        f"| kind of drawing | {' | '.join(str(size) for size in sizes)} |",
        f"| --- | {' | '.join('---' for _ in sizes)} |",
    ]
    for kind in dict.fromkeys(row["kind"] for row in rows):
        found = {row["size"]: row for row in rows if row["kind"] == kind}
        cells = [
            f"{1e3 * found[size]['us_per_pixel']:.0f} ns, {found[size]['growth_bytes_per_pixel']:.0f} bytes"
            for size in sizes
        ]
        lines.append(f"| `{kind}` | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def zoo_spandrel() -> str:
    """Architectures of spandrel, and what became of their files."""
    return _zoo("zoo_spandrel.json")


def zoo_masks() -> str:
    """Networks that find masks, and what became of them."""
    return _zoo("zoo_masks.json")


def _zoo(name: str) -> str:
    path = RESULTS / name
    rows: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    lines = [
        f"{sum(row['inferred'] for row in rows)} of {len(rows)} export and run.",
        "",
        "| network | exported | run | takes | gives | sizes | batch | largest difference |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        if not row["exported"]:
            lines.append(f"| {row['name']} | no: {row['reason'].replace('|', '/')} | | | | | | |")
            continue
        ran = "yes" if row["inferred"] else f"no: {row['reason'].replace('|', '/')}"
        batch = "one" if row["batch_one"] else "any"
        cells = (row["name"], "yes", ran, row["takes"], row["gives"], row["sizes"], batch, f"{row['max_abs_diff']:.1e}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def search() -> str:
    """The search for depth, widths and training mix."""
    lines = [
        "| candidate | seed | steps | images | 128 pixels | wrong | 256 pixels | wrong |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for path in sorted(RESULTS.glob("search_*.json")):
        recorded = _json(path.name)
        for row in recorded["results"]:
            cells = [f"{row[size]['psnr_db']:.1f} dB | {row[size]['wrong']:.0%}" for size in ("128", "256")]
            counts = f"{recorded['seed']} | {row['steps']:,} | {row['images']:,}"
            lines.append(f"| {row['name']} | {counts} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


PARTS: dict[str, Callable[[], str]] = {
    "performance": performance,
    "parity": parity,
    "pools": pools,
    "folder": folder,
    "compiled": compiled,
    "speed": speed,
    "start_and_memory": start_and_memory,
    "cluster": cluster,
    "service": service,
    "page": page,
    "networks": networks,
    "network_quality": network_quality,
    "edges": edges,
    "search": search,
    "zoo_masks": zoo_masks,
    "zoo_spandrel": zoo_spandrel,
}
PAGES = (
    "README.md",
    "docs/performance.md",
    "docs/experiments.md",
    "docs/ray.md",
    "docs/serve.md",
    "docs/demo.md",
    "docs/public-networks.md",
)


def redrawn(text: str) -> str:
    """A text with its parts made anew."""
    return _PART.sub(lambda found: found[1] + PARTS[found[2]]() + found[3], text)


def frontier_svg() -> str:
    """The frontier as a picture of its own."""
    plot = str(frontier_plot(_recorded("frontier", pattern=f"frontier_all_all_{MACHINE}_{DATE}.json").variants))
    return plot.replace("currentColor", INK) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    made = {
        **{ROOT / page: redrawn((ROOT / page).read_text()) for page in PAGES},
        ROOT / "docs" / "frontier.svg": frontier_svg(),
    }
    wrong = [path for path, text in made.items() if not path.exists() or path.read_text() != text]
    if check:
        sys.exit(f"not as recorded: {', '.join(map(str, wrong))}" if wrong else 0)
    for path in wrong:
        path.write_text(made[path])


def _recorded(name: str, pattern: str = "") -> BenchReport:
    (path,) = RESULTS.glob(pattern or f"{name}_*_{MACHINE}_{DATE}.json")
    return read_report(path)


def _throughput() -> dict[tuple[str, int, str], dict[str, Any]]:
    """Runs of all records of `throughput.py` by machine, size and provider; of equal ones, that of the last file."""
    found: dict[tuple[str, int, str], dict[str, Any]] = {}
    for path in sorted(RESULTS.glob("throughput_*.json")):
        recorded, machine = _json(path.name), path.stem.split("_")[-2]
        for run in recorded["runs"]:
            told = {"images": recorded["images"], "model": recorded["model"].removesuffix(".onnx")}
            found[machine, run["size"], run["provider"]] = run | told
    return dict(sorted(found.items()))


def _json(name: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((RESULTS / name).read_text())
    return value


def _ms(value: float | None) -> str:
    return "UNSTABLE" if value is None else f"{value:.3g} ms"


def _ratio(one: Compared) -> str:
    assert one.ratio is not None  # of pairs: it holds on a machine that changes its pace
    return _interval(asdict(one.ratio))


def _interval(value: dict[str, float]) -> str:
    return f"{value['estimate']:.2f} ({value['low']:.2f} to {value['high']:.2f})"


if __name__ == "__main__":
    main()
