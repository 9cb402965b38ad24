"""What the command adds to a batch: who of several processes tells what, how far it is, and how it is ended."""

import errno
import os
import signal
import sys
import time
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from promptattn.batch import BatchResult
from promptattn.batch.items import check_base, items_of
from promptattn.batch.journal import Journal, read_journals
from promptattn.batch.lines import Line
from promptattn.batch.pace import Pace
from promptattn.batch.processes import Processes, launched_as
from promptattn.cli import app
from promptattn.config import RunConfig
from promptattn.errors import ConfigError, ExportError, PromptAttnError

MODULE = sys.modules["promptattn.cli.batch"]  # the name in promptattn.cli is that of the command


@pytest.fixture
def command(monkeypatch, tmp_path):
    """`promptattn batch` with another `run_batch`, as the process of a rank."""

    def run(work, rank=None, *options):
        monkeypatch.setattr("promptattn.batch.run_batch", lambda *args, **more: work(**more))
        if rank is not None:
            monkeypatch.setenv("RANK", str(rank))
            monkeypatch.setenv("WORLD_SIZE", "3")
        return CliRunner().invoke(app, ["batch", "p.txt", "--out", str(tmp_path / "out"), *options])

    return run


def with_a_failure(tmp_path):
    entries = [{"line": 1, "status": "done"}, {"line": 2, "status": "failed"}]
    return lambda **more: BatchResult(tmp_path, entries, 0, 1.0, 3)


def test_a_failed_line_is_the_first_process_s_to_tell(command, tmp_path):
    # Were another the first to end with 1, the launcher would end the one that tells.
    first, other = (command(with_a_failure(tmp_path), rank) for rank in (0, 1))
    assert (first.exit_code, other.exit_code) == (1, 0)
    assert "1 of 2 lines are done" in first.stdout
    assert "1 failed and will be tried again" in first.stdout
    assert other.stdout == ""


@pytest.mark.parametrize(("error", "code"), [(ExportError("full."), 1), (ConfigError("no."), 2)])
def test_what_all_come_upon_the_first_tells_first(command, monkeypatch, error, code):
    waits = []
    monkeypatch.setattr(MODULE, "time", SimpleNamespace(sleep=waits.append, monotonic=time.monotonic))

    def fail(**more):
        raise error

    assert command(fail, 0).exit_code == code
    assert waits == []
    other = command(fail, 2)
    assert other.exit_code == code
    assert waits == [10]  # by then the launcher has ended it
    assert str(error) in other.stderr


@pytest.mark.parametrize("count", [None, "1"])
def test_a_rank_without_others_is_the_first(monkeypatch, count):
    monkeypatch.setenv("RANK", "3")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if count is not None:
        monkeypatch.setenv("WORLD_SIZE", count)
    assert launched_as() == (0, 1)
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert launched_as() == (3, 4)


def test_a_disk_that_cannot_be_asked_whether_it_has_written_is_taken_at_its_word(monkeypatch, tmp_path):
    codes = [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EIO]

    def unaskable(number):
        raise OSError(code := codes.pop(0), os.strerror(code))

    monkeypatch.setattr(os, "fsync", unaskable)
    journal = Journal(tmp_path / "one.jsonl")
    for _ in range(3):
        journal.add({"name": "a", "error": None})
    with pytest.raises(OSError, match="Input/output"):
        journal.add({"name": "b", "error": None})
    journal.close()
    assert len(list(read_journals(tmp_path))) == 4


def test_sigterm_is_a_sentence_and_143(command):
    def work(**more):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except Exception as error:  # as one line that fails does not end the batch
            raise AssertionError from error

    before = signal.getsignal(signal.SIGTERM)
    done = command(work)
    assert done.exit_code == 143
    assert done.stderr.startswith("stopped: by SIGTERM; what was finished before is kept")
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_log_is_told_once_a_minute_how_far_it_is(command, monkeypatch, tmp_path):
    now = [1000.0]
    monkeypatch.setattr(MODULE, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def work(telling, **more):
        now[0] += 500  # loading
        for done in range(11):
            telling.lines(done, 10)
            now[0] += 40
        return with_a_failure(tmp_path)()

    told = [line for line in command(work).stderr.splitlines() if line.startswith("info")]
    assert told[0] == "info: 2 of 10 lines are done, and about 5 min are left."
    assert len(told) == 4


def test_steps_are_counted_over_lines_of_different_lengths_and_never_back():
    lines = [Line(number, {"prompt": "x", "steps": steps}) for number, steps in enumerate([2, 8, None, 3], start=1)]
    items = items_of(lines, check_base(RunConfig()))
    told = []
    pace = Pace(lambda *step: told.append(step), [items[:1], items[1:2], items[2:]], usual=5)
    for number, steps in enumerate([2, 8, 10]):
        for done in range(1, steps + 1):
            pace.within(number)(done, steps)
        if number == 1:  # it failed, and is made again
            pace.within(number)(1, steps)
        pace.after(number)
    assert {total for _, total in told} == {2 + 8 + 5 + 3}
    counted = [done for done, _ in told]
    assert counted == sorted(counted)
    assert counted[-1] == 18
    assert counted[:3] == [1, 2, 2]


def test_a_process_whose_company_is_gone_says_so(monkeypatch):
    processes = Processes("cpu")

    def gone():
        raise RuntimeError("gloo/transport/tcp/pair.cc:553] Connection closed by peer")

    monkeypatch.setattr(processes, "_state", type("State", (), {"wait_for_everyone": staticmethod(gone)}))
    with pytest.raises(PromptAttnError, match=r"another process of this run has ended .* run the same command again"):
        processes.wait()
    processes.close()
