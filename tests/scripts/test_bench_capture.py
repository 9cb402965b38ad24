"""The benchmarks of whole generations run, at a tiny size, and measure what they say."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def benchmarks(monkeypatch):
    """Makes `benchmarks` importable, as it is for a script beside it."""
    monkeypatch.syspath_prepend(SCRIPTS)


def run(script, *options, out):
    command = [sys.executable, str(SCRIPTS / f"{script}.py"), *options, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads((out / f"{script}.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_capture_of_all_three_kinds(tmp_path):
    options = ["--tiny", "--pixels", "64", "--no-peers"]
    said, report = run("bench_capture", *options, "--rounds", "2", "--memory-steps", "1", "3", out=tmp_path)
    assert list(report["kinds"]) == ["unet", "sd3", "flux"]
    for kind, found in report["kinds"].items():
        assert f"{kind}: " in said
        assert set(found["ratios"]) == set(found["seconds"]) == {"plain", "all words", "four words"}
        assert found["ratios"]["plain"]["median"] == 1
        assert all(len(taken) == 2 and min(taken) > 0 for taken in found["seconds"].values())
        # To the bit: the script stops otherwise, and says how much it is.
        assert set(found["differences"].values()) == {0}
        assert found["kept"]["four words"] < found["kept"]["all words"]
        for name in ("all words", "four words"):
            growth = found["memory"][name]
            assert set(growth) == {"1", "3"}
            # Steps are summed up where they fall; what else is held is the object of a step or two.
            assert growth["3"] < growth["1"] + 4096
    # Another run adds its rounds to what is there, and one of other settings does not.
    more = run("bench_capture", *options, "--kinds", "unet", "--rounds", "1", "--memory-steps", out=tmp_path)[1]
    assert [len(each["seconds"]["plain"]) for each in more["kinds"].values()] == [3, 2, 2]
    assert more["kinds"]["unet"]["memory"]["all words"] == report["kinds"]["unet"]["memory"]["all words"]
    other = [*options, "--kinds", "unet", "--rounds", "1", "--memory-steps", "--steps", "2"]
    assert list(run("bench_capture", *other, out=tmp_path)[1]["kinds"]) == ["unet"]


def test_growth_over_places_and_columns(tmp_path):
    options = ["--places", "64", "128", "--columns", "1", "8", "--at", "64", "--heads", "1", "--rounds", "2"]
    said, report = run("bench_growth", *options, out=tmp_path)
    assert [(each["places"], each["columns"]) for each in report["over_places"]] == [
        (64, 4), (64, 77), (64, 333), (128, 4), (128, 77), (128, 333),
    ]  # fmt: skip
    assert [each["columns"] for each in report["over_columns"]] == [1, 8]
    for each in (*report["over_places"], *report["over_columns"]):
        assert each["attention"] > 0
        assert each["product"] > 0
        assert each["growth"] >= each["kept"] == 4 * each["places"] * each["columns"]
    assert "extra/product" in said
    if find_spec("matplotlib"):
        assert (tmp_path / "bench_growth.png").stat().st_size > 10_000


def test_more_columns_than_rows_of_text_are_refused(tmp_path):
    command = [sys.executable, str(SCRIPTS / "bench_growth.py"), "--columns", "600", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert "1 to 512" in done.stderr


def test_the_interval_of_a_median(benchmarks):
    """Against the table of Conover (Practical Nonparametric Statistics): for 20 values the 6th and the 15th."""
    from benchmarks.interleaving import median_interval

    low, high, confidence = median_interval(range(1, 21))
    assert (low, high) == (6, 15)
    assert confidence == pytest.approx(0.9586, abs=1e-4)
    assert median_interval(range(1, 7)) == (1, 6, 1 - 2 / 2**6)
    # With fewer there is no such interval: the range, and how surely it holds the median.
    assert median_interval([3.0, 1.0]) == (1, 3, 0.5)
    assert median_interval([2.0]) == (2, 2, 0)


def test_rounds_are_paired_and_their_order_turns(benchmarks):
    from benchmarks.interleaving import Timings, interleave

    order, checked = [], []
    calls = {"plain": lambda: order.append("plain"), "other": lambda: order.append("other")}
    timings = interleave(calls, 3, after=lambda name, result: checked.append(name))
    assert order == checked
    assert order == ["other", "plain", "plain", "other"] * 2  # the first round is not counted
    assert [len(taken) for taken in timings.seconds.values()] == [3, 3]
    ratio = Timings({"plain": [1.0, 2.0, 4.0], "other": [2.0, 2.0, 6.0]}).ratio("other", "plain")
    assert (ratio.median, ratio.low, ratio.high, ratio.minimum, ratio.rounds) == (1.5, 1, 2, 2, 3)


def test_the_peak_is_what_is_held_at_once(benchmarks):
    from benchmarks.memory import peak_bytes

    def call():
        for _ in range(4):  # each is freed before the next but one
            held = torch.zeros(1 << 20)
        return held

    assert 2 << 22 <= peak_bytes(call) < (2 << 22) + 4096
