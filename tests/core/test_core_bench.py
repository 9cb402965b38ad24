"""The benchmark script runs, and writes what it says."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench_core.py"


def test_a_small_run(tmp_path):
    options = ["--lengths", "128", "512", "--rounds", "1", "--heads", "1", "--dim", "16", "--out", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *options], capture_output=True, text=True, check=True, timeout=300
    )
    report = json.loads((tmp_path / "bench_core.json").read_text())
    assert set(report["core"]) == set(report["sparse"]) == {"128", "512"}
    core = report["core"]["512"]
    assert {"sdpa", "capture 1", "capture 8", "capture 77", "weights, merge", "dense softmax"} <= set(core)
    assert core["sdpa"]["ratio"] == 1
    # The table of the dense softmax is 512 x 512 floats; nothing that the core does comes near it.
    assert core["dense softmax"]["bytes"] >= 512 * 512 * 4
    assert core["weights, merge"]["bytes"] < core["dense softmax"]["bytes"] / 2
    assert "128 -> 512" in done.stdout
    if find_spec("matplotlib"):
        assert (tmp_path / "bench_core.png").stat().st_size > 10_000
    else:
        assert "matplotlib" in done.stdout + done.stderr
