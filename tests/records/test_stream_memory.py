"""Memory beside a stream: one shard and one layer's working set, however many steps there are."""

import os

os.environ.setdefault("KINETO_LOG_LEVEL", "99")

import numpy as np
from torch.profiler import ProfilerActivity, profile

from promptattn import Capture, Stream


def peak(call):
    """The most bytes that torch had handed out at once during the call, beyond what it had before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    events = [each for each in profiler.profiler.kineto_results.events() if each.name() == "[memory]"]
    return max(np.cumsum([each.nbytes() for each in sorted(events, key=lambda each: each.start_ns())]))


def test_memory_does_not_grow_with_steps_and_is_a_shard_and_a_layer(pipes, make, tmp_path):
    pipe = pipes("sd")
    size = dict(height=64, width=64)
    shard = 2**18

    def run(steps, capture):
        return make(pipe, "a cat and a mouse", capture, steps=steps, **size)[0]

    def streamed(steps):
        return lambda: run(steps, Capture(per_head=True, stream=Stream(tmp_path / f"{steps}", shard_mib=0.25)))

    plain = peak(lambda: run(3, False))
    few, many = peak(streamed(3)), peak(streamed(12))
    records = run(12, Capture(per_head=True, stream=Stream(tmp_path / "again", shard_mib=0.25))).records
    layer = max(records.tensor(each).nbytes for each in records)
    means = sum(mass.mass.nbytes for mass in records.maps().records)
    assert records.bytes > 10 * shard  # it did have to be written out on the way
    assert many <= few + 2**16
    # A piece, its logits and exponentials: what the same layer needs without a stream.
    assert many - plain <= shard + 4 * layer + means
