"""The benchmark of weighting runs, compares like with like, and writes what it says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench_weighting.py"


def run(*options, out, writes="bench_weighting.json"):
    command = [sys.executable, str(SCRIPT), *options, "--pixels", "128", "--rounds", "1", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads((out / writes).read_text(encoding="utf-8"))


@pytest.mark.slow
def test_tiny_generations_of_all_three_kinds(tmp_path):
    said, report = run("--tiny", out=tmp_path)
    assert set(report["kinds"]) == {"unet", "sd3", "flux"}
    for kind, found in report["kinds"].items():
        own = {weights + maps for weights in ("raised", "any") for maps in ("", ", four maps", ", all maps")}
        assert set(found["seconds"]) == {"plain", "additive mask"} | own
        assert found["ratios"]["plain"]["median"] == 1
        apart = found["differences"]
        # The mask says the same as the weights, which say something; maps change nothing.
        assert apart["additive mask"] < 1e-5 < 1e-4 < apart["plain"]
        assert all(apart["raised" + maps] == 0 for maps in ("", ", four maps", ", all maps"))
        assert f"{kind}: {found['described']}" in said


def test_single_calls(tmp_path):
    said, report = run(
        "--calls", out=tmp_path, writes="bench_calls.json"
    )  # it stops where mask and weights do not say the same
    for kind, found in report["kinds"].items():
        assert set(found["ratios"]) == {"plain", "raised", "raised, all maps", "any", "any, all maps", "additive mask"}
        assert f"{kind}: one call" in said
    twice = run("--calls", "--kinds", "unet", out=tmp_path, writes="bench_calls.json")[1]
    assert [each["ratios"]["raised"]["rounds"] for each in twice["kinds"].values()] == [2, 1, 1]
