"""Time and memory of `promptattn.core.attention` against plain SDPA and dense softmax, and of sparse attention.

    python scripts/bench_core.py            # lengths 256 to 16384
    python scripts/bench_core.py --quick    # lengths 256 to 2048, two rounds

Every round runs all the variants of one length in turn, and what is reported is the median over the rounds of each
variant's time divided by SDPA's in the same round: a busy machine slows both. On a CPU it is processor time. Memory is
what the tensor allocator hands out beyond the inputs, at its peak. Prints a table, writes `bench_core.json` and
`bench_core.png` into --out.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from benchmarks.memory import peak_bytes
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from promptattn.core import Columns, KeyWeights, Strided, attention, explain_kernel, sparse_attention

LENGTHS = (256, 512, 1024, 2048, 4096, 8192, 16384)
CAPTURED = (1, 8, 77)


def dense(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax attention written out, with its query x key table."""
    return torch.softmax(query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5, -1) @ value


def variants(query: Tensor, key: Tensor, value: Tensor, dense_limit: int) -> dict[str, Callable[[], object]]:
    """What is compared at one length; the first is the yardstick."""
    gentle = KeyWeights.of([5, 6, 7], [1.4, 1.4, 0.7])
    wild = KeyWeights.of([5, 6, 7], [0.0, 3.0, -0.5])
    calls: dict[str, Callable[[], object]] = {"sdpa": lambda: scaled_dot_product_attention(query, key, value)}
    for count in CAPTURED:
        capture = Columns(torch.arange(count))
        calls[f"capture {count}"] = lambda capture=capture: attention(query, key, value, capture=capture)
    calls["weights, correction"] = lambda: attention(query, key, value, key_weights=gentle)
    calls["weights, merge"] = lambda: attention(query, key, value, key_weights=wild)
    watch = Columns(torch.arange(8))
    calls["merge + capture 8"] = lambda: attention(query, key, value, key_weights=wild, capture=watch)
    if query.shape[2] <= dense_limit:
        calls["dense softmax"] = lambda: dense(query, key, value)
    paths = [explain_kernel(query, key, value, key_weights=w, capture=c).path
             for w, c in ((None, watch), (gentle, None), (wild, None))]  # fmt: skip
    assert paths == ["fused+lse", "correction", "merge"] or query.device.type != "cpu", paths
    return calls


def sparse_variants(query: Tensor, key: Tensor, value: Tensor, dense_limit: int) -> dict[str, Callable[[], object]]:
    """Causal attention in full, and over a strided pattern with window and stride near the root of the length."""
    pattern = Strided.for_length(query.shape[2])
    calls: dict[str, Callable[[], object]] = {
        "sdpa, causal": lambda: scaled_dot_product_attention(query, key, value, is_causal=True),
        "sparse, strided": lambda: sparse_attention(query, key, value, pattern),
    }
    if query.shape[2] <= dense_limit:
        calls["dense softmax"] = lambda: dense(query, key, value)
    return calls


def seconds(call: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Seconds of one call: of processor time on a CPU, which other programs disturb less, else of wall-clock time."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    start = clock()
    for _ in range(repeats):
        call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (clock() - start) / repeats


def measure(calls: dict[str, Callable[[], object]], rounds: int, device: torch.device) -> dict[str, dict[str, float]]:
    """Median seconds, median ratio to the first variant, and peak bytes of each variant."""
    for call in calls.values():
        call()
    # Short calls are timed many at once: processor time ticks coarsely.
    repeats = max(1, int(0.05 / max(seconds(next(iter(calls.values())), device, 1), 1e-4)))
    times = [{name: seconds(call, device, repeats) for name, call in calls.items()} for _ in range(rounds)]
    first = next(iter(calls))
    return {
        name: {
            "seconds": statistics.median(t[name] for t in times),
            "ratio": statistics.median(t[name] / t[first] for t in times),
            "bytes": peak_bytes(call, device),
        }
        for name, call in calls.items()
    }


def table(title: str, results: dict[int, dict[str, dict[str, float]]]) -> str:
    """Rows are variants, columns lengths; each cell holds the time ratio and the peak memory in MiB."""
    names = list(dict.fromkeys(name for row in results.values() for name in row))
    head = f"{title:<24}" + "".join(f"{length:>18}" for length in results)
    lines = [head, "-" * len(head)]
    for name in names:
        cells = []
        for row in results.values():
            cell = row.get(name)
            cells.append(f"{cell['ratio']:8.2f} {cell['bytes'] / 2**20:8.1f}" if cell else f"{'-':>17}")
        lines.append(f"{name:<24}" + "".join(f"{cell:>18}" for cell in cells))
    yardstick = next(iter(next(iter(results.values()))))
    lines.append(
        f"{yardstick + ' (ms)':<24}" + "".join(f"{row[yardstick]['seconds'] * 1e3:>18.1f}" for row in results.values())
    )
    return "\n".join(lines)


def growth(results: dict[int, dict[str, dict[str, float]]]) -> str:
    """How time and memory grow from each length to the fourfold one: n^1.5 gives 8, n^2 gives 16."""
    lines = []
    for length, row in results.items():
        later = results.get(4 * length, {})
        for name in row:
            if name in later:
                times, memory = (later[name][unit] / max(row[name][unit], 1e-9) for unit in ("seconds", "bytes"))
                lines.append(f"{length:>6} -> {4 * length:<6} {name:<18} time x{times:<6.1f} memory x{memory:.1f}")
    return "\n".join(lines)


def plot(report: dict, path: Path) -> None:
    """Time ratios and memory over the length, one panel each for the core and for sparse attention."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(11, 8), constrained_layout=True)
    for row, part in zip(axes, ("core", "sparse"), strict=True):
        results = report[part]
        names = list(dict.fromkeys(name for cells in results.values() for name in cells))
        for name in names:
            lengths = [length for length in results if name in results[length]]
            unit = "ratio" if part == "core" else "seconds"
            row[0].plot(lengths, [results[length][name][unit] for length in lengths], marker="o", label=name)
            row[1].plot(lengths, [results[n][name]["bytes"] / 2**20 for n in lengths], marker="o", label=name)
        row[0].set_ylabel("time relative to SDPA" if part == "core" else "seconds")
        row[1].set_ylabel("peak memory, MiB")
        for axis in row:
            axis.set(xscale="log", yscale="log", xlabel="length", title=part)
            axis.grid(alpha=0.3)
        row[0].legend(fontsize=8)
    figure.savefig(path, dpi=120)


def run(arguments: argparse.Namespace) -> dict:
    device, dtype = torch.device(arguments.device), getattr(torch, arguments.dtype)
    torch.set_num_threads(arguments.threads)
    report: dict = {
        "torch": torch.__version__,
        "machine": torch.cuda.get_device_name()
        if device.type == "cuda"
        else platform.processor() or platform.machine(),
        **{name: getattr(arguments, name) for name in ("device", "dtype", "threads", "heads", "dim", "rounds")},
        "core": {},
        "sparse": {},
    }
    for part, make in (("core", variants), ("sparse", sparse_variants)):
        for length in arguments.lengths:
            generator = torch.Generator().manual_seed(0)
            shape = (3, 1, arguments.heads, length, arguments.dim)
            query, key, value = torch.randn(shape, generator=generator).to(device, dtype)
            with torch.no_grad():
                calls = make(query, key, value, arguments.dense_limit)
                report[part][length] = measure(calls, arguments.rounds, device)
            print(f"{part} {length} done", flush=True)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dense-limit", type=int, default=4096, help="longest length for dense softmax (default 4096)")
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--quick", action="store_true", help="lengths up to 2048, two rounds")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.lengths, arguments.rounds = [n for n in arguments.lengths if n <= 2048], 2
    report = run(arguments)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "bench_core.json").write_text(json.dumps(report, indent=2))
    print("\nEach cell: time relative to the first row (median of rounds), peak memory in MiB\n")
    print(table("core", report["core"]), "\n")
    print(table("sparse", report["sparse"]), "\n")
    print(growth(report["sparse"]))
    try:
        plot(report, arguments.out / "bench_core.png")
    except ImportError:
        print("no plot: matplotlib is not installed (pip install promptattn[plot])")
    print(f"\nwritten to {arguments.out}")


if __name__ == "__main__":
    main()
