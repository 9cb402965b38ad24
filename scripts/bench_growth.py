"""How the cost of capture grows with the image and with the number of words, on one layer of joint attention.

    python scripts/bench_growth.py                  # 256 to 16384 image places; 1 to 512 columns
    python scripts/bench_growth.py --device cuda --dtype bfloat16 --heads 24

One column is one token of the text. Per number of image places and columns it says how long the attention call takes,
how long the columns take that capture adds to it, and of these the product of queries and watched keys by itself; and
how much more memory the call needs at its peak. Columns are timed apart from the kernel, which is the same with and
without them: the difference of two long calls would drown in noise. Every round runs all variants in turn; times are
medians over the rounds, of processor time on a CPU. Prints two tables; writes `bench_growth.json` and
`bench_growth.png` into --out.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from benchmarks.interleaving import interleave
from benchmarks.memory import peak_bytes
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from promptattn.core import Columns, attention, explain_kernel
from promptattn.core.columns import columns_from_lse
from promptattn.core.kernels import KERNELS, run_with_lse
from promptattn.core.logits import Scores

PLACES = (256, 1024, 4096, 16384)
COLUMNS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
FEW, SOME, ALL = 4, 77, 333  # four words; one CLIP's rows; those of Stable Diffusion 3
TEXT = 512


@dataclass(frozen=True)
class Point:
    """One measurement. Seconds are of one call, bytes of the peak.

    places, columns: the image's rows, and the text's that are watched.
    attention: the call without capture; extra: the columns that capture adds to it.
    product: `<q_i, k_j>` of the image's queries with the watched keys, and nothing else.
    growth: what capture adds to the memory of the call at its peak, its result included; kept: the result itself.
    """

    places: int
    columns: int
    attention: float
    extra: float
    product: float
    growth: int
    kept: int

    def counted(self) -> float:
        """The multiplications of the watched columns over those of the whole attention: the bound of the overhead."""
        length = self.places + TEXT
        return (self.places * self.columns) / (2 * length * length)


def measure(places: int, columns: Sequence[int], arguments: argparse.Namespace) -> list[Point]:
    """The points of one image size, measured together."""
    device, dtype = arguments.device, getattr(torch, arguments.dtype)
    generator = torch.Generator().manual_seed(0)
    # As models hand them over: `[batch, row, head, dim]`, seen as `[batch, head, row, dim]`; the image stands first.
    shape = (3, 1, places + TEXT, arguments.heads, arguments.dim)
    query, key, value = torch.randn(shape, generator=generator).to(device, dtype).transpose(2, 3)
    calls: dict[str, Callable[[], object]] = {"attention": lambda: scaled_dot_product_attention(query, key, value)}
    for count in columns:
        calls[f"columns {count}"] = _columns(query, key, value, places, count)
        calls[f"product {count}"] = _product(query, key, places, count)
    repeats = {name: _repeats(call, device) for name, call in calls.items()}
    repeated = {name: _repeated(call, repeats[name]) for name, call in calls.items()}
    clock = "processor" if device == "cpu" else "wall"
    timings = interleave(repeated, arguments.rounds, device=device, clock=clock).seconds

    def seconds(name: str) -> float:
        return statistics.median(timings[name]) / repeats[name]

    plain_peak = peak_bytes(calls["attention"], device)
    return [
        Point(
            places,
            count,
            seconds("attention"),
            seconds(f"columns {count}"),
            seconds(f"product {count}"),
            peak_bytes(partial(_capture, query, key, value, places, count), device) - plain_peak,
            4 * places * count,
        )
        for count in columns
    ]


def _watched(places: int, count: int, device: str | torch.device) -> Columns:
    """What a run watches: the image's rows, added to a buffer."""
    index = torch.arange(places, places + count, device=device)
    return Columns(index, query_rows=slice(0, places), into=torch.zeros(1, places, count, device=device))


def _capture(query: Tensor, key: Tensor, value: Tensor, places: int, count: int) -> object:
    return attention(query, key, value, capture=_watched(places, count, query.device))


def _columns(query: Tensor, key: Tensor, value: Tensor, places: int, count: int) -> Callable[[], object]:
    """What `attention` does beside the kernel, whose log-sum-exp is there."""
    capture, scores = _watched(places, count, query.device), Scores(query, key, None, query.shape[-1] ** -0.5)
    kernel = KERNELS[explain_kernel(query, key, value, capture=capture).kernel]
    lse = run_with_lse(kernel, query, key, value, None, False, None)[1]
    return lambda: columns_from_lse(scores, lse, capture)


def _product(query: Tensor, key: Tensor, places: int, count: int) -> Callable[[], object]:
    rows, keys = query[0, :, :places].float(), key[0, :, places : places + count].float().mT
    return lambda: torch.bmm(rows, keys)


def _repeats(call: Callable[[], object], device: str) -> int:
    """Short calls are timed many at once: the clock ticks coarsely."""
    timings = interleave({"once": call}, 2, device=device).seconds["once"]
    return max(1, int(0.05 / max(min(timings), 1e-5)))


def _repeated(call: Callable[[], object], times: int) -> Callable[[], object]:
    def run() -> None:
        for _ in range(times):
            call()

    return run


# --- what is printed and drawn --------------------------------------------------------------------


def table(points: Sequence[Point]) -> str:
    lines = [
        f"{'places':>7}{'columns':>9}{'attention, ms':>15}{'extra, ms':>11}{'overhead':>10}{'counted':>9}"
        f"{'product, ms':>13}{'extra/product':>15}{'growth, MiB':>13}{'kept, MiB':>11}"
    ]
    for point in points:
        lines.append(
            f"{point.places:>7}{point.columns:>9}{point.attention * 1e3:>15.2f}{point.extra * 1e3:>11.2f}"
            f"{point.extra / point.attention:>10.1%}{point.counted():>9.1%}{point.product * 1e3:>13.2f}"
            f"{point.extra / point.product:>15.1f}{point.growth / 2**20:>13.2f}{point.kept / 2**20:>11.2f}"
        )
    return "\n".join(lines)


def plot(over_places: Sequence[Point], over_columns: Sequence[Point], path: Path) -> None:
    """Overhead over image places and over columns, each with its bound; memory over image places."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(15, 4.6), constrained_layout=True)
    colours = ("#1b6ca8", "#d1751a", "#3a8f4d")
    for colour, count in zip(colours, sorted({point.columns for point in over_places}), strict=False):
        line = [point for point in over_places if point.columns == count]
        x, label = [point.places for point in line], f"{count} columns"
        left.plot(x, [100 * p.extra / p.attention for p in line], marker="o", color=colour, label=label)
        left.plot(x, [100 * p.counted() for p in line], ls="--", color=colour, alpha=0.6)
        right.plot(x, [p.growth / 2**20 for p in line], marker="o", color=colour, label=label)
        right.plot(x, [p.kept / 2**20 for p in line], ls="--", color=colour, alpha=0.6)
    for colour, places in zip(colours, sorted({point.places for point in over_columns}), strict=False):
        line = [point for point in over_columns if point.places == places]
        x = [point.columns for point in line]
        middle.plot(x, [100 * p.extra / p.attention for p in line], marker="o", color=colour, label=f"{places} places")
        middle.plot(x, [100 * p.counted() for p in line], ls="--", color=colour, alpha=0.6)
    left.set(xlabel=f"image places (and {TEXT} rows of text)", ylabel="% of the attention call", title="time")
    middle.set(
        xlabel="columns watched", ylabel="% of the attention call", title="time; dashed: multiplications counted"
    )
    right.set(xlabel="image places", ylabel="MiB", title="peak memory growth; dashed: the maps alone")
    for axis in (left, middle, right):
        axis.set(xscale="log", yscale="log")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    torch.set_num_threads(arguments.threads)
    on_gpu = torch.device(arguments.device).type == "cuda"
    over_places: list[Point] = []
    over_columns: list[Point] = []
    with torch.no_grad():
        for places in arguments.places:
            over_places += measure(places, (FEW, SOME, ALL), arguments)
            print(f"{places} places done", flush=True)
        for places in arguments.at:
            over_columns += measure(places, arguments.columns, arguments)
            print(f"columns at {places} places done", flush=True)
    return {
        "torch": torch.__version__,
        "machine": torch.cuda.get_device_name() if on_gpu else platform.processor() or platform.machine(),
        **{name: getattr(arguments, name) for name in ("device", "dtype", "threads", "heads", "dim", "rounds")},
        "over_places": [asdict(point) for point in over_places],
        "over_columns": [asdict(point) for point in over_columns],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--places", type=int, nargs="+", default=PLACES, help="image places (default 256 to 16384)")
    parser.add_argument("--columns", type=int, nargs="+", default=COLUMNS, help=f"at most {TEXT} (default 1 to 512)")
    parser.add_argument("--at", type=int, nargs="+", default=[1024, 4096], help="image places at which columns vary")
    parser.add_argument("--heads", type=int, default=4, help="the cost is the same for each (default 4)")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, default=Path("results"))
    arguments = parser.parse_args()
    if not all(1 <= count <= TEXT for count in arguments.columns):
        parser.error(f"--columns are rows of the text, 1 to {TEXT}")
    report = run(arguments)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "bench_growth.json").write_text(json.dumps(report, indent=2), encoding="utf-8")
    over_places, over_columns = ([Point(**point) for point in report[part]] for part in ("over_places", "over_columns"))
    print("\nOver image places\n" + table(over_places))
    print("\nOver columns\n" + table(over_columns))
    try:
        plot(over_places, over_columns, arguments.out / "bench_growth.png")
    except ImportError:
        print("no plot: matplotlib is not installed (pip install promptattn[plot])")
    print(f"\nwritten to {arguments.out}")


if __name__ == "__main__":
    main()
