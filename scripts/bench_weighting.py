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
layer that sees text in the same ways, instead of whole generations, which dilute them. Writes `bench_weighting.json`
into --out.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import platform
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from benchmarks.interleaving import Ratio, interleave
from benchmarks.layers import CALLS
from benchmarks.layers import variants as call_variants
from benchmarks.models import KINDS, Scale, Subject, build
from torch import Tensor

import promptattn
from promptattn.processors.segments import row_encoders
from promptattn.weighting import Weighting

PLAIN, MASK = "plain", "additive mask"
AIM = 1.05
SETTINGS = ("device", "dtype", "threads", "clock", "pixels", "full", "tiny", "steps", "rounds")
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

    def told(number: int) -> None:
        print(f"\r{subject.kind}: round {number} of {arguments.rounds}", end="", flush=True)

    timings = interleave(
        calls,
        arguments.rounds,
        device=arguments.device,
        clock=arguments.clock,
        minutes=arguments.minutes,
        after=check,
        told=told,
    )
    print()
    return {
        "described": subject.described,
        "seconds": {name: list(taken) for name, taken in timings.seconds.items()},
        "ratios": {name: vars(timings.ratio(name, PLAIN)) for name in calls},
        "to mask": {name: vars(timings.ratio(name, MASK)) for name in calls if MASK in calls},
        "differences": differences,
    }


def called(kind: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Times of one attention call with and without weights, of the finest layer of one kind that sees text."""
    call = CALLS[kind](arguments.pixels)
    with torch.no_grad():
        calls = call_variants(call, WORDS, arguments.device, getattr(torch, arguments.dtype))
        timings = interleave(calls, arguments.rounds, device=arguments.device, clock=arguments.clock)
    return {
        "described": f"one call, {call}",
        "seconds": {name: list(taken) for name, taken in timings.seconds.items()},
        "ratios": {name: vars(timings.ratio(name, PLAIN)) for name in calls},
        "differences": {},
    }


def generations(kind: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Times of whole generations of one kind."""
    scale = Scale(arguments.pixels, full=arguments.full, tiny=arguments.tiny)
    subject = build(kind, scale, arguments.device, getattr(torch, arguments.dtype))
    return measured(subject, arguments)


def table(kind: str, found: dict[str, Any]) -> str:
    """One line for each variant; a last one says how long the plain generation takes."""
    lines = [f"{kind}: {found['described']}"]
    for name, ratio in list(found["ratios"].items())[1:]:
        judged = (
            ""
            if name == MASK or found["differences"] == {}
            else f"   aim {AIM:.2f}: {'met' if ratio['high'] <= AIM else 'missed'}"
        )
        lines.append(f"  {name:<24}{Ratio(**ratio)}{judged}")
    plain = found["seconds"][PLAIN]
    lines.append(f"  {'plain, seconds':<24}median {statistics.median(plain):.3g}, shortest {min(plain):.3g}")
    for name in (PLAIN, MASK):
        if name in found["differences"]:
            lines.append(f"  {name}: {found['differences'][name]:.1e} of the largest latent from 'raised'")
    return "\n".join(lines)


def run(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(arguments.threads)
    on_gpu = torch.device(arguments.device).type == "cuda"
    arguments.clock = arguments.clock or ("wall" if on_gpu else "processor")
    report: dict[str, Any] = {
        "torch": torch.__version__,
        "machine": torch.cuda.get_device_name(arguments.device)
        if on_gpu
        else platform.processor() or platform.machine(),
        **{name: getattr(arguments, name) for name in SETTINGS},
        "kinds": {},
    }
    for kind in arguments.kinds:
        report["kinds"][kind] = (called if arguments.calls else generations)(kind, arguments)
        print(table(kind, report["kinds"][kind]), "\n", flush=True)
        # After each kind: what is done is not lost with what comes after it.
        (arguments.out / "bench_weighting.json").write_text(json.dumps(report, indent=2), encoding="utf-8")
        gc.collect()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--pixels", type=int, default=512, help="height and width of the image (default 512)")
    parser.add_argument("--full", action="store_true", help="all blocks of the two transformers, not a few of each")
    parser.add_argument("--tiny", action="store_true", help="little width and depth, for trying the script out")
    parser.add_argument("--steps", type=int, default=1, help="denoising steps of the generations that are timed")
    parser.add_argument("--rounds", type=int, default=24, help="interleaved rounds (default 24)")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no round after so many, for each kind")
    parser.add_argument("--variants", nargs="+", help="some of them only, such as raised 'any, all maps'")
    parser.add_argument("--calls", action="store_true", help="single attention calls instead of generations")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--clock", choices=["wall", "processor"], help="default: processor on a CPU, else wall")
    parser.add_argument("--threads", type=int, default=1, help="of the processor (default 1)")
    parser.add_argument("--out", type=Path, default=Path("results"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    run(arguments)
    print(f"written to {arguments.out / 'bench_weighting.json'}")


if __name__ == "__main__":
    main()
