"""`run_batch`: every line of a file of prompts, once, whatever comes between."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from promptattn.batch.folder import BatchFolder
from promptattn.batch.grouping import Group, groups_of
from promptattn.batch.items import Item, check_base, items_of, refuse_unreadable
from promptattn.batch.journal import Journal, read_journals
from promptattn.batch.lines import named, read_lines
from promptattn.batch.making import Outcome, make, tell_of, write
from promptattn.batch.pace import Pace
from promptattn.batch.processes import Processes, launched_as, launched_in_vain
from promptattn.config import RunConfig
from promptattn.errors import ConfigError, ExportError
from promptattn.run.cost.estimate import Estimate, first_of
from promptattn.run.from_config import load_pipeline
from promptattn.run.loading.load import recommended
from promptattn.run.loading.schedulers import check_scheduler
from promptattn.run.together import USUAL_STEPS

__all__ = ["BatchResult", "Telling", "run_batch"]


@dataclass(frozen=True)
class BatchResult:
    """What became of a batch.

    Attributes:
        folder: where it was written.
        entries: of every line of the file, in its order, what `manifest.jsonl` says.
        before: how many lines were done already.
        seconds: what this run took, without loading the model.
        processes: how many worked on it.
        unlisted: folders of lines that the file no longer has.
    """

    folder: Path
    entries: list[dict[str, Any]]
    before: int
    seconds: float
    processes: int
    unlisted: list[str] = field(default_factory=list)

    def count(self, status: str) -> int:
        """How many lines are `done`, `failed` or `unreadable`."""
        return sum(entry["status"] == status for entry in self.entries)


@dataclass(frozen=True)
class Telling:
    """Functions that are called with what happens.

    Attributes:
        stage: called with what begins now.
        step: called with (steps done, steps in all) of this process, those of all its images.
        lines: called with (lines done, lines in all) of this process.
        note: called with a severity and a sentence: what lines could not be made, and what to know of others.
        estimate: called once, with what this process takes of memory and time.
    """

    stage: Callable[[str], None] = lambda stage: None
    step: Callable[[int, int], None] | None = None
    lines: Callable[[int, int], None] = lambda done, total: None
    note: Callable[[str, str], None] = lambda severity, message: None
    estimate: Callable[[Estimate], None] | None = None


def run_batch(
    file: str | PathLike[str],
    folder: str | PathLike[str],
    config: RunConfig | None = None,
    *,
    kind: str | None = None,
    batch: int = 1,
    threads: int = 1,
    strict: bool = False,
    force: bool = False,
    telling: Telling | None = None,
) -> BatchResult:
    """Make every line of a file of prompts, each in a folder of its own; what is there already stays.

    Run again with the same arguments, it goes on where an earlier run ended, however that ended. Started as several
    processes (`accelerate launch`), they share the lines, and what is made does not depend on how many they are.

    Args:
        file: a `.txt`, `.jsonl` or `.csv`, or `-` for standard input; see :func:`read_lines`. It is read once, by the
            first process.
        folder: where to write; see :mod:`promptattn.batch.folder`.
        config: what holds for all lines that say nothing else. Its prompt is not used.
        kind: `txt`, `jsonl` or `csv`, where the name of the file does not say which of them it is.
        batch: how many lines to make in one call of the pipeline. What comes out does not depend on it, but for what a
            batch rounds differently.
        threads: of each process on the CPU. What comes out depends on it as little, and so neither on the processes.
        strict: refuse a file with a line that cannot be made, before anything is made. Without, such lines are told of
            and the others are made.
        force: make lines anew that were made with other settings.

    Raises:
        ConfigError: when the file cannot be read, and for settings that do not fit a batch.
        ExportError: when the folder cannot be written, another run writes to it, or lines in it were made with other
            settings. What is done stays.
        UnsupportedModelError: whatever :func:`promptattn.load` raises.
    """
    telling = telling or Telling()
    base = check_base(config or RunConfig())
    if batch < 1:
        raise ConfigError(f"--batch {batch}: at least 1 line must be made at once.")
    if threads < 1:
        raise ConfigError(f"--threads {threads}: each process needs at least 1.")
    if base.scheduler is not None:
        check_scheduler(base.scheduler.name)

    def read() -> list[Item]:
        items = items_of(read_lines(file, kind), base)
        if strict:
            refuse_unreadable(items, named(file))
        return items

    # Before anything is loaded; and once, because a file may change and a pipe is empty then.
    first = read() if launched_as()[0] == 0 else None
    processes = Processes(base.device, threads)
    if launched_in_vain():
        telling.note(
            "warning",
            "accelerate launch has started one process: without GPUs it starts several with --multi_gpu only, as in"
            " accelerate launch --multi_gpu --num_processes 3 --module promptattn.cli batch ...",
        )
    goal = BatchFolder(folder)
    try:
        items = processes.agreed(lambda: read() if first is None else first)
        return _Run(items, base, named(file), batch, force, telling, processes, goal).result()
    finally:
        goal.lock.release()
        processes.close()


@dataclass
class _Run:
    items: list[Item]
    base: RunConfig
    source: str
    batch: int
    force: bool
    telling: Telling
    processes: Processes
    goal: BatchFolder

    def result(self) -> BatchResult:
        ready = [item for item in self.items if item.problem is None]
        for item in self.items if self.processes.is_first else ():
            if item.problem is not None:
                self.telling.note("error", f"line {item.line.number}: {item.problem}.")
        before = self._begin(ready)
        left = [item for item in ready if item.name not in before]
        own: list[Group] = []
        pipe = None
        if left:
            pipe = self._load()
            self.telling.stage("Planning")
            waiting = {item.name for item in left}
            groups = [[item for item in group if item.name in waiting] for group in groups_of(pipe, ready, self.batch)]
            own = self.processes.share([group for group in groups if group])
        self.processes.wait()
        began = time.monotonic()
        self._make_all(pipe, own)
        self.processes.wait()
        seconds = time.monotonic() - began
        entries, unlisted = self.processes.agreed(self._finish)
        return BatchResult(self.goal.root, entries, len(before), seconds, self.processes.count, unlisted)

    def _begin(self, ready: Sequence[Item]) -> set[str]:
        """Claim the folder; returns the names of the lines that are done already."""

        def claim() -> set[str]:
            said = self.goal.claim()
            self.goal.recover()
            done = set(self.goal.done(ready, force=self.force))
            request = Item(self.items[0].line, "", self.base).request
            said += self.goal.begin(Path(self.source).name, request, self.batch, self.processes.threads)
            for each in said:
                self.telling.note("warning", each)
            return done

        done = self.processes.agreed(claim)
        if self.processes.count > 1:
            self._share_lock()
        if done and self.processes.is_first:
            self.telling.note("info", f"{len(done)} of {len(self.items)} lines are done already.")
        return done

    def _share_lock(self) -> None:
        """From the first process alone to all of them, one after the other."""
        if self.processes.is_first:
            self.goal.lock.share()
        self.processes.wait()
        if not self.processes.is_first:
            self.goal.lock.share()

    def _load(self) -> Any:
        self.telling.stage(f"Loading {self.base.model.name}")
        try:
            return load_pipeline(self.base.model_copy(update={"device": self.processes.device}))
        except BaseException:
            if self.processes.is_first:
                self.goal.abandon()
            raise

    def _make_all(self, pipe: Any, groups: Sequence[Group]) -> None:
        if not groups:
            return
        with self.goal.telling():
            journal = Journal(self.goal.aside / f"rank-{self.processes.rank}-of-{self.processes.count}.jsonl")
        pace = Pace(self.telling.step, groups, int(recommended(pipe).get("num_inference_steps", USUAL_STEPS)))
        finished, total = 0, sum(map(len, groups))
        self.telling.lines(finished, total)
        try:
            for number, group in enumerate(groups):
                self.telling.stage(self._stage(group))
                first = first_of(self.telling.estimate, number, len(groups))
                outcomes = self._keep(pipe, number, make(pipe, group, pace.within(number), on_estimate=first))
                self._tell(outcomes)
                with self.goal.telling():
                    for outcome in outcomes:
                        journal.add({"name": outcome.item.name, "error": outcome.error})
                finished += len(group)
                pace.after(number)
                self.telling.lines(finished, total)
        except ExportError as error:
            left = total - finished
            lines = "1 line is" if left == 1 else f"{left} lines are"
            lines = lines if self.processes.count == 1 else f"of this process {lines}"
            raise ExportError(
                f"{error} What is done is kept; {lines} left: run the same command again to go on."
            ) from error
        finally:
            with suppress(OSError):  # what could not be written has been told of
                journal.close()

    def _keep(self, pipe: Any, number: int, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Write what was made to its places; returns the outcomes with what the writing had to say."""
        if not any(outcome.made for outcome in outcomes):
            return list(outcomes)
        with self.goal.group(self.processes.rank, number) as folder:
            return [write(outcome, pipe, folder) if outcome.made else outcome for outcome in outcomes]

    def _stage(self, group: Group) -> str:
        numbers = [item.line.number for item in group]
        return f"Line {numbers[0]}" if len(group) == 1 else f"Lines {numbers[0]} to {numbers[-1]}"

    def _tell(self, outcomes: Sequence[Outcome]) -> None:
        for warning, items in tell_of(outcomes).items():
            self.telling.note("warning", f"line {', '.join(str(item.line.number) for item in items)}: {warning}")
        for outcome in outcomes:
            if outcome.error is not None:
                self.telling.note("error", f"line {outcome.item.line.number}: {outcome.error}")

    def _finish(self) -> tuple[list[dict[str, Any]], list[str]]:
        with self.goal.telling():
            failed = {entry["name"]: entry["error"] for entry in read_journals(self.goal.aside) if entry["error"]}
            entries = [self._entry(item, failed) for item in self.items]
            unlisted = self.goal.unlisted(self.items)
        self.goal.finish(entries)
        return entries, unlisted

    def _entry(self, item: Item, failed: dict[str, str]) -> dict[str, Any]:
        """What the manifest says of one line."""
        if item.problem is not None:
            return {
                "line": item.line.number,
                "status": "unreadable",
                "text": item.line.text,
                "error": item.problem,
            }
        said: dict[str, Any] = {"line": item.line.number, "name": item.name}
        asked = {"prompt": item.prompt, "negative_prompt": item.negative, "seed": item.seed}
        there = self.goal.read_item(item.name)
        if there is None or there.get("digest") != item.digest or item.name in failed:
            return {**said, "status": "failed", **asked, "error": failed.get(item.name, "it was not made")}
        images = [f"{item.name}/{name}" for name in there["images"]]
        return {**said, "status": "done", **asked, "images": images, "warnings": there["warnings"]}
