"""What weighted words cost: generation with weights against plain generation, with and without maps.

    python scripts/bench_weighting.py                     # a UNet, an SD3 kind and a Flux kind at 512 px, on a CPU
    python scripts/bench_weighting.py --kinds flux --rounds 40
    python scripts/bench_weighting.py --device cuda --dtype bfloat16 --pixels 1024 --full --steps 4

Weights are random and of the real sizes (scripts/benchmarks/models.py). A generation here is text encoding and
denoising, up to the final latents; a weighted one is entering and leaving `attend` and, with maps, reading them too.
Every round runs each variant once, and its time is divided by the plain one's in the same round; what is reported is
the median over the rounds with a 95 % interval. On a CPU it is processor time of one thread, so that other programs
hardly count; --clock wall --threads 2 takes the time on the wall.

Two prompts are weighted. In `raised` four words have more than their share; there joint attention corrects the output
of the full kernel. In `any` one has less, one none and one a negative weight; there the weighted keys are taken out and
merged in again. `additive mask` is the usual way, in the same rounds: the logarithms of the odds of `raised`, for the
prompt's rows of the batch and the image's queries alone, added to the scores as the `attn_mask` of
`F.scaled_dot_product_attention`. It knows no negative weights and gives no maps. Its latents must be those of `raised`
but for rounding, so it is the same computation that is compared. `--calls` times single attention calls of the finest
layer that sees text in the same ways, instead of whole generations, which dilute them. Writes `bench_weighting.json`,
or for calls `bench_calls.json`, into --out; where there already is one of the same settings, its rounds are added to.
"""

from __future__ import annotations

import argparse
import gc
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from benchmarks.interleaving import Ratio
from benchmarks.layers import CALLS
from benchmarks.layers import variants as call_variants
from benchmarks.models import Subject
from benchmarks.session import PLAIN, Report, interleaved, options, parsed, seconds_line, subject_of, verdict
from torch import Tensor

import promptattn
from promptattn.processors.segments import row_encoders
from promptattn.weighting import Weighting

MASK = "additive mask"
AIM = 1.05
WORDS = {"raised": (1.4, 1.2, 1.4, 1.2), "any": (1.4, 0.7, 0.0, -0.5)}
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1, "float16": 0.02}
"""How far the two ways of raising words may differ by rounding, relative to the largest latent, by dtype."""


def weighted(subject: Subject, weights: tuple[float, ...]) -> str:
    """The subject's prompt with weights on its four words, in the order in which they stand."""
    prompt = subject.prompt
    for word, weight in zip(subject.words, weights, strict=True):
        prompt = prompt.replace(f" {word} ", f" ({word}:{weight}) ", 1)
    return prompt


def generated(subject: Subject, steps: int, prompt: str, capture: promptattn.Capture | bool) -> Tensor:
    """The final latents of a weighted prompt; the maps are read too, where there are any."""
    with promptattn.attend(subject.pipe, prompt, where="denoiser", capture=capture) as run:
        latents = subject.paint(steps, **run.inputs)
    if capture:
        assert len(run.maps)
    return latents


def variants(subject: Subject, steps: int) -> dict[str, Callable[[], Tensor]]:
    """What is compared; the first is the yardstick."""
    captures = {"": False, ", four maps": promptattn.Capture(words=subject.words), ", all maps": True}
    raised = weighted(subject, WORDS["raised"])
    return {
        PLAIN: partial(subject.plain, steps),
        **{
            name + maps: partial(generated, subject, steps, weighted(subject, weights), capture)
            for name, weights in WORDS.items()
            for maps, capture in captures.items()
        },
        MASK: partial(masked, subject, steps, raised),
    }


# --- the usual way --------------------------------------------------------------------------------


def masked(subject: Subject, steps: int, prompt: str) -> Tensor:
    """The final latents of a weighted prompt whose odds are added to the scores as a mask."""
    with _masking(masks_of(subject, prompt)):
        return subject.plain(steps)


@contextmanager
def _masking(masks: dict[tuple[int, int], Tensor]) -> Iterator[None]:
    """Every attention call with so many queries and keys gets the mask for them."""
    functional = torch.nn.functional
    stock = functional.scaled_dot_product_attention

    def attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, **rest: Any) -> Tensor:
        mask = masks.get((query.shape[-2], key.shape[-2]))
        return stock(query, key, value, attn_mask=attn_mask if mask is None else mask, **rest)

    functional.scaled_dot_product_attention = attention
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = stock


def masks_of(subject: Subject, prompt: str) -> dict[tuple[int, int], Tensor]:
    """The mask `[batch, 1, query or 1, key]` of every attention call that sees text, by its queries and keys."""
    denoiser, device = subject.denoiser, subject.pipe.device
    logits = log_odds(subject, prompt).to(device, subject.pipe.dtype)
    places = (subject.options["height"] // 8) * (subject.options["width"] // 8)
    if subject.kind == "unet":
        levels = [-(-places // 4**level) for level in range(len(denoiser.config.block_out_channels))]
        return {(count, len(logits)): _guided(logits[None, None]) for count in levels}
    # The transformers see patches of two by two latents, and every row is a query and a key.
    places //= 4
    rows = places + len(logits)
    text = slice(0, len(logits)) if subject.kind == "flux" else slice(places, rows)
    image = slice(len(logits), rows) if subject.kind == "flux" else slice(0, places)
    mask = logits.new_zeros(1, rows, rows)
    mask[:, image, text] = logits
    return {(rows, rows): mask[None] if subject.kind == "flux" else _guided(mask)}


def _guided(mask: Tensor) -> Tensor:
    """`[2, 1, query or 1, key]` for a batch whose first row is that of the negative prompt."""
    return torch.stack([torch.zeros_like(mask), mask])


def log_odds(subject: Subject, prompt: str) -> Tensor:
    """The logarithm of the odds of every row of the text that the denoiser is given, float32 `[row]`."""
    plan = promptattn.plan(subject.pipe, prompt)
    odds = Weighting().in_denoiser
    weights = [weight for each in row_encoders(subject.denoiser, plan.encoders) for weight in each.weights]
    return torch.tensor([odds(weight) for weight in weights]).log()


# --- measuring ------------------------------------------------------------------------------------


def measured(subject: Subject, arguments: argparse.Namespace) -> dict[str, Any]:
    """Times of all variants on one model, and how far raised words are from the masked ones."""
    calls = variants(subject, arguments.steps)
    calls = {name: call for name, call in calls.items() if name == PLAIN or name in (arguments.variants or calls)}
    reference = generated(subject, arguments.steps, weighted(subject, WORDS["raised"]), False)
    differences: dict[str, float] = {}

    def check(name: str, latents: object) -> None:
        assert isinstance(latents, Tensor)
        difference = float((latents - reference).abs().max() / reference.abs().max())
        if not name.startswith("any"):
            differences[name] = max(differences.get(name, 0.0), difference)
            allowed = {PLAIN: math.inf, MASK: TOLERANCE[arguments.dtype]}.get(name, 0.0)
            if difference > allowed:
                raise SystemExit(f"{subject.kind}, {name}: the latents differ by {difference:g} from those of 'raised'")

    return {
        "described": subject.described,
        "seconds": interleaved(subject.kind, calls, arguments, check),
        "differences": differences,
    }


def called(kind: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Times of one attention call with and without weights, of the finest layer of one kind that sees text."""
    call = CALLS[kind](arguments.pixels)
    with torch.no_grad():
        calls = call_variants(call, WORDS, arguments.device, getattr(torch, arguments.dtype))
        return {
            "described": f"one call, {call}",
            "seconds": interleaved(kind, calls, arguments),
            "differences": {},
        }


def table(kind: str, found: dict[str, Any]) -> str:
    """One line for each variant; a last one says how long the plain generation takes."""
    lines = [f"{kind}: {found['described']}; {len(found['seconds'][PLAIN])} rounds"]
    for name, ratio in list(found["ratios"].items())[1:]:
        aim = None if name == MASK or not found["differences"] else AIM
        lines.append(f"  {name:<24}{Ratio(**ratio)}{verdict(ratio, aim)}")
    lines.append(seconds_line(found, 24))
    for name in (PLAIN, MASK):
        if name in found["differences"]:
            lines.append(f"  {name}: {found['differences'][name]:.1e} of the largest latent from 'raised'")
    return "\n".join(lines)


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--variants", nargs="+", help="some of them only, such as raised 'any, all maps'")
    parser.add_argument("--calls", action="store_true", help="single attention calls instead of generations")
    arguments = parsed(parser)
    report = Report("bench_calls" if arguments.calls else "bench_weighting", arguments)
    for kind in arguments.kinds:
        found = called(kind, arguments) if arguments.calls else measured(subject_of(kind, arguments), arguments)
        print(table(kind, report.add(kind, found)), "\n", flush=True)
        gc.collect()
    print(f"written to {report.path}")


if __name__ == "__main__":
    main()
