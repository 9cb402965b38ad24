"""`promptattn explain`: how a model reads a prompt, and what its weights will do there."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from promptattn.cli.options import Json, Method, Model, Negative, Prompt, Strength, Syntax, Verbose, Where, whole
from promptattn.cli.tables import token_table
from promptattn.cli.written import written
from promptattn.console import emit, out, told, waiting

if TYPE_CHECKING:
    from promptattn.explanation import Explanation, Finding, Note, PromptReading, TreeNode

__all__ = ["explain"]

_STYLES = {"warning": "yellow", "info": "cyan"}


def explain(
    prompt: Prompt,
    negative: Negative = None,
    model: Model = "shapes",
    syntax: Syntax = None,
    method: Method = None,
    where: Where = None,
    strength: Strength = None,
    steps: Annotated[
        int | None,
        typer.Option(parser=whole, help="Steps of the run, for schedules.  [default: the preset's, or 20]"),
    ] = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Tell how a model reads a prompt, before an image is made: tree, timeline, tokens, weights, and what will not act.

    Nothing is loaded but tokenizers and configs.

    **Examples:**

    `promptattn explain "un (gato:1.4) [rojo:azul:0.5]" --steps 20`

    `promptattn explain "a (red:1.4) cat, (blurry:-1)" --model shapes-dit --method comfy --json`
    """
    with told(verbose, as_json=as_json):
        from promptattn.config import RunConfig, WeightingConfig, read_section

        read_section("", RunConfig, [("--steps", "steps", steps), ("--syntax", "syntax", syntax)])
        options = [("--method", "method", method), ("--where", "where", where), ("--strength", "strength", strength)]
        weighting = read_section("weighting", WeightingConfig, options)
        text = written(prompt)
        with waiting("Reading"):
            from promptattn.explanation import explain as explained

            found = explained(
                text, model, negative, syntax=syntax or "a1111", weighting=weighting.chosen(), steps=steps
            )
        if as_json:
            emit(found.as_dict())
        else:
            out.print(Group(*_parts(found)))


def _parts(explained: "Explanation") -> list[RenderableType]:
    model = explained.model
    kinds = {"cross": "cross-attention", "joint": "joint attention", "added": "text beside image keys"}
    kind = kinds.get(model.attention, "not served")
    parts: list[RenderableType] = [Text(f"{model.name}: {model.pipeline}, {model.denoiser}, {kind}", style="dim")]
    parts += _side("prompt", explained.prompt, explained)
    if explained.negative:
        parts += _side("negative prompt", explained.negative, explained)
    parts += [Text(""), *map(_note, explained.notes)]
    return [*parts, *map(_finding, explained.findings)]


def _side(side: str, reading: "PromptReading", explained: "Explanation") -> list[RenderableType]:
    """Tree, timeline where there is one, and the tokens of every text of one prompt."""
    tree = Tree(Text(side, style="bold"))
    for node in reading.tree:
        _grow(tree, node)
    parts: list[RenderableType] = [Text(""), tree]
    if len(reading.parts) > 1 or any(len(part.moments) > 1 for part in reading.parts):
        parts += [Text(""), _timeline(reading, explained.steps)]
    shown: set[Any] = set()
    for number, text in enumerate(reading.texts, start=1):
        for encoder in text.encoders:
            if (text.text, encoder) in shown:
                continue
            shown.add((text.text, encoder))
            name = f"{side}, {encoder.name}" + (f", text {number}" if len(reading.texts) > 1 else "")
            parts += [Text(""), token_table(name, encoder, acting="rule" in explained.method)]
    return parts


def _grow(tree: Tree, node: "TreeNode") -> None:
    branch = tree.add(_label(node))
    for child in node.children:
        _grow(branch, child)


def _label(node: "TreeNode") -> Text:
    match node.kind:
        case "text":
            weighted = node.weight != 1.0
            weight = (f" x {node.weight:g}", "yellow") if weighted else ""
            return Text.assemble((repr(node.text)[1:-1].join("“”"), "bold" if weighted else ""), weight)
        case "schedule":
            written = f"{node.when:g} of all steps" if node.unit == "fraction" else f"step {node.when:g}"
            return Text.assemble(("schedule", "cyan"), f", switches at {written}: after {node.switch} steps")
        case "part":
            return Text.assemble(("part", "cyan"), f" x {node.weight:g}")
        case kind:
            return Text({"alternate": "taking turns", "break": "BREAK", "and": "AND"}.get(kind, kind), style="cyan")


def _timeline(reading: "PromptReading", steps: int) -> Group:
    """Which text holds when; with AND, of which part."""
    several = len(reading.parts) > 1
    table = Table(*(["part"] if several else []), "text", "steps", "prompt")
    number = 1
    for index, part in enumerate(reading.parts, start=1):
        for moment in part.moments:
            last = number + len(moment.texts) - 1
            cells = [str(number) if last == number else f"{number}-{last}", _steps(moment.steps, steps), moment.prompt]
            table.add_row(*map(Text, [f"{index}, x {part.weight:g}", *cells] if several else cells))
            number = last + 1
    return Group(Text(f"timeline of {steps} steps, counted from 0", style="italic"), table)


def _steps(ranges: tuple[tuple[int, int], ...], steps: int) -> str:
    """Ranges of steps: `all`, `0-9`, `1, 3, 5 ... (10 in all)`."""
    count = sum(last - first + 1 for first, last in ranges)
    pieces = [str(first) if first == last else f"{first}-{last}" for first, last in ranges]
    if count == steps:
        return "all"
    return ", ".join(pieces) if len(pieces) <= 4 else f"{', '.join(pieces[:3])} ... ({count} in all)"


def _note(note: "Note") -> Text:
    return Text.assemble((f"{note.severity}: ", _STYLES[note.severity]), note.message)


def _finding(found: "Finding") -> Text:
    side = "" if found.source == "prompt" else " (negative prompt)"
    return Text.assemble((f"{found.severity}: ", _STYLES[found.severity]), f"{found.message}{side}\n", found.pointer)
