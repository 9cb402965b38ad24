"""The files of records: bounded shards, nothing half-written, readable after an interrupt or a kill."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

import promptattn
from promptattn import Capture, Stream
from promptattn.errors import CaptureError, ExportError
from promptattn.maps import ColumnInfo, PromptInfo
from promptattn.records import LayerPlan, RecordsPlan, RecordsWriter, Subject, open_records
from promptattn.records.shards import Shards

TESTS = Path(__file__).parents[1]
PROMPT = "a (red:1.4) cat and a gray mouse"


def subject(columns=3, heads=None, per_head=True, text="a cat"):
    infos = tuple(ColumnInfo("token", f"t{i}", i, word=i) for i in range(columns))
    return Subject((PromptInfo(text, (), (), infos),), (0,), (64, 64), (), heads, per_head, 4, "unet", {"seed": 7})


def plan(steps=4, layers=("first", "second"), heads=2, grid=(4, 3), columns=3, dtype="float32"):
    layer = [LayerPlan("image->text", name, grid, (1, heads, *grid, columns)) for name in layers]
    return RecordsPlan(tuple(layer), dict.fromkeys(range(steps), 1), dtype)


def masses(wanted, seed=0):
    """A mass for each record of a plan, by step and layer."""
    draw = np.random.default_rng(seed)
    return {
        (step, layer.layer): draw.random(layer.shape, dtype=np.float32)
        for step in wanted.predictions
        for layer in wanted.layers
    }


def write(folder, wanted, given, shard_mib=1e-4, count=None, **options):
    writer = RecordsWriter(folder, Stream(folder, shard_mib=shard_mib, **options), subject(), wanted)
    for (step, layer), mass in list(given.items())[:count]:
        writer.add(step, "image->text", layer, mass)
    return writer


def test_shards_are_bounded_and_each_is_a_safetensors_file_by_itself(tmp_path):
    wanted = plan(steps=6)
    given = masses(wanted)
    size = next(iter(given.values())).nbytes
    write(tmp_path / "r", wanted, given, shard_mib=2.5 * size / 2**20)
    shards = sorted((tmp_path / "r").glob("*.safetensors"))
    assert len(shards) == 6
    found = {}
    for shard in shards:
        tensors = load_file(shard)
        assert sum(tensor.nbytes for tensor in tensors.values()) <= 2.5 * size
        found |= tensors
    for (step, layer), mass in given.items():
        np.testing.assert_array_equal(found[f"{step}/image->text/{layer}"], mass)
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == [
        "records.json",
        *(path.name for path in shards),
    ]


def test_the_index_says_what_is_where_and_of_what(tmp_path):
    wanted = plan(steps=2)
    write(tmp_path / "r", wanted, masses(wanted))
    index = json.loads((tmp_path / "r" / "records.json").read_text(encoding="utf-8"))
    assert index["format"] == "promptattn-records"
    assert index["complete"] is True
    assert index["bytes"] == {"planned": wanted.size.bytes, "written": wanted.size.bytes}
    assert index["meta"] == {"seed": 7}
    assert [column["text"] for column in index["prompts"][0]["columns"]] == ["t0", "t1", "t2"]
    for entry in index["records"]:
        assert load_file(tmp_path / "r" / entry["shard"])[entry["name"]].shape == tuple(entry["shape"])


def test_one_tensor_or_one_head_is_read_without_the_rest(tmp_path):
    wanted = plan(steps=3)
    given = masses(wanted)
    write(tmp_path / "r", wanted, given)
    records = open_records(tmp_path / "r")
    record = next(each for each in records if (each.step, each.layer) == (1, "second"))
    for shard in {each.shard for each in records} - {record.shard}:
        (tmp_path / "r" / shard).unlink()
    np.testing.assert_array_equal(records.array(1, "second"), given[1, "second"])
    np.testing.assert_array_equal(records.array(1, "second", head=1), given[1, "second"][:, 1])
    with pytest.raises(ExportError, match=r"shard-\d+\.safetensors' cannot be read"):
        records.array(2, "second")


def test_what_was_not_recorded_is_said(tmp_path):
    wanted = plan()
    write(tmp_path / "r", wanted, masses(wanted))
    records = open_records(tmp_path / "r")
    with pytest.raises(CaptureError, match=r"no records of step 9 .* Recorded: 0, 1, 2, 3"):
        records.array(9, "first")
    with pytest.raises(CaptureError, match=r"'third' did not record image->text. Recorded: first, second"):
        records.array(0, "third")
    with pytest.raises(CaptureError, match="Nothing was recorded of text->image"):
        records.array(0, "first", "text->image")
    with pytest.raises(CaptureError, match="no records of step 9"):
        records.maps(9)
    with pytest.raises(CaptureError, match=r"Head 2 was not recorded in layer first\. Recorded: 0, 1"):
        records.array(0, "first", head=2)


def test_predictions_count_by_their_shares(tmp_path):
    wanted = RecordsPlan((LayerPlan("image->text", "first", (2, 2), (2, 2, 2, 1)),), {0: 3}, "float32")
    one, two, three = (np.full((2, 2, 2, 1), value, np.float32) for value in (0.1, 0.2, 0.6))
    first, second = (0.25, 1.0), (0.75, 0.0)
    writer = RecordsWriter(tmp_path / "r", Stream(tmp_path / "r"), subject(1, per_head=False), wanted)
    for mass, source, shares in ((one, 0, first), (two, 1, second), (three, 0, first)):
        writer.add(0, "image->text", "first", mass, source=source, shares=shares)
    found = open_records(tmp_path / "r").array(0, "first")
    np.testing.assert_allclose(found[0], (0.25 * 0.1 + 0.75 * 0.2 + 0.25 * 0.6) / 1.25, rtol=1e-6)
    np.testing.assert_allclose(found[1], 0.35, rtol=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 40), max_size=12),
    limit=st.integers(1, 100),
    dtype=st.sampled_from([np.float32, np.float16]),
)
def test_every_tensor_is_in_one_shard_as_it_was_given(tmp_path_factory, sizes, limit, dtype):
    folder = tmp_path_factory.mktemp("shards")
    shards, written = Shards(folder, limit), []
    given = {f"t{i}": np.arange(size, dtype=dtype) + i for i, size in enumerate(sizes)}
    for name, tensor in given.items():
        written += shards.add(name, tensor)
        assert shards.held < limit
    written += shards.flush()
    assert [name for shard in written for name in shard.tensors] == list(given)
    for shard in written:
        tensors = load_file(folder / shard.file)
        assert set(tensors) == set(shard.tensors)
        assert sum(tensor.nbytes for tensor in tensors.values()) == shard.bytes
        assert shard.bytes <= limit or sum(bool(tensor.size) for tensor in tensors.values()) == 1
        for name, tensor in tensors.items():
            np.testing.assert_array_equal(tensor, given[name])


# Broken off.


def test_records_that_are_not_all_there_say_so_and_can_be_read(tmp_path):
    wanted = plan()
    given = masses(wanted)
    writer = write(tmp_path / "r", wanted, given, shard_mib=1, count=5)
    grown = open_records(tmp_path / "r")
    assert (len(grown), grown.complete, grown.steps) == (0, False, ())
    with pytest.raises(CaptureError, match="Recorded: none yet"):
        grown.array(0, "first")
    writer.flush()
    records = open_records(tmp_path / "r")
    assert (len(records), records.complete, records.steps) == (5, False, (0, 1))
    np.testing.assert_array_equal(records.array(2, "first"), given[2, "first"])
    np.testing.assert_allclose(
        records.maps(steps=[0, 1]).records[0].mass, (given[0, "first"] + given[1, "first"]).mean(1) / 2, rtol=1e-6
    )


class _Stop(Exception):
    pass


@pytest.mark.parametrize("reason", [_Stop, KeyboardInterrupt])
def test_an_interrupt_keeps_all_layers_that_were_done(pipes, make, tmp_path, reason):
    pipe = pipes("sd")
    whole = make(pipe, PROMPT, Capture(stream=tmp_path / "whole"), steps=4)[0].records
    before = dict(pipe.unet.attn_processors)

    def stop(pipe, step, timestep, kwargs):
        if step == 1:
            raise reason
        return kwargs

    with pytest.raises(reason):
        make(pipe, PROMPT, Capture(stream=tmp_path / "r"), steps=4, callback_on_step_end=stop)
    records = open_records(tmp_path / "r")
    assert (records.complete, records.steps) == (False, (0, 1))
    for record in records:
        np.testing.assert_array_equal(records.tensor(record), whole.array(record.step, record.layer))
    assert pipe.unet.attn_processors == before


def test_an_interrupt_in_the_middle_of_a_call_keeps_what_is_whole(pipes, make, tmp_path):
    pipe = pipes("sd")

    def stop(*_):
        raise _Stop

    whole = make(pipe, PROMPT, Capture(stream=tmp_path / "whole"), steps=2)[0].records
    hook = pipe.unet.mid_block.register_forward_pre_hook(stop)
    try:
        with pytest.raises(_Stop):
            make(pipe, PROMPT, Capture(stream=tmp_path / "r"), steps=2)
    finally:
        hook.remove()
    records = open_records(tmp_path / "r")
    assert records.steps == ()
    names = [record.layer for record in records]
    assert names
    assert all(name.startswith("down_blocks") for name in names)
    for record in records:
        np.testing.assert_array_equal(records.tensor(record), whole.array(0, record.layer))


def test_a_killed_process_leaves_whole_shards(tmp_path):
    script = f"""
        import os, signal, sys
        sys.path.insert(0, {str(TESTS)!r})
        import tiny_pipelines as tiny
        import promptattn
        from promptattn import Capture, Stream

        def kill(pipe, step, timestep, kwargs):
            if step == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            return kwargs

        pipe = tiny.sd()
        with promptattn.attend(pipe, "a cat", capture=Capture(stream=Stream({str(tmp_path / "r")!r}, 0.01))) as run:
            pipe(**run.inputs, height=32, width=24, num_inference_steps=5, callback_on_step_end=kill)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == -signal.SIGKILL
    records = open_records(tmp_path / "r")
    assert not records.complete
    assert records.steps in [(0,), (0, 1), (0, 1, 2)]
    assert records.planned.steps == 5
    for record in records:
        np.testing.assert_allclose(records.tensor(record).sum(-1), 1, atol=1e-4)
    assert sorted(path.suffix for path in (tmp_path / "r").iterdir()) == [
        ".json",
        *[".safetensors"] * len({record.shard for record in records}),
    ]


def test_a_full_disk_loses_the_last_shard_only(tmp_path, monkeypatch):
    wanted = plan()
    given = masses(wanted)
    writer = write(tmp_path / "r", wanted, given, count=4)
    before = sorted(path.name for path in (tmp_path / "r").iterdir())
    real = Path.open

    def full(self, *args, **options):
        if self.suffix == ".partial":
            real(self, *args, **options).close()
            raise OSError(28, "No space left on device", str(self))
        return real(self, *args, **options)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(ExportError, match=r"The disk is full: .* The shards before it can be read"):
        writer.add(2, "image->text", "first", given[2, "first"])
    monkeypatch.undo()
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == before
    assert open_records(tmp_path / "r").steps == (0, 1)


# Refused.


def test_a_disk_without_room_is_refused_before_the_first_step(pipes, make, tmp_path, monkeypatch):
    from promptattn.records import writer

    calls = []
    pipe = pipes("sd")
    hook = pipe.unet.conv_in.register_forward_hook(lambda *_: calls.append(1))
    monkeypatch.setattr(writer, "disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    try:
        with pytest.raises(ExportError, match=r"need 1\d\d kB, and there is room for 1 kB at .*/r'"):
            make(pipe, PROMPT, Capture(stream=tmp_path / "r"))
    finally:
        hook.remove()
    assert not calls
    assert not list(tmp_path.iterdir())


def test_a_folder_that_exists_is_kept_unless_it_is_records_to_be_replaced(pipes, make, tmp_path):
    pipe = pipes("sd")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    make(pipe, "a cat", Capture(stream=tmp_path / "r"), steps=1)
    for name, force, message in (("r", False, "already exists"), ("mine", True, "holds no records.json")):
        with pytest.raises(ExportError, match=message):
            promptattn.attend(pipe, "a cat", capture=Capture(stream=Stream(tmp_path / name, force=force)))
    assert open_records(tmp_path / "r").planned.steps == 1
    make(pipe, "a cat", Capture(stream=Stream(tmp_path / "r", force=True)), steps=2)
    assert open_records(tmp_path / "r").steps == (0, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "r"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "holds no records.json"),
        ("{", "cannot be read"),
        ("[]", "is of format None"),
        ('{"format": "promptattn-records", "version": 99}', "version 99"),
        ('{"format": "promptattn-records", "version": 1}', "is no index of records: KeyError"),
    ],
)
def test_what_is_no_index_is_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "records.json").write_text(content)
    with pytest.raises(ExportError, match=message):
        open_records(tmp_path)


def test_prompts_that_have_no_utf8_can_be_recorded(tmp_path):
    wanted = plan(steps=1)
    odd = subject(text="a cat \ud800")
    RecordsWriter(tmp_path / "r", Stream(tmp_path / "r"), odd, wanted)
    assert open_records(tmp_path / "r").prompts == odd.prompts
