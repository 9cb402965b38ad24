"""What is so about each family, read off a running pipeline. Nothing here is written down by hand.

`python -m families.facts [names]`, run in the folder of the tests, writes `facts.json`.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from families.arguments import described, equal
from families.denoising import denoiser_facts
from families.encoding import encoder_facts, encoding_facts
from families.family import REORDERED_NEGATIVE, Family
from families.registry import FAMILIES
from families.watching import components, denoisers, watch

TABLE = Path(__file__).with_name("facts.json")


def facts(family: Family) -> dict[str, Any]:
    """Everything about one family."""
    pipe = family.make()
    run = watch(pipe, family.arguments())
    other = watch(pipe, family.arguments(prompt=family.prompts[1]))
    worse = watch(pipe, family.arguments(negative=REORDERED_NEGATIVE)) if family.negative else run
    seed = watch(pipe, family.arguments(generator=torch.Generator().manual_seed(1)))
    again = watch(pipe, family.arguments())
    return {
        "pipeline": type(pipe).__name__,
        "image": described(run.image),
        "scale_factors": {key: described(value) for key, value in vars(pipe).items() if "scale_factor" in key},
        "schedulers": {name: type(each).__name__ for name, each in components(pipe, diffusers.SchedulerMixin).items()},
        "repeatable": equal(run.image, again.image),
        "events": events_told(run.events),
        "denoisers": {
            name: denoiser_facts(name, model, run, other, worse, seed)
            for name, model in denoisers(pipe).items()
            if any(call.denoiser == name for call in run.calls)
        },
        "text_encoders": encoder_facts(pipe, family, run),
        "encode_prompt": encoding_facts(pipe, family, run),
    }


def events_told(events: list[str]) -> list[str]:
    """Events with what repeats told once: `unet, scheduler.step x2`."""
    blocks: list[tuple[list[str], int]] = []
    rest = list(events)
    while rest:
        end = next((index for index, event in enumerate(rest) if event.endswith(".step")), len(rest) - 1) + 1
        block, rest = rest[:end], rest[end:]
        if blocks and blocks[-1][0] == block:
            blocks[-1] = (block, blocks[-1][1] + 1)
        else:
            blocks.append((block, 1))
    return [", ".join(block) + (f" x{count}" if count > 1 else "") for block, count in blocks]


def main(names: list[str]) -> None:
    diffusers.utils.logging.set_verbosity_error()
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    table = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    for name in names or FAMILIES:
        if FAMILIES[name].missing:
            print(f"{name}: not built, {FAMILIES[name].requires} is not installed")
            continue
        table[name] = facts(FAMILIES[name])
        print(name)
    ordered = {name: table[name] for name in FAMILIES if name in table}
    TABLE.write_text(_readable(ordered) + "\n")


def _readable(table: dict[str, Any]) -> str:
    """JSON with the innermost lists on one line."""
    return re.sub(r"\[[^][{}]*\]", lambda found: " ".join(found[0].split()), json.dumps(table, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
