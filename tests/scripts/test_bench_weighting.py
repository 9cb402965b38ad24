"""The benchmark of weighting runs, compares like with like, and writes what it says."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench_weighting.py"


def test_a_tiny_run(tmp_path):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--tiny", "--pixels", "128", "--rounds", "1", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    report = json.loads((tmp_path / "bench_weighting.json").read_text(encoding="utf-8"))
    assert report["rounds"] == 1
    assert set(report["kinds"]) == {"unet", "sd3", "flux"}
    for kind, found in report["kinds"].items():
        own = {weights + maps for weights in ("raised", "any") for maps in ("", ", four maps", ", all maps")}
        assert set(found["seconds"]) == {"plain", "additive mask"} | own
        assert found["ratios"]["plain"]["median"] == 1
        apart = found["differences"]
        # The mask says the same as the weights, which say something; maps change nothing.
        assert apart["additive mask"] < 1e-5 < 1e-4 < apart["plain"]
        assert all(apart["raised" + maps] == 0 for maps in ("", ", four maps", ", all maps"))
        assert f"{kind}: {found['described']}" in done.stdout
