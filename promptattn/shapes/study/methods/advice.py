"""Which method for what: sentences that follow from the numbers."""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite

from promptattn.shapes.study.methods.cells import LADDER
from promptattn.shapes.study.methods.contests import Contest
from promptattn.shapes.study.methods.fronts import Front
from promptattn.shapes.study.methods.questions import MOST_BROKEN
from promptattn.shapes.study.wording import shown

__all__ = ["INERT", "TOOLS", "advice"]

TOOLS = {
    "a1111": "AUTOMATIC1111's web UI and Forge",
    "comfy": "ComfyUI",
    "compel": "compel, as in InvokeAI and diffusers",
    "comfy++": 'ComfyUI with Advanced CLIP Text Encode ("comfy++")',
    "down_weight": 'ComfyUI with Advanced CLIP Text Encode ("down_weight")',
    "prompt-to-prompt": "Prompt-to-Prompt",
    "negpip": "NegPip",
}
"""The methods that are there so that prompts made for other tools give what they gave."""

INERT = 0.01
"""A method whose largest weight changes the own object's area by less than this part hardly acts on a model."""


def advice(
    contests: Mapping[str, Sequence[Contest]],
    fronts: Mapping[str, Sequence[Front]],
    company: Sequence[Contest],
    cells: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]],
) -> list[str]:
    """For each kind of word: what gives most, what costs least, what removes, what can be relied on; then what stands
    many words down at once, and what to expect of the methods of other tools. Methods named together do not differ
    beyond chance."""
    lines = []
    for target, asked in contests.items():
        strongest, zero, negative, *rest = asked
        rises = next(each for each in rest if each.measure == "rises")
        turns = next(each for each in rest if each.measure == "turns_back")
        lines += [
            *_of(f"Most of a {target}, images whole", strongest, "times its area at weight 1"),
            *(line for front in fronts[target] if front.level == front.direction.middle for line in _cheapest(front)),
            *_of(f"To remove a {target}, weight 0", zero, "of the scenes"),
            *_of(f"To remove a {target}, weight -1", negative, "of the scenes"),
            *_of(f"{target.capitalize()}: more weight gives more", rises, "of the scenes"),
            *_of(
                f"{target.capitalize()}: least often falls clearly from one weight to the next", turns, "of the scenes"
            ),
        ]
    lines += [line for asked in company for line in _of(asked.question[0].upper() + asked.question[1:], asked, "")]
    return [*lines, *_tools(cells)]


def _of(what: str, contest: Contest, unit: str) -> list[str]:
    leaders = contest.leaders()
    if not leaders:
        return []
    named = ", ".join(f"{method} {shown(contest.measure, contest.value(method))}" for method in leaders)
    return [f"{what}: {named} {unit}".rstrip() + "."]


def _cheapest(front: Front) -> list[str]:
    leaders = front.sides.leaders()
    if not leaders:
        return [f"{front.sides.question}: no method is that strong."]
    named = ", ".join(
        f"{method} ({shown('change', front.sides.value(method))} at weight {front.weights[method]:.2g})"
        for method in leaders
    )
    never = [method for method in front.weights if front.sides.value(method) is None]
    beyond = f" Not that strong: {', '.join(never)}." if never else ""
    return [f"{front.sides.question}, least: {named}.{beyond}"]


def _tools(cells: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]]) -> Iterable[str]:
    """For each method of another tool, whether it acts on this model and from which weight on images break."""
    for method, tool in TOOLS.items():
        painted = [cells[target][method] for target in cells if cells[target].get(method)]
        if not painted:
            continue
        ladder = [f"{weight:g}" for weight in LADDER if weight > 1]
        areas = [weights[w]["own"][0] for weights in painted for w in weights if "own" in weights[w]]
        moved = max((abs(area - 1) for area in areas if isfinite(area)), default=0.0)
        breaking = [
            w for w in ladder if any(weights[w]["broken"][0] > MOST_BROKEN for weights in painted if w in weights)
        ]
        if moved < INERT:
            yield f"Prompts made for {tool}: {method}; on this model it hardly acts."
        elif breaking:
            yield f"Prompts made for {tool}: {method}; from weight {breaking[0]} on it breaks images here."
        else:
            yield f"Prompts made for {tool}: {method}; no weight up to {ladder[-1]} breaks more than 5 % of the images."
