"""`promptattn generate --record`: records of every step beside the results, and how much that is told first."""

import pytest

from promptattn import open_records


@pytest.fixture
def generate(command, tiny_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    common = ["--model", tiny_folder, "--steps", "2", "--height", "16", "--width", "16"]
    return lambda *options: command("generate", "a (red:1.4) cat", *common, *options)


def test_records_go_to_their_folder_and_their_size_is_told(generate):
    done = generate("--record", "rec", "--set", "capture.per_head=true", "--seed", "3")
    assert done.exit_code == 0, done.output
    records = open_records("rec")
    assert records.complete
    assert records.per_head
    assert records.meta["seed"] == 3
    assert records.meta["num_inference_steps"] == 2
    told = f"{records.planned} go to rec"
    assert told in done.stderr.replace("\n", " ")


def test_several_seeds_have_a_folder_each_and_force_replaces_them(generate):
    for options in ([], ["--force"]):
        done = generate("--record", "rec", "--set", "seed=[3, 5]", "--set", "capture.stream.dtype=float16", *options)
        assert done.exit_code == 0, done.output
        for seed in (3, 5):
            records = open_records(f"rec/seed_{seed}")
            assert (records.meta["seed"], records.dtype) == (seed, "float16")
    again = generate("--record", "rec", "--set", "seed=[5, 3]", "--out", "other")
    assert again.exit_code == 1
    assert "seed_5' already exists" in again.stderr.replace("\n", " ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--record", "rec", "--no-maps"], "--no-maps records none"),
        (["--record", "out/rec"], "give records a folder of their own"),
        (["--record", "out"], "give records a folder of their own"),
        (["--record", ".", "--out", "rec/out"], "give records a folder of their own"),
        (["--record", "rec", "--set", "capture.stream.shard_mib=0"], "shard_mib"),
        (["--record", "rec", "--set", "capture.stream.dtype=half"], "did you mean float16"),
    ],
)
def test_what_cannot_be_recorded_is_refused_before_anything_is_loaded(generate, options, message, tmp_path):
    done = generate(*options)
    assert done.exit_code == 2
    assert message in done.stderr.replace("\n", " ")
    assert not list(tmp_path.iterdir())


def test_a_sweep_records_no_streams(command, tiny_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = command("sweep", "a (red:{1,2}) cat", "--model", tiny_folder, "--set", "capture.stream=rec")
    assert done.exit_code == 2
    assert "records are of one run, and a sweep is many" in done.stderr.replace("\n", " ")
