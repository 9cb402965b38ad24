"""`promptattn batch` from the command line."""

import json

FAST = ["--steps", 2, "--height", 32, "--width", 32, "--no-maps"]


def test_lines_are_made_told_of_and_gone_on_with(command, tmp_path):
    (tmp_path / "p.jsonl").write_text('"un gato"\n{"prompt": "a cat", "steps": 0}\n{"prompt": "a star", "name": "x"}\n')
    call = ["batch", tmp_path / "p.jsonl", "--out", tmp_path / "out", *FAST]
    done = command(*call)
    assert done.exit_code == 1
    assert "error: line 2: steps must be at least 1" in done.output
    told = " ".join(done.output.split())
    assert "2 of 3 lines are done" in told
    assert "1 cannot be read; manifest.jsonl says why" in told
    again = command(*call, "--json")
    assert again.exit_code == 1
    said = json.loads(again.stdout)
    assert (said["done"], said["done_before"], said["failed"], said["unreadable"]) == (2, 2, 0, 1)
    assert said["entries"][2]["images"] == ["x/image.png"]
    (tmp_path / "p.jsonl").write_text('"un gato"\n{"prompt": "a cat", "steps": 3}\n{"prompt": "a star", "name": "x"}\n')
    last = command(*call, "--json")
    assert last.exit_code == 0, last.output
    said = json.loads(last.stdout)
    assert (said["done"], said["done_before"]) == (3, 2)
    assert said["estimate"]["steps"] == 3
    assert said["estimate"]["memory_bytes"] > 0


def test_other_settings_exit_with_1_and_mistakes_with_2(command, tmp_path):
    (tmp_path / "p.txt").write_text("a cat\n")
    call = ["batch", tmp_path / "p.txt", "--out", tmp_path / "out", *FAST]
    assert command(*call).exit_code == 0
    changed = command(*call, "--guidance", 2)
    assert changed.exit_code == 1
    assert "guidance left out there, 2.0 now" in " ".join(changed.output.split())
    for arguments, message in (
        (["batch", tmp_path / "q.txt", "--out", tmp_path / "o"], "there is no file of prompts"),
        (["batch", tmp_path / "p.txt", "--out", tmp_path / "o", "--steps", 0], "--steps must be at least 1"),
        (["batch", tmp_path / "p.txt", "--out", tmp_path / "o", "--batch", 0], "--batch 0"),
        (["batch", tmp_path / "p.txt"], "--out"),
    ):
        done = command(*arguments)
        assert done.exit_code == 2, done.output
        assert message in " ".join(done.output.split())
        assert not (tmp_path / "o").exists()
