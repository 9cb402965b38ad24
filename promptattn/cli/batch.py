"""`promptattn batch`: every line of a file of prompts."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from promptattn.cli.ending import terminable
from promptattn.cli.options import MACHINE, Config, Json, Maps, Sets, Verbose, whole, with_making
from promptattn.cli.running import Estimates
from promptattn.cli.settings import settings, with_maps
from promptattn.cli.written import STANDARD_INPUT, invite
from promptattn.console import FAILURE, emit, err, note, out, progress, told
from promptattn.errors import PromptAttnError

if TYPE_CHECKING:
    from promptattn.batch import BatchResult

__all__ = ["batch"]

_PAUSE = 60.0  # seconds between two reports where there is no bar
_GRACE = 10.0  # seconds in which a launcher notices that a process has failed


@with_making
def batch(
    prompts: Annotated[
        str,
        typer.Argument(
            help="A .txt with one prompt a line, or a .jsonl or .csv whose lines can have settings of their own; - is"
            " standard input."
        ),
    ],
    folder: Annotated[str, typer.Option("--out", "-o", help="Folder for the results, or of a run to go on with.")],
    kind: Annotated[
        str | None, typer.Option("--format", help="txt, jsonl or csv, where no ending of the file's name says it.")
    ] = None,
    config: Config = None,
    sets: Sets = None,
    maps: Maps = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Make nothing where the file has a line that cannot be made.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Make lines anew that the folder has with other settings.")
    ] = False,
    size: Annotated[
        int,
        typer.Option("--batch", "-b", parser=whole, rich_help_panel=MACHINE, help="Lines in one call of the model."),
    ] = 1,
    threads: Annotated[
        int,
        typer.Option(
            parser=whole,
            rich_help_panel=MACHINE,
            help="Threads of each process on the CPU; more help one process and large images.",
        ),
    ] = 1,
    as_json: Json = False,
    verbose: Verbose = False,
    **making: Any,
) -> None:
    """Make every line of a file of prompts, each in a folder of its own, and go on where an earlier run ended.

    A line of a .jsonl or .csv has a `prompt` and any of `name`, `negative_prompt`, `seed`, `steps`, `guidance`,
    `images`, `height`, `width`, `method`, `where`, `strength` and the other settings of a config. A line that cannot be
    read or made is told of and listed in `manifest.jsonl`, and the others go on. Killed or stopped, the same command
    goes on; nothing is made twice.

    With several processes: `accelerate launch --num_processes 4 --module promptattn.cli batch prompts.txt --out many`,
    and `--multi_gpu` before `--num_processes` where there is no GPU.

    Exit codes: 0 when every line is done, 1 when one is not, 2 for usage.

    **Examples:**

    `promptattn batch prompts.txt --out many --seed 7`

    `printf 'a red cat\\na blue star\\n' | promptattn batch - --out piped`

    `promptattn batch prompts.csv --out images --model shapes-dit --batch 4 --no-maps --json`
    """
    with told(verbose, as_json=as_json):
        from promptattn.batch.processes import launched_as

        rank, count = launched_as()
        is_first = rank == 0
        with _first_tells(is_first), _ending(count, as_json):
            from promptattn.batch import Telling, run_batch
            from promptattn.config import load_config

            wanted = load_config(config, sets or (), settings(capture=False if maps is False else None, **making))
            if maps:
                wanted = with_maps(wanted)
            if is_first and prompts == STANDARD_INPUT:
                invite("one prompt a line")
            estimates = Estimates()
            with progress(shown=is_first) as bar:
                telling = Telling(stage=bar.stage, step=bar.step, note=note)
                if is_first:
                    telling = replace(telling, estimate=estimates.take, lines=_now_and_then(count))
                made = run_batch(
                    prompts,
                    folder,
                    wanted,
                    kind=kind,
                    batch=size,
                    threads=threads,
                    strict=strict,
                    force=force,
                    telling=telling,
                )
            # The others end well: a launcher ends all as soon as one fails, and the first may not have told yet.
            if is_first:
                emit({**_summary(made), "estimate": estimates.as_dict()}) if as_json else _show(made)
                if made.count("done") < len(made.entries):
                    raise typer.Exit(FAILURE)


@contextmanager
def _first_tells(is_first: bool) -> Iterator[None]:
    """Leave it to the first process to tell what all of them come upon: then the launcher ends the others."""
    try:
        yield
    except (PromptAttnError, KeyboardInterrupt):
        if not is_first:
            time.sleep(_GRACE)
        raise


def _ending(count: int, as_json: bool) -> AbstractContextManager[None]:
    """End in good order on SIGTERM, as a cluster sends it to make room.

    Only a process that is alone: one that waits for others would not get to it, and the launcher ends it anyhow.
    """
    if count > 1:
        return nullcontext()
    return terminable("; what was finished before is kept: run the same command again to go on.", as_json=as_json)


def _now_and_then(count: int) -> Callable[[int, int], None]:
    """Says in a log, which has no bar, how far it is."""
    began = said = time.monotonic()
    whose = "" if count == 1 else " of this process"

    def tell(done: int, total: int) -> None:
        nonlocal began, said
        now = time.monotonic()
        if done == 0:
            began = said = now
        elif now - said >= _PAUSE and done < total and not err.is_terminal:
            said = now
            left = round((now - began) / done * (total - done) / 60) or 1
            note("info", f"{done} of {total} lines{whose} are done, and about {left} min are left.")

    return tell


def _summary(made: "BatchResult") -> dict[str, Any]:
    return {
        "folder": str(made.folder),
        "lines": len(made.entries),
        **{status: made.count(status) for status in ("done", "failed", "unreadable")},
        "done_before": made.before,
        "seconds": round(made.seconds, 3),
        "processes": made.processes,
        "unlisted": made.unlisted,
        "entries": made.entries,
    }


def _show(made: "BatchResult") -> None:
    done, total = made.count("done"), len(made.entries)
    new = done - made.before
    pace = f" ({new} in {made.seconds:.1f} s)" if new else " (nothing was left to do)" if done == total else ""
    out.print(Text(f"{done} of {total} lines are done{pace}, in {made.folder}."))
    reasons = {"failed": "failed and will be tried again by the same command", "unreadable": "cannot be read"}
    for status, what in reasons.items():
        if count := made.count(status):
            out.print(Text(f"{count} {what}; manifest.jsonl says why."))
    if made.unlisted:
        shown = ", ".join(made.unlisted[:3]) + (" ..." if len(made.unlisted) > 3 else "")
        note("warning", f"the file no longer has the lines of {len(made.unlisted)} folders, which are kept: {shown}")
